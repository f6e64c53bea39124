"""From a disk to a snapshot to a base and back, on a local disk: what is read, stored, verified, deleted."""

import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.blocks import block_key
from bakehouse.storage.checker import Trouble, check
from bakehouse.storage.collector import collect
from bakehouse.storage.digest import BLOCK_SIZE
from bakehouse.storage.errors import (
    BlockDamaged,
    BlockMissing,
    ManifestDamaged,
    ManifestMissing,
    SourceError,
    StoreBusy,
)
from bakehouse.storage.extents import Extent
from bakehouse.storage.object_store import ObjectStore
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots, manifest_key
from bakehouse.storage.store_lock import StoreLock

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(root=tmp_path)


@pytest.fixture
def snapshots(state: StateDirectory) -> Snapshots:
    return Snapshots(ObjectStore.in_directory(state.blocks), StoreLock(state.block_store_lock))


@pytest.fixture
def bases(state: StateDirectory, snapshots: Snapshots) -> Bases:
    return Bases(state, snapshots)


@dataclass(kw_only=True)
class Disk:
    """A disk in memory whose changes since the parent are known by block; counts what is read of it."""

    data: bytearray
    changed: set[int] | None = None
    read_offsets: list[int] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def extents(self) -> Iterator[Extent]:
        for offset in range(0, len(self.data), BLOCK_SIZE):
            is_unchanged = self.changed is not None and offset // BLOCK_SIZE not in self.changed
            yield Extent(min(BLOCK_SIZE, len(self.data) - offset), is_unchanged=is_unchanged)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.read_offsets.append(offset)
        buffer[:] = self.data[offset : offset + len(buffer)]


def random_disk(blocks: int, seed: int = 1) -> bytearray:
    return bytearray(random.Random(seed).randbytes(blocks * BLOCK_SIZE))


def sparse_file(path: Path, size_bytes: int, pieces: dict[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)
    return path


def take_file(snapshots: Snapshots, snapshot_id: str, path: Path) -> int:
    with RawFile(path) as source:
        return snapshots.take(snapshot_id, source).read_bytes


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size_bytes=st.integers(1, 6 * BLOCK_SIZE),
    pieces=st.dictionaries(st.integers(0, 6 * BLOCK_SIZE), st.binary(min_size=1, max_size=2000), max_size=6),
)
def test_a_hydrated_base_equals_the_disk_that_was_taken(
    tmp_path_factory: pytest.TempPathFactory, size_bytes: int, pieces: dict[int, bytes]
) -> None:
    state = StateDirectory(root=tmp_path_factory.mktemp("state"))
    snapshots = Snapshots(ObjectStore.in_directory(state.blocks), StoreLock(state.block_store_lock))
    path = sparse_file(state.root / "disk", size_bytes, pieces)
    os.truncate(path, size_bytes)
    take_file(snapshots, "snap-1", path)
    assert Bases(state, snapshots).hydrate("snap-1").read_bytes() == path.read_bytes()


def test_a_sparse_disk_of_100_gib_costs_only_its_data(
    state: StateDirectory, snapshots: Snapshots, bases: Bases
) -> None:
    pieces = {0: b"boot", 50 * GIB: b"middle", 100 * GIB - 3: b"end"}
    path = sparse_file(state.root / "disk", 100 * GIB, pieces)
    assert take_file(snapshots, "snap-1", path) <= 3 * BLOCK_SIZE
    base = bases.hydrate("snap-1")
    assert base.stat().st_size == 100 * GIB
    assert base.stat().st_blocks * 512 <= 4 * MIB
    with base.open("rb") as file:
        for offset, data in pieces.items():
            file.seek(offset)
            assert file.read(len(data)) == data


def test_a_base_is_read_only_and_hydrated_once(state: StateDirectory, snapshots: Snapshots, bases: Bases) -> None:
    snapshots.take("snap-1", Disk(data=random_disk(4)))
    first = bases.hydrate("snap-1")
    inode = first.stat().st_ino
    assert first.stat().st_mode & 0o777 == 0o400
    assert bases.hydrate("snap-1").stat().st_ino == inode
    assert [base.snapshot_id for base in bases.all()] == ["snap-1"]
    assert list(state.bases.iterdir()) == [first]


