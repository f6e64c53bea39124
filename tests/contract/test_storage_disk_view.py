"""Reading a frozen disk from a real NBD server: QEMU's own, over qcow2 overlays, bitmaps and bases."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bakehouse.paths import StateDirectory
from bakehouse.storage import volumes
from bakehouse.storage.bases import Bases
from bakehouse.storage.digest import BLOCK_SIZE
from bakehouse.storage.disk_view import DiskView, DiskViewSource
from bakehouse.storage.errors import SourceError
from bakehouse.storage.nbd import NbdConnection
from bakehouse.storage.object_store import ObjectStore
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.store_lock import StoreLock
from tests.framework.patience import wait_for

MIB = 1 << 20
GIB = 1 << 30
DISK = 256 * MIB

pytestmark = pytest.mark.programs


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(root=tmp_path)


@pytest.fixture
def snapshots(state: StateDirectory) -> Snapshots:
    return Snapshots(ObjectStore.in_directory(state.blocks), StoreLock(state.block_store_lock))


def image_options(overlay: Path, base: Path | None) -> str:
    """The overlay over its base as a machine has them: the backing file is given at run time."""
    node: dict[str, object] = {"driver": "qcow2", "file": {"driver": "file", "filename": str(overlay)}}
    if base is not None:
        raw = {"driver": "file", "filename": str(base), "read-only": True}
        node["backing"] = {"driver": "raw", "file": raw}
    return "json:" + json.dumps(node)


def write(overlay: Path, base: Path | None, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", *words, image_options(overlay, base)], check=True, capture_output=True)


@contextmanager
def serve(overlay: Path, base: Path | None, *options: str) -> Iterator[Path]:
    path = overlay.with_name("nbd.sock")
    argv = ["qemu-nbd", "-r", "-t", "-e", "4", "-x", "disk", "-k", str(path), *options]
    process = subprocess.Popen([*argv, image_options(overlay, base)])
    try:
        wait_for(lambda: path.exists() or process.poll() is not None, "the server's socket")
        assert process.poll() is None
        yield path
    finally:
        process.terminate()
        process.wait()


def make_base(state: StateDirectory, snapshots: Snapshots, size_bytes: int = 64 * MIB) -> Path:
    """A snapshot snap-base with data in its first 8 MiB and in one lone block, hydrated."""
    raw = state.root / "raw"
    with raw.open("wb") as file:
        file.write(os.urandom(8 * MIB))
        file.seek(40 * MIB + 4096)
        file.write(b"lone")
        file.truncate(size_bytes)
    with RawFile(raw) as source:
        snapshots.take("snap-base", source)
    raw.unlink()
    return Bases(state, snapshots).hydrate("snap-base")


def view(path: Path, size_bytes: int, **fields: object) -> DiskView:
    return DiskView(socket=path, export_name="disk", size_bytes=size_bytes, **fields)  # type: ignore[arg-type]


def assert_hydrates_to_the_disk(
    state: StateDirectory, snapshots: Snapshots, snapshot_id: str, overlay: Path, base: Path | None
) -> None:
    expected = state.root / "expected.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", image_options(overlay, base), expected], check=True)
    hydrated = Bases(state, snapshots).hydrate(snapshot_id)
    subprocess.run(["cmp", hydrated, expected], check=True)
    expected.unlink()


def test_a_fresh_overlay_over_its_base_reads_nothing(state: StateDirectory, snapshots: Snapshots) -> None:
    base = make_base(state, snapshots)
    overlay = volumes.create_overlay(state.volume("vol-1"), size_bytes=DISK)
    with (
        serve(overlay, base, "-A") as path,
        DiskViewSource(view(path, DISK, base_depth=2)) as source,
    ):
        ingested = snapshots.take("snap-1", source, parent_id="snap-base")
    assert ingested.read_bytes == 0
    assert ingested.manifest.blocks == snapshots.read("snap-base").blocks
    assert_hydrates_to_the_disk(state, snapshots, "snap-1", overlay, base)


def test_by_allocation_depth_only_what_the_overlay_holds_is_read(state: StateDirectory, snapshots: Snapshots) -> None:
    base = make_base(state, snapshots)
    overlay = volumes.create_overlay(state.volume("vol-1"), size_bytes=DISK)
    write(
        overlay,
        base,
        "write -P 7 1M 64k",  # inside the base's data: one block of theirs changes
        "write -P 8 200M 1M",  # beyond the base
        "write -z -u 4M 1M",  # discarded: two blocks become zero
        "write -P 0 250M 64k",  # written zeros are data to qcow2, but no block
    )
    with (
        serve(overlay, base, "-A") as path,
        DiskViewSource(view(path, DISK, base_depth=2)) as source,
    ):
        ingested = snapshots.take("snap-1", source, parent_id="snap-base")
    assert ingested.read_bytes == 4 * BLOCK_SIZE
    assert ingested.new_blocks == 2  # the two blocks of eights are equal
    assert_hydrates_to_the_disk(state, snapshots, "snap-1", overlay, base)


def test_by_dirty_bitmap_the_second_snapshot_reads_only_what_was_written_since(
    state: StateDirectory, snapshots: Snapshots
) -> None:
    base = make_base(state, snapshots)
    overlay = volumes.create_overlay(state.volume("vol-1"), size_bytes=DISK)
    write(overlay, base, "write -P 7 100M 20M")
    subprocess.run(["qemu-img", "bitmap", "--add", overlay, "snap-1"], check=True)
    with (
        serve(overlay, base, "-A") as path,
        DiskViewSource(view(path, DISK, base_depth=2)) as source,
    ):
        first = snapshots.take("snap-1", source, parent_id="snap-base")
    assert first.read_bytes == 20 * MIB
    write(overlay, base, "write -P 9 110M 64k", "write -P 3 2M 512k", "write -z -u 101M 512k")
    context = "qemu:dirty-bitmap:snap-1"
    with (
        serve(overlay, base, "-B", "snap-1") as path,
        DiskViewSource(view(path, DISK, dirty_context=context)) as source,
    ):
        second = snapshots.take("snap-2", source, parent_id="snap-1")
    assert second.read_bytes == 2 * BLOCK_SIZE
    assert_hydrates_to_the_disk(state, snapshots, "snap-2", overlay, base)


def test_without_bitmap_and_base_all_that_is_allocated_is_read(state: StateDirectory, snapshots: Snapshots) -> None:
    overlay = volumes.create_overlay(state.volume("vol-1"), size_bytes=100 * GIB)
    write(overlay, None, "write -P 7 99G 1M", "write -P 1 0 64k")
    with serve(overlay, None) as path, DiskViewSource(view(path, 100 * GIB)) as source:
        ingested = snapshots.take("snap-1", source)
    assert ingested.read_bytes == 3 * BLOCK_SIZE
    with (state.root / "hydrated").open("wb"):
        hydrated = Bases(state, snapshots).hydrate("snap-1")
    with hydrated.open("rb") as file:
        file.seek(99 * GIB)
        assert file.read(MIB) == b"\7" * MIB


def test_a_view_of_another_size_name_bitmap_or_owner_is_refused(state: StateDirectory, snapshots: Snapshots) -> None:
    overlay = volumes.create_overlay(state.volume("vol-1"), size_bytes=GIB)
    with serve(overlay, None) as path:
        for wrong in (
            view(path, 2 * GIB),
            DiskView(socket=path, export_name="other", size_bytes=GIB),
            view(path, GIB, dirty_context="qemu:dirty-bitmap:none"),
            view(path, GIB, base_depth=2),  # this server was not asked to tell depths
            view(path, GIB, server_uid=os.getuid() + 1),
        ):
            with pytest.raises(SourceError):
                DiskViewSource(wrong)
        DiskViewSource(view(path, GIB, server_uid=os.getuid())).close()


def test_a_server_that_dies_while_it_is_read_is_an_error_and_leaves_no_snapshot(
    state: StateDirectory, snapshots: Snapshots
) -> None:
    overlay = volumes.create_overlay(state.volume("vol-1"), size_bytes=GIB)
    write(overlay, None, "write -P 7 0 64M")
    with serve(overlay, None) as path:
        source = DiskViewSource(view(path, GIB))
        assert next(source.extents()).length > 0
    with pytest.raises(SourceError):
        snapshots.take("snap-1", source)
    source.close()
    assert snapshots.ids() == []


# -- a server that lies

GREETING = b"NBDMAGIC" + b"IHAVEOPT" + (3).to_bytes(2, "big")


def option_reply(option: int, kind: int, data: bytes = b"") -> bytes:
    words = ((0x3E889045565A9, 8), (option, 4), (kind, 4), (len(data), 4))
    return b"".join(value.to_bytes(width, "big") for value, width in words) + data


def negotiated(size_bytes: int) -> bytes:
    context = option_reply(10, 4, (1).to_bytes(4, "big") + b"base:allocation")
    export = option_reply(7, 3, b"\0\0" + size_bytes.to_bytes(8, "big") + b"\0\3")
    acks = [option_reply(option, 1) for option in (8, 10, 7)]
    return GREETING + acks[0] + context + acks[1] + export + acks[2]


def chunk(kind: int, payload: bytes, *, cookie: int = 1, done: bool = True, length: int | None = None) -> bytes:
    length = len(payload) if length is None else length
    words = ((0x668E33EF, 4), (int(done), 2), (kind, 2), (cookie, 8), (length, 4))
    return b"".join(value.to_bytes(width, "big") for value, width in words) + payload


def extents_chunk(*extents: tuple[int, int], context: int = 1) -> bytes:
    pairs = b"".join(length.to_bytes(4, "big") + flags.to_bytes(4, "big") for length, flags in extents)
    return chunk(5, context.to_bytes(4, "big") + pairs)


@contextmanager
def lie(path: Path, script: bytes) -> Iterator[None]:
    """Answer every connection with the same bytes, whatever it asks."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        threads: list[threading.Thread] = []

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.sendall(script)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1 << 20, socket.MSG_WAITALL)  # until the client hangs up

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threads.append(threading.Thread(target=answer, args=(connection,)))
                    threads[-1].start()

        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


