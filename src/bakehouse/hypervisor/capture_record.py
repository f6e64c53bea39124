"""The service's own record of a capture in progress.

Invariant: written before QEMU is asked for anything and deleted after the last trace is gone; scratch files
are deleted by what stands here, never by what a (possibly hostile) QEMU says.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bakehouse.host.files import make_private_directory, write_atomically
from bakehouse.hypervisor.spec import CaptureDisk, DiskView
from bakehouse.paths import InstanceDirectory


@dataclass(frozen=True, kw_only=True)
class CaptureRecord:
    """One capture: what was asked for, the views once they are served, why it failed if it did."""

    capture_id: str
    disks: tuple[CaptureDisk, ...]
    views: tuple[DiskView, ...] | None = None
    failure: str | None = None

    def with_views(self, views: Sequence[DiskView]) -> "CaptureRecord":
        """The record of a capture whose views are served."""
        return replace(self, views=tuple(views))

    def with_failure(self, reason: str) -> "CaptureRecord":
        """The record of a capture that had to be given up."""
        return replace(self, failure=reason, views=None)


def write_record(files: InstanceDirectory, record: CaptureRecord) -> None:
    """Write or replace a record."""
    make_private_directory(files.captures)
    write_atomically(files.capture(record.capture_id), json.dumps(asdict(record), default=str))


def find_record(files: InstanceDirectory, capture_id: str) -> CaptureRecord | None:
    """The record of one capture, or None."""
    try:
        return _record_from(json.loads(files.capture(capture_id).read_text()))
    except FileNotFoundError:
        return None


def all_records(files: InstanceDirectory) -> list[CaptureRecord]:
    """The records of every capture in progress."""
    names = sorted(path.stem for path in files.captures.glob("*.json")) if files.captures.is_dir() else []
    return [record for name in names if (record := find_record(files, name)) is not None]


def delete_scratch(record: CaptureRecord) -> None:
    """Give the space of a capture's scratch files back."""
    for disk in record.disks:
        disk.scratch.unlink(missing_ok=True)


def delete_record(files: InstanceDirectory, capture_id: str) -> None:
    """Forget a capture."""
    files.capture(capture_id).unlink(missing_ok=True)
    with suppress(OSError):  # others are in progress, or it never existed
        files.captures.rmdir()


def forget_capture(files: InstanceDirectory, capture_id: str) -> None:
    """Delete what one capture of a machine that is gone left behind."""
    if (record := find_record(files, capture_id)) is not None:
        delete_scratch(record)
        delete_record(files, capture_id)


def forget_captures(files: InstanceDirectory) -> None:
    """Delete what all captures of a machine that is gone left behind."""
    for record in all_records(files):
        forget_capture(files, record.capture_id)


def _record_from(values: dict[str, Any]) -> CaptureRecord:
    views = values["views"]
    return CaptureRecord(
        capture_id=values["capture_id"],
        disks=tuple(CaptureDisk(**{**disk, "scratch": Path(disk["scratch"])}) for disk in values["disks"]),
        views=tuple(DiskView(**{**view, "socket": Path(view["socket"])}) for view in views) if views else None,
        failure=values["failure"],
    )