def test_concurrent_callers_share_one_hydration(snapshots: Snapshots, bases: Bases) -> None:
    snapshots.take("snap-1", Disk(data=random_disk(24)))
    calls: list[int] = []
    inodes: set[int] = set()
    barrier = threading.Barrier(6)

    def hydrate(caller: int) -> None:
        barrier.wait()
        path = bases.hydrate("snap-1", progress=lambda done, total: calls.append(caller))
        inodes.add(path.stat().st_ino)

    threads = [threading.Thread(target=hydrate, args=(caller,)) for caller in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inodes) == 1
    assert len(set(calls)) == 1


def test_the_second_snapshot_of_a_lineage_reads_and_stores_only_what_changed(snapshots: Snapshots) -> None:
    disk = Disk(data=random_disk(40))
    first = snapshots.take("snap-1", disk)
    assert first.read_bytes == first.new_blocks * BLOCK_SIZE == 40 * BLOCK_SIZE
    disk.data[5 * BLOCK_SIZE : 6 * BLOCK_SIZE] = random_disk(1, seed=9)
    disk.data[7 * BLOCK_SIZE : 8 * BLOCK_SIZE] = bytes(BLOCK_SIZE)
    disk.changed, disk.read_offsets = {5, 7, 8}, []
    second = snapshots.take("snap-2", disk, parent_id="snap-1")
    assert sorted(disk.read_offsets) == [5 * BLOCK_SIZE, 7 * BLOCK_SIZE, 8 * BLOCK_SIZE]
    assert (second.read_bytes, second.new_blocks) == (3 * BLOCK_SIZE, 1)
    expected = dict(first.manifest.blocks)
    expected[5] = second.manifest.blocks[5]
    del expected[7]
    assert second.manifest.blocks == expected
    assert second.manifest.blocks[5] != first.manifest.blocks[5]


def test_without_its_parent_a_disk_is_read_whole(snapshots: Snapshots) -> None:
    disk = Disk(data=random_disk(6), changed={1})
    assert snapshots.take("snap-2", disk, parent_id="snap-gone").read_bytes == 6 * BLOCK_SIZE


def test_a_grown_disk_inherits_its_parents_blocks_and_reads_zeros_beyond(snapshots: Snapshots, bases: Bases) -> None:
    data = random_disk(4)
    snapshots.take("snap-1", Disk(data=data))
    grown = Disk(data=data + bytearray(4 * BLOCK_SIZE), changed=set())
    assert snapshots.take("snap-2", grown, parent_id="snap-1").read_bytes == 0
    assert bases.hydrate("snap-2").read_bytes() == bytes(grown.data)


def test_taking_a_snapshot_again_reads_nothing_and_changes_nothing(snapshots: Snapshots) -> None:
    first = snapshots.take("snap-1", Disk(data=random_disk(3)))
    other = Disk(data=random_disk(3, seed=2))
    assert snapshots.take("snap-1", other).manifest == first.manifest
    assert other.read_offsets == []


def test_blocks_equal_within_one_disk_are_stored_once(snapshots: Snapshots) -> None:
    ingested = snapshots.take("snap-1", Disk(data=random_disk(1) * 20))
    assert (len(ingested.manifest.blocks), ingested.new_blocks) == (20, 1)
    assert len(list(snapshots.blocks.list())) == 1


def test_progress_ends_at_the_total_and_never_goes_back(snapshots: Snapshots) -> None:
    heard: list[tuple[int, int]] = []
    snapshots.take("snap-1", Disk(data=random_disk(30)), progress=lambda *pair: heard.append(pair))
    assert heard[-1] == (30 * BLOCK_SIZE, 30 * BLOCK_SIZE)
    assert heard == sorted(heard)


def test_an_error_of_the_progress_callback_ends_the_ingest_and_no_snapshot_appears(
    snapshots: Snapshots,
) -> None:
    def cancel(done_bytes: int, total_bytes: int) -> None:
        raise KeyboardInterrupt

    class SlowDisk(Disk):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            time.sleep(0.05)
            super().read_into(offset, buffer)

    disk = SlowDisk(data=random_disk(60))
    with pytest.raises(KeyboardInterrupt):
        snapshots.take("snap-1", disk, progress=cancel)
    assert len(disk.read_offsets) < 50
    assert snapshots.ids() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("storage")]


