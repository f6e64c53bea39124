"""A disk from outside made a raw file: fetched, looked at, refused or converted.

Invariant: the file may be hostile. Only qemu-img without any right reads it, and what it names (a backing file, a
data file, an extent elsewhere) is never read in its stead: such a disk is refused before it is converted.
"""

import http.client
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bakehouse.errors import PartError
from bakehouse.host.run import Credentials, run

_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx")
_COPY_TIMEOUT_S = _CONVERT_TIMEOUT_S = 1800
_INFO_TIMEOUT_S = 60
_CHUNK_BYTES = 1 << 20
_SECTOR_BYTES = 512
_BOOT_SIGNATURE = b"\x55\xaa"
_BOOT_CODE_BYTES = 440
_VHD_COOKIE = b"conectix"


class ImportRefused(PartError):
    """What was given is no disk that can become an image; the message says why."""


def fetch(source: Path | str, target: Path, report: Callable[[str, int, int], None]) -> None:
    """Copy a file, or download an http(s) URL; ImportRefused, CommandFailed or OSError."""
    if isinstance(source, Path):
        # cp keeps holes; a copy, because the importer may read nothing else of ours.
        report("copying", 0, 0)
        run(["cp", "--reflink=auto", "--", source, target], timeout_s=_COPY_TIMEOUT_S)
        return
    if not source.startswith(("http://", "https://")):
        raise ImportRefused(f"{source}: only http and https URLs can be imported")
    try:
        _download(source, target, report)
    except urllib.error.HTTPError as error:
        error.close()  # it is the reply, too
        raise ImportRefused(f"{source}: HTTP status {error.code} {error.msg}") from error
    except (http.client.HTTPException, ValueError) as error:
        raise ImportRefused(f"{source}: {error}") from error
    except OSError as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ImportRefused(f"{source}: {getattr(cause, 'strerror', None) or cause}") from error


def _download(url: str, target: Path, report: Callable[[str, int, int], None]) -> None:
    with urllib.request.urlopen(url, timeout=60) as reply, target.open("wb") as file:  # noqa: S310  # checked above
        total, done = int(reply.headers.get("Content-Length") or 0), 0
        while chunk := reply.read(_CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            report("downloading", done, total)
    if total and done != total:
        raise ImportRefused(f"{url}: the download ended after {done} of {total} bytes")


def convert(scratch: Path, given: Path, disk: Path, uid: int | None) -> None:
    """Let qemu-img, as ``uid``, make a raw file of what was given; ImportRefused or CommandFailed."""
    if uid is not None:
        for path in (scratch, given):
            shutil.chown(path, uid, uid)
    credentials = Credentials(uid=uid, gid=uid) if uid is not None else None
    # A VHD of fixed size says what it is at its end only, where qemu-img does not look by itself.
    known = ["-f", "vpc"] if _last_sector(given).startswith(_VHD_COOKIE) else []
    words = ["qemu-img", "info", "--output=json", *known, str(given)]
    about = run(words, credentials=credentials, directory=scratch, timeout_s=_INFO_TIMEOUT_S)
    facts: dict[str, Any] = json.loads(about.stdout)
    check_facts(facts, given)
    run(
        ["qemu-img", "convert", "-f", str(facts["format"]), "-O", "raw", given, disk],
        credentials=credentials,
        directory=scratch,
        timeout_s=_CONVERT_TIMEOUT_S,
    )


def _last_sector(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _SECTOR_BYTES))
        return file.read(_SECTOR_BYTES)


def check_facts(facts: Mapping[str, Any], given: Path) -> None:
    """Refuse, by what ``qemu-img info`` says, a disk that is not whole in its one file."""
    if facts["format"] not in _FORMATS:
        raise ImportRefused(f"a disk in the format {facts['format']} cannot be imported")
    details = facts.get("format-specific", {}).get("data", {})
    elsewhere = [extent["filename"] for extent in details.get("extents", ()) if extent["filename"] != str(given)]
    if "backing-filename" in facts or "data-file" in details or elsewhere:
        raise ImportRefused("a disk that names another file cannot be imported")
    if details.get("corrupt"):
        raise ImportRefused("the disk is marked as corrupt")
    if facts.get("encrypted"):
        raise ImportRefused("an encrypted disk cannot be imported")


def boot_mode_of(disk: Path) -> str:
    """How a disk boots; ImportRefused for one without a boot sector, which every partition table has too."""
    with disk.open("rb") as file:
        sector = file.read(_SECTOR_BYTES)
    if sector[-len(_BOOT_SIGNATURE) :] != _BOOT_SIGNATURE or len(sector) < _SECTOR_BYTES:
        raise ImportRefused("this is no bootable disk: it has neither a partition table nor a boot sector")
    # Without any code there, only UEFI finds something to boot.
    return "legacy-bios" if any(sector[:_BOOT_CODE_BYTES]) else "uefi"
