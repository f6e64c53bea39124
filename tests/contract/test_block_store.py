"""What every block store keeps, over each backend: memory, a local directory, a real S3 service."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3

from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.blocks import BlockStore, block_key
from bakehouse.storage.checker import Trouble, check
from bakehouse.storage.collector import collect
from bakehouse.storage.digest import BLOCK_SIZE, Digest, digest_of
from bakehouse.storage.errors import BlockDamaged, BlockMissing, StorageError
from bakehouse.storage.object_store import ObjectStore, open_object_store
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.store_lock import StoreLock
from tests.framework.s3 import S3Server, start_s3


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with start_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.programs)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "memory":
        return ObjectStore.in_memory()
    if request.param == "local":
        return ObjectStore.in_directory(tmp_path / "blocks")
    server: S3Server = request.getfixturevalue("s3_server")
    return open_object_store(
        server.url(f"test-{os.urandom(4).hex()}"),
        directory=tmp_path,
        credentials={
            "access_key_id": server.access_key_id,
            "secret_access_key": server.secret_access_key,
        },
    )


@pytest.fixture
def store(objects: ObjectStore) -> BlockStore:
    return BlockStore(objects)


def a_block(seed: int = 0) -> bytes:
    return blake3(seed.to_bytes(8, "big")).digest(length=BLOCK_SIZE // 2) + bytes(BLOCK_SIZE // 2)


def test_a_block_comes_back_as_it_was_put(store: BlockStore) -> None:
    block = a_block()
    stored_bytes = store.put(digest_of(block), block)
    assert 0 < stored_bytes < BLOCK_SIZE
    assert store.get(digest_of(block)) == block


def test_an_incompressible_block_comes_back_too(store: BlockStore) -> None:
    block = os.urandom(BLOCK_SIZE)
    store.put(digest_of(block), block)
    assert store.get(digest_of(block)) == block


def test_an_equal_block_is_stored_once(store: BlockStore) -> None:
    block = a_block()
    assert store.put(digest_of(block), block) > 0
    assert store.put(digest_of(block), block) == 0
    assert [digest for digest, _ in store.list()] == [digest_of(block)]


def test_a_block_nobody_put_is_missing(store: BlockStore) -> None:
    digest = digest_of(b"nothing")
    with pytest.raises(BlockMissing) as caught:
        store.get(digest)
    assert digest.hex() in str(caught.value)


def test_a_deleted_block_is_missing_and_deleting_it_again_is_no_error(store: BlockStore) -> None:
    block = a_block()
    digest = digest_of(block)
    store.put(digest, block)
    store.delete([digest])
    store.delete([digest])
    with pytest.raises(BlockMissing):
        store.get(digest)
    assert list(store.list()) == []


def test_more_blocks_than_one_page_of_a_listing_are_all_listed(objects: ObjectStore) -> None:
    # Tiny objects under real block names: only the listing matters here.
    names = {digest_of(number.to_bytes(4, "big")) for number in range(1100)}
    for name in names:
        objects.put(block_key(name), b"x")
    listed = dict(BlockStore(objects).list())
    assert listed.keys() == names
    assert {entry.size_bytes for entry in listed.values()} == {1}


def test_objects_that_are_not_blocks_are_not_listed(objects: ObjectStore, store: BlockStore) -> None:
    objects.put("blocks/README", b"x")
    objects.put("blocks/ab/" + "0" * 64, b"x")
    objects.put("manifests/snap-1", b"x")
    assert list(store.list()) == []


def zeros_frame(length: int) -> bytes:
    return zstandard.ZstdCompressor().compress(bytes(length))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda stored: b"", id="emptied"),
        pytest.param(lambda stored: stored[: len(stored) // 2], id="cut in half"),
        pytest.param(lambda stored: stored[:-1], id="short of a byte"),
        pytest.param(lambda stored: stored + b"x", id="with a byte too many"),
        pytest.param(lambda stored: stored[:300] + bytes([stored[300] ^ 1]) + stored[301:], id="one bit flipped"),
        pytest.param(lambda stored: bytes(len(stored)), id="zeroed"),
        pytest.param(lambda stored: zeros_frame(BLOCK_SIZE), id="another block's frame"),
        pytest.param(lambda stored: zeros_frame(64 << 20), id="a frame of 64 MiB"),
        pytest.param(lambda stored: zstandard.ZstdCompressor(write_content_size=False).compress(b"x"), id="no size"),
    ],
)
def test_damaged_bytes_are_never_served(objects: ObjectStore, damage: Callable[[bytes], bytes]) -> None:
    store = BlockStore(objects)
    block = a_block()
    digest = digest_of(block)
    store.put(digest, block)
    objects.put(block_key(digest), damage(bytes(objects.get(block_key(digest)))))
    with pytest.raises(BlockDamaged) as caught:
        store.get(digest)
    assert digest.hex() in str(caught.value)


def test_any_single_flipped_byte_is_noticed(objects: ObjectStore) -> None:
    store = BlockStore(objects)
    block = a_block()[:4096] + bytes(BLOCK_SIZE - 4096)
    digest = digest_of(block)
    store.put(digest, block)
    stored = bytearray(objects.get(block_key(digest)))
    for position in range(0, len(stored), 97):
        stored[position] ^= 0x5A
        objects.put(block_key(digest), bytes(stored))
        # A few bits of a frame's header mean nothing; then the block must be intact.
        with suppress(BlockDamaged):
            assert store.get(digest) == block
        stored[position] ^= 0x5A


def test_many_threads_may_put_and_get_the_same_blocks(store: BlockStore) -> None:
    blocks = [a_block(seed) for seed in range(6)]
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for block in blocks:
                store.put(digest_of(block), block)
                assert store.get(digest_of(block)) == block
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(store.list())) == len(blocks)


def test_a_block_cut_short_on_a_local_disk_is_healed_by_the_next_put(tmp_path: Path) -> None:
    store = BlockStore(ObjectStore.in_directory(tmp_path))
    block = a_block()
    digest = digest_of(block)
    store.put(digest, block)
    os.truncate(tmp_path / block_key(digest), 100)
    assert store.put(digest, block) > 0
    assert store.get(digest) == block


def test_a_snapshot_is_taken_hydrated_checked_and_collected(objects: ObjectStore, tmp_path: Path) -> None:
    state = StateDirectory(root=tmp_path)
    snapshots = Snapshots(objects, StoreLock(state.block_store_lock))
    disk = tmp_path / "disk"
    disk.write_bytes(a_block(1) + bytes(BLOCK_SIZE) + a_block(2) + a_block(1) + b"tail")
    with RawFile(disk) as source:
        assert snapshots.take("snap-1", source).new_blocks == 3
        snapshots.take("snap-2", source)
    assert sorted(snapshots.ids()) == ["snap-1", "snap-2"]
    assert Bases(state, snapshots).hydrate("snap-1").read_bytes() == disk.read_bytes()
    assert collect(snapshots, lambda: ["snap-2"]).live_blocks == 3
    assert check(snapshots, ["snap-2"]) == []
    assert [finding.trouble for finding in check(snapshots, ["snap-1"])] == [Trouble.MANIFEST_MISSING]
    assert collect(snapshots, list).deleted_blocks == 3
    assert (list(snapshots.blocks.list()), snapshots.ids()) == ([], [])


@pytest.mark.programs
def test_a_wrong_secret_is_an_error_and_not_a_missing_block(s3_server: S3Server, tmp_path: Path) -> None:
    objects = open_object_store(
        s3_server.url("secret"),
        directory=tmp_path,
        credentials={"access_key_id": s3_server.access_key_id, "secret_access_key": "wrong"},
    )
    with pytest.raises(StorageError) as caught:
        BlockStore(objects).get(digest_of(b"x"))
    assert not isinstance(caught.value, BlockMissing)


@pytest.mark.parametrize("url", ["ftp://x/y", "s3://", "s3://bucket?color=red", "file://relative", "blocks"])
def test_a_url_that_names_no_store_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        open_object_store(url, directory=tmp_path, credentials={})


def test_a_digest_is_the_blake3_of_the_whole_block() -> None:
    assert digest_of(b"") == Digest(bytes.fromhex("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"))