def test_a_disk_that_fails_to_read_leaves_no_snapshot(snapshots: Snapshots) -> None:
    class BrokenDisk(Disk):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            if offset >= 5 * BLOCK_SIZE:
                raise SourceError("input/output error")
            super().read_into(offset, buffer)

    with pytest.raises(SourceError):
        snapshots.take("snap-1", BrokenDisk(data=random_disk(10)))
    assert snapshots.find("snap-1") is None
    collect(snapshots, list)
    assert list(snapshots.blocks.list()) == []


def test_a_file_cut_while_it_is_read_is_an_error(state: StateDirectory, snapshots: Snapshots) -> None:
    path = sparse_file(state.root / "disk", 4 * BLOCK_SIZE, {0: bytes(random_disk(4))})
    with RawFile(path) as source:
        os.truncate(path, BLOCK_SIZE)
        with pytest.raises(SourceError):
            snapshots.take("snap-1", Cut(source))


class Cut:
    """A raw file whose extents were asked for before it was cut."""

    def __init__(self, source: RawFile) -> None:
        self.size_bytes = source.size_bytes
        self.read_into = source.read_into

    def extents(self) -> Iterator[Extent]:
        yield Extent(self.size_bytes)


def block_file(state: StateDirectory, snapshots: Snapshots, snapshot_id: str, index: int) -> Path:
    return state.blocks / block_key(snapshots.read(snapshot_id).blocks[index])


def test_hydrating_over_a_damaged_block_fails_and_says_where(
    state: StateDirectory, snapshots: Snapshots, bases: Bases
) -> None:
    snapshots.take("snap-1", Disk(data=random_disk(5)))
    damaged = block_file(state, snapshots, "snap-1", 3)
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises(BlockDamaged) as caught:
        bases.hydrate("snap-1")
    assert (caught.value.snapshot_id, caught.value.block_index) == ("snap-1", 3)
    assert "block 3 of snap-1" in str(caught.value)
    assert caught.value.digest.hex() == damaged.name
    assert list(state.bases.iterdir()) == []


def test_hydrating_without_a_block_or_a_manifest_fails_and_says_which(
    state: StateDirectory, snapshots: Snapshots, bases: Bases
) -> None:
    snapshots.take("snap-1", Disk(data=random_disk(5)))
    block_file(state, snapshots, "snap-1", 2).unlink()
    with pytest.raises(BlockMissing, match="block 2 of snap-1"):
        bases.hydrate("snap-1")
    with pytest.raises(ManifestMissing, match="snap-2"):
        bases.hydrate("snap-2")
    (state.blocks / manifest_key("snap-1")).write_bytes(b"rubbish")
    with pytest.raises(ManifestDamaged, match="snap-1"):
        bases.hydrate("snap-1")


def test_the_collector_deletes_what_no_live_snapshot_needs_and_nothing_else(
    state: StateDirectory, snapshots: Snapshots, bases: Bases
) -> None:
    shared, own, lost = random_disk(3, seed=1), random_disk(2, seed=2), random_disk(4, seed=3)
    snapshots.take("snap-1", Disk(data=shared + own))
    snapshots.take("snap-2", Disk(data=shared + lost))
    (state.blocks / "blocks/ab").mkdir(exist_ok=True)
    (state.blocks / "blocks/ab" / ("ab" * 32 + "#1")).write_bytes(b"left by a killed writer")
    figures = collect(snapshots, lambda: ["snap-1", "snap-pending"])
    assert (figures.deleted_manifests, figures.deleted_blocks, figures.live_blocks) == (1, 4, 5)
    assert figures.partial_writes == 1
    assert figures.freed_bytes >= 4 * BLOCK_SIZE
    assert snapshots.ids() == ["snap-1"]
    assert bases.hydrate("snap-1").read_bytes() == shared + own
    again = collect(snapshots, lambda: ["snap-1"])
    assert (again.deleted_manifests, again.deleted_blocks, again.freed_bytes) == (0, 0, 0)
    assert again.live_bytes == figures.live_bytes


def test_the_collector_deletes_no_block_while_a_live_manifest_is_unreadable(
    state: StateDirectory, snapshots: Snapshots
) -> None:
    snapshots.take("snap-1", Disk(data=random_disk(3)))
    snapshots.take("snap-2", Disk(data=random_disk(3, seed=2)))
    (state.blocks / manifest_key("snap-1")).write_bytes(b"rubbish")
    with pytest.raises(ManifestDamaged):
        collect(snapshots, lambda: ["snap-1"])
    assert len(list(snapshots.blocks.list())) == 6


