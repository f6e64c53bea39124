"""The root volume of a launch, for a small and a large image; and what ingest costs beside the same work bare."""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bakehouse.host.files import make_passable_directory
from bakehouse.ids import Prefix, new_id
from bakehouse.paths import StateDirectory
from bakehouse.storage import measure as storage_measure
from bakehouse.storage.bases import Bases
from bakehouse.storage.object_store import ObjectStore
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.store_lock import StoreLock
from bakehouse.storage.volumes import create_overlay
from bench.figure import Figure, at_least, at_most
from bench.throwaway import Bench

_GIB = 1 << 30
_SMALL_GIB, _LARGE_GIB = 8, 100
_DATA_BYTES = 256 << 20
_SAMPLE_BYTES = 1 << 30
_ROUNDS = 15


def measure(bench: Bench) -> Iterator[Figure]:
    """In turns, so that a noisy host is noisy for both."""
    scratch = Path(tempfile.mkdtemp(prefix="measured-", dir=bench.settings.state.root))
    make_passable_directory(scratch)
    try:
        yield from _root_volumes(bench, scratch)
        yield from _ingest(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _root_volumes(bench: Bench, scratch: Path) -> Iterator[Figure]:
    state = StateDirectory(root=scratch)
    for directory in (state.volumes, state.bases):
        make_passable_directory(directory)
    snapshots = Snapshots(ObjectStore.in_directory(state.blocks), StoreLock(state.block_store_lock))
    bases = Bases(state, snapshots)
    images = {size_gib: _image(scratch, snapshots, size_gib) for size_gib in (_SMALL_GIB, _LARGE_GIB)}
    for snapshot_id in images.values():
        bases.hydrate(snapshot_id)
    uid = bench.settings.uid_base if os.geteuid() == 0 else None
    times: dict[int, list[float]] = {size_gib: [] for size_gib in images}
    for _ in range(_ROUNDS):
        for size_gib, snapshot_id in images.items():
            began = time.perf_counter()
            bases.hydrate(snapshot_id)
            create_overlay(state.volume(new_id(Prefix.VOLUME)), size_bytes=size_gib * _GIB, uid=uid)
            times[size_gib].append(time.perf_counter() - began)
    small_s, large_s = (statistics.median(times[size_gib]) for size_gib in (_SMALL_GIB, _LARGE_GIB))
    note = f"median of {_ROUNDS}, base hydrated"
    for size_gib, took_s in ((_SMALL_GIB, small_s), (_LARGE_GIB, large_s)):
        yield Figure(
            name=f"root volume of a launch, {size_gib} GiB", figure=took_s, unit="s", target=at_most(0.3), note=note
        )
    yield Figure(
        name=f"root volume, {_LARGE_GIB} GiB against {_SMALL_GIB} GiB",
        figure=large_s / small_s,
        unit="x",
        target=at_most(1.2),
    )


def _image(scratch: Path, snapshots: Snapshots, size_gib: int) -> str:
    """A snapshot of a disk of that size, with the same data whatever the size."""
    disk, snapshot_id = scratch / "disk.raw", f"snap-{size_gib}"
    storage_measure.write_sample(disk, size_bytes=_DATA_BYTES)
    os.truncate(disk, size_gib * _GIB)
    with RawFile(disk) as source:
        snapshots.take(snapshot_id, source)
    disk.unlink()
    return snapshot_id


def _ingest(scratch: Path) -> Iterator[Figure]:
    sample = scratch / "sample.raw"
    storage_measure.write_sample(sample, size_bytes=_SAMPLE_BYTES)
    place = scratch / "rounds"
    place.mkdir()
    compared = storage_measure.compare(sample, place)
    yield Figure(
        name="ingest against read+BLAKE3+zstd-1+write bare",
        figure=100 * compared.ingest_ratio,
        unit="%",
        target=at_least(70),
        note=f"ingest {compared.ingest.mib_per_s:.0f} MiB/s, bare {compared.bare.mib_per_s:.0f} MiB/s",
    )
    yield Figure(name="hydration of a base", figure=compared.hydrate.mib_per_s, unit="MiB/s")
