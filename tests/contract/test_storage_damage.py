"""What a disk forgot after it was written: bases that differ from their snapshots, blocks that are gone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.blocks import block_key
from bakehouse.storage.checker import Finding, Trouble, check, check_bases
from bakehouse.storage.digest import BLOCK_SIZE, digest_of
from bakehouse.storage.extents import Extent
from bakehouse.storage.object_store import ObjectStore
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.store_lock import StoreLock

SNAPSHOT = "snap-0123456789abcdef0"
# Blocks 0 and 2 hold data, block 1 is a hole, and the disk ends inside block 3.
DISK = os.urandom(BLOCK_SIZE) + bytes(BLOCK_SIZE) + os.urandom(BLOCK_SIZE) + b"end".ljust(4096, b"\0")


class Store:
    """One snapshot of ``DISK``, stored and hydrated."""

    def __init__(self, root: Path) -> None:
        self.state = StateDirectory(root=root)
        self.snapshots = Snapshots(ObjectStore.in_directory(self.state.blocks), StoreLock(self.state.block_store_lock))
        self.bases = Bases(self.state, self.snapshots)
        self.disk = root / "disk"
        self.disk.write_bytes(DISK)
        with RawFile(self.disk) as source:
            self.snapshots.take(SNAPSHOT, source)
        self.base = self.bases.hydrate(SNAPSHOT)

    def write(self, offset: int, data: bytes) -> None:
        with self.base.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def check(self) -> list[Finding]:
        return check_bases(self.snapshots, self.bases.all())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.base.chmod(0o600)
    return made


def test_a_sound_base_is_found_sound(store: Store) -> None:
    assert store.check() == []


@pytest.mark.parametrize("offset", [0, BLOCK_SIZE + 5, 2 * BLOCK_SIZE + 77, 3 * BLOCK_SIZE + 4095])
def test_a_changed_byte_of_a_base_is_found_in_data_and_in_holes(store: Store, offset: int) -> None:
    store.write(offset, bytes([DISK[offset] ^ 1]))
    (finding,) = store.check()
    assert (finding.snapshot_id, finding.trouble) == (SNAPSHOT, Trouble.BASE_DAMAGED)
    assert str(store.base) in finding.message
    assert f"block {offset // BLOCK_SIZE};" in finding.message


def test_a_base_cut_short_is_found_and_written_anew_when_it_is_needed(store: Store) -> None:
    os.truncate(store.base, 2 * BLOCK_SIZE)
    (finding,) = store.check()
    assert f"has {2 * BLOCK_SIZE} bytes" in finding.message
    assert store.bases.hydrate(SNAPSHOT).read_bytes() == DISK
    assert store.check() == []


def test_a_base_whose_snapshot_is_gone_is_nobodys(store: Store) -> None:
    store.snapshots.delete(SNAPSHOT)
    assert store.check() == []
    assert store.bases.find(SNAPSHOT) == store.base


class Unchanged(RawFile):
    """A disk that calls everything unchanged."""

    def extents(self) -> Iterator[Extent]:
        yield Extent(length=self.size_bytes, is_unchanged=True)


@pytest.mark.parametrize("is_emptied", [True, False], ids=["emptied", "deleted"])
def test_a_block_the_store_lost_is_read_again_by_the_next_capture(store: Store, is_emptied: bool) -> None:
    path = store.state.blocks / block_key(digest_of(DISK[:BLOCK_SIZE]))
    path.write_bytes(b"") if is_emptied else path.unlink()
    assert [finding.block_index for finding in check(store.snapshots, [SNAPSHOT])] == [0]
    with Unchanged(store.disk) as source:
        taken = store.snapshots.take("snap-1", source, parent_id=SNAPSHOT)
    assert (taken.read_bytes, taken.new_blocks) == (BLOCK_SIZE, 1)
    assert check(store.snapshots, [SNAPSHOT, "snap-1"]) == []
    assert store.bases.hydrate("snap-1").read_bytes() == DISK