def test_the_collector_keeps_away_from_a_running_ingest(snapshots: Snapshots) -> None:
    refused: list[StoreBusy] = []

    def try_to_collect(done_bytes: int, total_bytes: int) -> None:
        try:
            collect(snapshots, list)
        except StoreBusy as error:
            refused.append(error)

    snapshots.take("snap-1", Disk(data=random_disk(3)), progress=try_to_collect)
    assert refused
    assert check(snapshots, ["snap-1"]) == []


def test_live_snapshots_are_asked_for_only_once_writers_are_kept_out(snapshots: Snapshots) -> None:
    def live() -> list[str]:
        with pytest.raises(StoreBusy), snapshots.lock.writing(timeout_s=0):
            pass
        return []

    collect(snapshots, live)


def test_the_checker_finds_every_trouble_in_every_snapshot_that_has_it(
    state: StateDirectory, snapshots: Snapshots
) -> None:
    shared = random_disk(3)
    snapshots.take("snap-1", Disk(data=shared))
    snapshots.take("snap-2", Disk(data=shared + random_disk(1, seed=2)))
    snapshots.take("snap-3", Disk(data=random_disk(2, seed=3)))
    assert check(snapshots, snapshots.ids()) == []
    damaged = block_file(state, snapshots, "snap-1", 1)
    damaged.write_bytes(bytes(len(damaged.read_bytes())))
    os.truncate(block_file(state, snapshots, "snap-3", 0), 1000)
    block_file(state, snapshots, "snap-2", 3).unlink()
    snapshots.take("snap-4", Disk(data=random_disk(1, seed=5)))
    os.truncate(state.blocks / manifest_key("snap-4"), 70)
    found = check(snapshots, ["snap-1", "snap-2", "snap-3", "snap-4", "snap-5"])
    assert {(f.snapshot_id, f.trouble, f.block_index) for f in found} == {
        ("snap-1", Trouble.BLOCK_DAMAGED, 1),
        ("snap-2", Trouble.BLOCK_DAMAGED, 1),
        ("snap-2", Trouble.BLOCK_MISSING, 3),
        ("snap-3", Trouble.BLOCK_DAMAGED, 0),
        ("snap-4", Trouble.MANIFEST_DAMAGED, None),
        ("snap-5", Trouble.MANIFEST_MISSING, None),
    }


def test_a_copy_is_a_snapshot_of_its_own(snapshots: Snapshots, bases: Bases) -> None:
    data = random_disk(2)
    snapshots.take("snap-1", Disk(data=data))
    snapshots.copy("snap-1", "snap-2")
    snapshots.delete("snap-1")
    snapshots.delete("snap-1")
    collect(snapshots, lambda: ["snap-2"])
    assert bases.hydrate("snap-2").read_bytes() == data


def test_eviction_takes_the_longest_unused_first_and_never_one_in_use(snapshots: Snapshots, bases: Bases) -> None:
    for number in range(4):
        snapshots.take(f"snap-{number}", Disk(data=random_disk(2, seed=number)))
        path = bases.hydrate(f"snap-{number}")
        os.utime(path, (1000 + number, 1000 + number))
    assert bases.find("snap-1") is not None  # asked for just now
    freed = bases.evict(["snap-0"], keep_bytes=2 * BLOCK_SIZE)
    assert freed >= 4 * BLOCK_SIZE
    assert {base.snapshot_id for base in bases.all()} == {"snap-0", "snap-1"}


def test_the_sweep_takes_dead_parts_and_leaves_running_ones(
    state: StateDirectory, snapshots: Snapshots, bases: Bases
) -> None:
    snapshots.take("snap-1", Disk(data=random_disk(8)))
    state.bases.mkdir()
    dead = state.base_part("snap-9", "dead")
    dead.write_bytes(b"x" * 1000)
    swept: list[int] = []
    bases.hydrate("snap-1", progress=lambda done, total: swept.append(bases.sweep()))
    assert swept[0] == 1
    assert sum(swept) == 1
    assert not dead.exists()
    assert [path.name for path in state.bases.iterdir()] == ["snap-1.raw"]
