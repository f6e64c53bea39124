"""Disks from outside, with the real qemu-img: every format comes through, what is hostile or no disk does not."""

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bakehouse.errors import PartError
from bakehouse.workflows.foreign_disk import ImportRefused, boot_mode_of, convert, fetch
from tests.framework.tiny_cloud import write_disk

pytestmark = pytest.mark.programs
UID = 1_900_000_009 if os.geteuid() == 0 else None


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for path in (tmp_path, *tmp_path.parents):  # qemu-img runs as nobody who owns a thing here
        if path.stat().st_mode & 0o011 != 0o011:
            path.chmod(0o755)
    return tmp_path


@pytest.fixture
def disk(directory: Path) -> Path:
    return write_disk(directory / "tiny.raw", noise_mib=1)


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)


def create_encrypted(path: Path, options: str) -> None:
    """Write an encrypted qcow2; for LUKS qemu-img times its hashing first, and gives up when its clock stood still."""
    words = ["qemu-img", "create", "-q", "--object", "secret,id=s,data=x", "-f", "qcow2"]
    for _ in range(20):
        if subprocess.run([*words, "-o", f"{options},encrypt.key-secret=s", path, "32M"], check=False).returncode == 0:
            return
    pytest.fail(f"qemu-img did not write {path}")


def imported(given: Path) -> Path:
    """What an import makes of a file."""
    scratch = given.parent / "scratch"
    scratch.mkdir()
    fetch(given, scratch / "given", lambda *_: None)
    convert(scratch, scratch / "given", scratch / "disk.raw", UID)
    return scratch / "disk.raw"


FORMATS = (
    *(("raw",), ("qcow2",), ("qcow2", "-c"), ("vmdk",), ("vmdk", "-o", "subformat=streamOptimized")),
    *(("vdi",), ("vpc",), ("vpc", "-o", "subformat=fixed"), ("vhdx",)),
)


@pytest.mark.parametrize("words", FORMATS, ids=" ".join)
def test_every_format_comes_through_byte_for_byte(disk: Path, words: tuple[str, ...]) -> None:
    given = disk.with_name("given-disk")
    qemu_img("convert", "-f", "raw", "-O", *words, disk, given)
    made = imported(given).read_bytes()
    assert made[: disk.stat().st_size] == disk.read_bytes()
    assert not any(made[disk.stat().st_size :])  # some formats know whole cylinders only


def test_a_disk_that_lies_over_another_is_refused(disk: Path) -> None:
    given = disk.with_name("over.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", given)
    with pytest.raises(ImportRefused, match="names another file"):
        imported(given)


def test_a_disk_whose_data_lie_in_another_file_is_refused(disk: Path) -> None:
    given = disk.with_name("data.qcow2")
    data = disk.with_name("data.raw")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on", given, "32M")
    data.chmod(0o644)
    with pytest.raises(ImportRefused, match="names another file"):
        imported(given)


def test_a_vmdk_whose_extent_is_a_file_of_the_host_is_refused(disk: Path) -> None:
    given = disk.with_name("evil.vmdk")
    given.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        'RW 1 FLAT "/etc/passwd" 0\nddb.adapterType = "ide"\n'
    )
    with pytest.raises(ImportRefused, match="names another file"):
        imported(given)


def test_a_format_nobody_ships_clouds_in_is_refused(disk: Path) -> None:
    given = disk.with_name("disk.qed")
    qemu_img("create", "-q", "-f", "qed", given, "32M")
    with pytest.raises(ImportRefused, match="format qed"):
        imported(given)


@pytest.mark.parametrize("options", ["encrypt.format=aes", "encrypt.format=luks,encrypt.iter-time=10"])
def test_an_encrypted_disk_is_refused(disk: Path, options: str) -> None:
    given = disk.with_name("secret.qcow2")
    create_encrypted(given, options)
    with pytest.raises(ImportRefused, match="encrypted"):
        imported(given)


def test_a_truncated_disk_is_refused(disk: Path) -> None:
    given = disk.with_name("cut.qcow2")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, given)
    os.truncate(given, 200_000)
    with pytest.raises(PartError):
        boot_mode_of(imported(given))


@pytest.mark.parametrize("content", [b"", b"hello\n", os.urandom(4096)[:510] + b"\0\0" + os.urandom(4096)])
def test_what_is_no_bootable_disk_is_refused(directory: Path, content: bytes) -> None:
    given = directory / "garbage"
    given.write_bytes(content)
    with pytest.raises(ImportRefused, match="no bootable disk"):
        boot_mode_of(imported(given))


def test_a_disk_without_boot_code_boots_by_uefi(disk: Path) -> None:
    assert boot_mode_of(disk) == "legacy-bios"
    with disk.open("r+b") as file:
        file.write(bytes(440))
    assert boot_mode_of(disk) == "uefi"


class CutShort(http.server.SimpleHTTPRequestHandler):
    """Promises more than it sends, for paths that end in "cut"."""

    def do_GET(self) -> None:
        if not self.path.endswith("cut"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(disk: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(CutShort, directory=disk.parent)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_url_is_downloaded_and_reported(disk: Path, url: str) -> None:
    seen: list[tuple[str, int, int]] = []
    fetch(f"{url}/tiny.raw", disk.with_name("given"), lambda *report: seen.append(report))
    assert disk.with_name("given").read_bytes() == disk.read_bytes()
    assert seen[-1] == ("downloading", disk.stat().st_size, disk.stat().st_size)


@pytest.mark.parametrize(("path", "reason"), [("nothing", "404"), ("cut", "ended after 10 of 1000 bytes")])
def test_a_url_that_gives_no_whole_file_is_refused(disk: Path, url: str, path: str, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        fetch(f"{url}/{path}", disk.with_name("given"), lambda *_: None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("file:///etc/passwd", "only http"),
        ("http://127.0.0.1:1/x", "Connection refused"),
        ("http://[", "URL"),
    ],
)
def test_a_source_nobody_can_fetch_is_refused(disk: Path, source: str, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        fetch(source, disk.with_name("given"), lambda *_: None)