SIZE = 2 * BLOCK_SIZE


def data_chunk(offset: int, data: bytes, *, done: bool = True) -> bytes:
    return chunk(1, offset.to_bytes(8, "big") + data, done=done)


DATA = (0).to_bytes(8, "big") + bytes(BLOCK_SIZE)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        pytest.param(b"", "hung up", id="hangs up"),
        pytest.param(b"SSH-2.0-OpenSSH" * 10, "not an NBD server", id="another protocol"),
        pytest.param(GREETING + option_reply(8, 1, b"x" * 70_000), "bad reply", id="endless option reply"),
        pytest.param(GREETING + option_reply(8, 3) * 100, "too many replies", id="too many option replies"),
        pytest.param(GREETING + option_reply(8, (1 << 31) + 1, b"no"), "refused: no", id="option refused"),
        pytest.param(GREETING + option_reply(9, 1), "bad reply", id="answer to another option"),
        pytest.param(negotiated(SIZE * 1000), "expected 1048576", id="another size"),
        pytest.param(negotiated(SIZE) + extents_chunk((0, 0)), "without length", id="empty extent"),
        pytest.param(negotiated(SIZE) + extents_chunk(), "status chunk of 4", id="no extent"),
        pytest.param(negotiated(SIZE) + extents_chunk((SIZE, 0), context=9), "nobody asked", id="new context"),
        pytest.param(negotiated(SIZE) + chunk(5, b"", length=1 << 31), "status chunk of", id="huge status"),
        pytest.param(negotiated(SIZE) + chunk(0, b""), "other contexts", id="no status at all"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_an_error(
    state: StateDirectory, snapshots: Snapshots, script: bytes, complaint: str
) -> None:
    path = state.root / "liar.sock"
    with (
        lie(path, script),
        pytest.raises(SourceError, match=complaint),
        DiskViewSource(view(path, SIZE)) as source,
    ):
        snapshots.take("snap-1", source)
    assert snapshots.ids() == []


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        pytest.param(chunk(1, DATA, cookie=77), "not made", id="wrong cookie"),
        pytest.param(data_chunk(0, bytes(99)), "in part", id="partial data"),
        pytest.param(data_chunk(1 << 63, bytes(99)), "outside", id="data far outside"),
        pytest.param(data_chunk(0, bytes(BLOCK_SIZE + 1)), "outside", id="too much data"),
        pytest.param(chunk(2, bytes(8) + b"\xff" * 4), "outside", id="huge hole"),
        pytest.param(chunk(1 << 15 | 1, b"\0\0\0\5\0\3bad"), "5 bad", id="error"),
        pytest.param(
            data_chunk(0, bytes(BLOCK_SIZE // 2), done=False) + data_chunk(1, bytes(BLOCK_SIZE - 1)),
            "gaps or overlaps",
            id="overlaps",
        ),
        pytest.param(chunk(9, b""), "chunk type 9", id="unknown chunk"),
    ],
)
def test_a_read_that_is_answered_wrongly_is_an_error(state: StateDirectory, answer: bytes, complaint: str) -> None:
    path = state.root / "liar.sock"
    with (
        lie(path, negotiated(SIZE) + answer),
        NbdConnection(path, "disk", contexts=["base:allocation"]) as connection,
        pytest.raises(SourceError, match=complaint),
    ):
        connection.read_into(0, memoryview(bytearray(BLOCK_SIZE)))


def test_a_server_that_never_answers_is_given_up(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    path = state.root / "mute.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        with pytest.raises(SourceError, match="no answer"):
            NbdConnection(path, "disk", timeout_s=0.2)


def test_an_extent_beyond_the_disk_is_cut_at_its_end(state: StateDirectory, snapshots: Snapshots) -> None:
    path = state.root / "long.sock"
    script = negotiated(SIZE) + extents_chunk((1 << 31, 3))
    with lie(path, script), DiskViewSource(view(path, SIZE)) as source:
        assert snapshots.take("snap-1", source).read_bytes == 0
