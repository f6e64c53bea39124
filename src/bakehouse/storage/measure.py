"""What ingest and hydration cost, against the same work done bare; for the benchmark, never for a test.

Invariant: both sides read the same file from the same page cache, on the same number of threads, and end when
their bytes would survive a power cut.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zstandard

from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.digest import BLOCK_SIZE, digest_of
from bakehouse.storage.object_store import ObjectStore
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.store_lock import StoreLock
from bakehouse.storage.workers import share_out

_SNAPSHOT = "snap-measured"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The best of several rounds, run in turns so that noise on the host meets both sides."""

    bare: "Rate"
    ingest: "Rate"
    hydrate: "Rate"

    @property
    def ingest_ratio(self) -> float:
        """Ingest as a share of the bare work's rate."""
        return self.ingest.mib_per_s / self.bare.mib_per_s


@dataclass(frozen=True, kw_only=True)
class Rate:
    """So many bytes in so many seconds."""

    bytes: int
    seconds: float

    @property
    def mib_per_s(self) -> float:
        """Mebibytes a second."""
        return self.bytes / self.seconds / (1 << 20)


def write_sample(path: Path, *, size_bytes: int) -> None:
    """Fill a file with blocks that all differ and compress about 2.5 to 1, as a real disk's do."""
    with path.open("wb") as file:
        for _ in range(size_bytes // BLOCK_SIZE):
            noise = os.urandom(BLOCK_SIZE // 4)
            # Sixteen-byte pieces twice each: work for the compressor, unlike a run of zeros.
            file.write(b"".join(noise[at : at + 16] * 2 for at in range(0, len(noise), 16)) + noise * 2)
        file.flush()
        os.fsync(file.fileno())


def compare(sample: Path, scratch: Path, *, rounds: int = 3) -> Comparison:
    """Measure bare work, ingest and hydration of ``sample`` in turns, below the empty ``scratch``."""
    results: list[tuple[Rate, Rate, Rate]] = []
    for number in range(rounds):
        place = scratch / str(number)
        place.mkdir()
        results.append((measure_bare(sample, place), measure_ingest(sample, place), measure_hydrate(place)))
        shutil.rmtree(place)
    bare, ingest, hydrate = (max(rates, key=lambda rate: rate.mib_per_s) for rates in zip(*results, strict=True))
    return Comparison(bare=bare, ingest=ingest, hydrate=hydrate)


def measure_bare(path: Path, scratch: Path) -> Rate:
    """Read, hash, compress and write every block of ``path`` and nothing else, one output per thread."""
    started = time.perf_counter()
    with path.open("rb") as source:
        size_bytes = os.fstat(source.fileno()).st_size
        outputs: list[int] = []

        def make_worker() -> Callable[[int], None]:
            output = os.open(scratch / f"bare-{time.monotonic_ns()}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            outputs.append(output)
            compressor = zstandard.ZstdCompressor(level=1)
            buffer = bytearray(BLOCK_SIZE)

            def handle(index: int) -> None:
                os.preadv(source.fileno(), [buffer], index * BLOCK_SIZE)
                digest_of(buffer)
                os.write(output, compressor.compress(buffer))

            return handle

        share_out(range(size_bytes // BLOCK_SIZE), make_worker, item_bytes=BLOCK_SIZE, total_bytes=size_bytes)
    for output in outputs:
        os.fsync(output)
        os.close(output)
    return Rate(bytes=size_bytes, seconds=time.perf_counter() - started)


def measure_ingest(path: Path, scratch: Path) -> Rate:
    """Take a snapshot of ``path`` into a new local store below ``scratch``."""
    snapshots = _snapshots(scratch)
    started = time.perf_counter()
    with RawFile(path) as source:
        ingested = snapshots.take(_SNAPSHOT, source)
    return Rate(bytes=ingested.read_bytes, seconds=time.perf_counter() - started)


def measure_hydrate(scratch: Path) -> Rate:
    """Hydrate what ``measure_ingest`` took below the same ``scratch``."""
    snapshots = _snapshots(scratch)
    bases = Bases(StateDirectory(root=scratch), snapshots)
    started = time.perf_counter()
    bases.hydrate(_SNAPSHOT)
    return Rate(bytes=snapshots.read(_SNAPSHOT).data_bytes, seconds=time.perf_counter() - started)


def _snapshots(scratch: Path) -> Snapshots:
    state = StateDirectory(root=scratch)
    return Snapshots(ObjectStore.in_directory(state.blocks), StoreLock(state.block_store_lock))
