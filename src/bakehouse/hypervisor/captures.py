"""Point-in-time views of disks, taken by one QMP transaction and served read-only over NBD.

A live disk: a backup job with sync=none copies each cluster to a scratch file before the guest overwrites
it; scratch file over live disk is the view. A disk nobody writes to (``is_live`` false) is its own view. Both
begin a new dirty bitmap at that instant, see bitmaps.py. The disk's chain never changes.

Invariant: everything a capture makes inside QEMU carries the capture's id in its name, so that it can be
found and taken away whatever instant the service died at.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from bakehouse.hypervisor.bitmaps import GRANULARITY_BYTES, BitmapPlan, plan_bitmaps, segments_of
from bakehouse.hypervisor.capture_record import (
    CaptureRecord,
    all_records,
    delete_record,
    delete_scratch,
    find_record,
    write_record,
)
from bakehouse.hypervisor.command_line import disk_node_name
from bakehouse.hypervisor.live import LiveMachine
from bakehouse.hypervisor.qmp import QmpSession, RefusedError
from bakehouse.hypervisor.spec import CaptureDisk, DiskView, MachineError

# 31 characters are QEMU's limit for a node name; the longest of ours begins with "capf99.".
_CAPTURE_ID = re.compile(r"[a-z0-9-]{1,24}")
_OUR_NAME = re.compile(r"(?:cap|capf|cbw|job|exp|create|merged)\d+\.(?P<capture_id>[a-z0-9-]{1,24})")
_CLEAN_UP_TIMEOUT_S = 20.0
# From this version on blockdev-backup can give up the view instead of the guest's write.
_BREAK_SNAPSHOT_VERSION = (10, 1)


@dataclass(frozen=True, kw_only=True)
class PlannedDisk:
    """One disk of a capture, ready to be taken: names, size and what becomes of its bitmaps."""

    asked: CaptureDisk
    number: int
    size_bytes: int
    bitmaps: BitmapPlan
    has_base: bool


@dataclass(frozen=True, kw_only=True)
class PlannedCapture:
    """A capture whose scratch files exist; ``take`` it, then ``publish`` it."""

    capture_id: str
    is_live: bool
    disks: tuple[PlannedDisk, ...]
    can_break_snapshot: bool


async def prepare(live: LiveMachine, capture_id: str, disks: Sequence[CaptureDisk], *, is_live: bool) -> PlannedCapture:
    """Do all that takes time before the instant: check, plan, make the scratch files."""
    if not _CAPTURE_ID.fullmatch(capture_id):
        raise MachineError(f"{capture_id!r} cannot name a capture")
    if find_record(live.files, capture_id) is not None:
        raise MachineError(f"capture {capture_id} is under way already")
    busy = {disk.volume_id for record in all_records(live.files) for disk in record.disks}
    for disk in disks:
        if disk.volume_id in busy:
            raise MachineError(f"{disk.volume_id} is being captured already")
    write_record(live.files, CaptureRecord(capture_id=capture_id, disks=tuple(disks)))
    nodes = await _nodes(live.session)
    based = {disk.volume_id for disk in live.spec.disks if disk.base is not None}
    planned = tuple(_plan_disk(nodes, number, disk, based) for number, disk in enumerate(disks))
    if is_live:
        for disk_plan in planned:
            await _make_scratch(live, capture_id, disk_plan)
    version = (await live.session.execute("query-version"))["qemu"]
    return PlannedCapture(
        capture_id=capture_id,
        is_live=is_live,
        disks=planned,
        can_break_snapshot=(version["major"], version["minor"]) >= _BREAK_SNAPSHOT_VERSION,
    )


async def take(live: LiveMachine, capture: PlannedCapture) -> None:
    """The instant: one transaction over all disks."""
    actions = [action for disk in capture.disks for action in _actions(capture, disk)]
    await live.session.execute("transaction", {"actions": actions})


async def publish(live: LiveMachine, capture: PlannedCapture) -> list[DiskView]:
    """Serve the views; they stay until ``end``."""
    await _start_server(live)
    views = []
    for disk in capture.disks:
        for name in disk.bitmaps.remove:
            await _try(live.session, "block-dirty-bitmap-remove", _bitmap(disk, name))
        dirty_bitmap = await _merge_changes(live.session, capture.capture_id, disk)
        await live.session.execute("block-export-add", _export(capture, disk, dirty_bitmap))
        views.append(_view(live, capture, disk, dirty_bitmap))
    record = find_record(live.files, capture.capture_id)
    if record is None or record.failure is not None:
        raise MachineError(f"capture {capture.capture_id} was given up")
    write_record(live.files, record.with_views(views))
    return views


async def find_views(live: LiveMachine, capture_id: str) -> list[DiskView] | None:
    """The views of a capture that QEMU still serves, or None."""
    record = find_record(live.files, capture_id)
    if record is None or record.views is None:
        return None
    served = await _export_ids(live.session)
    wanted = {_name("exp", number, capture_id) for number in range(len(record.views))}
    return list(record.views) if wanted <= served else None


async def end(live: LiveMachine, capture_id: str) -> None:
    """Take away every trace of a capture; nothing happens when there is none."""
    await _clear_qemu(live, capture_id)
    if (record := find_record(live.files, capture_id)) is not None:
        delete_scratch(record)
    delete_record(live.files, capture_id)


async def give_up(live: LiveMachine, capture_id: str, reason: str) -> None:
    """End a capture that cannot go on, but keep a record of why until ``end``."""
    await _clear_qemu(live, capture_id)
    if (record := find_record(live.files, capture_id)) is not None:
        delete_scratch(record)
        write_record(live.files, record.with_failure(reason))


async def find_captures(live: LiveMachine) -> list[str]:
    """The ids of all captures there are traces of, in QEMU or in our records."""
    found = {record.capture_id for record in all_records(live.files)}
    for name in await _all_names(live.session):
        if match := _OUR_NAME.fullmatch(name):
            found.add(match["capture_id"])
    return sorted(found)


def _name(kind: str, number: int, capture_id: str) -> str:
    return f"{kind}{number}.{capture_id}"


def _bitmap(disk: PlannedDisk, name: str) -> dict[str, Any]:
    return {"node": disk_node_name(disk.asked.volume_id), "name": name}


def _plan_disk(nodes: Mapping[str, Mapping[str, Any]], number: int, disk: CaptureDisk, based: Set[str]) -> PlannedDisk:
    node = nodes.get(disk_node_name(disk.volume_id))
    if node is None:
        raise MachineError(f"{disk.volume_id} is not a disk of this machine")
    plan = plan_bitmaps(segments_of(node), since=disk.bitmap_since, snapshot_id=disk.snapshot_id)
    return PlannedDisk(
        asked=disk,
        number=number,
        size_bytes=int(node["image"]["virtual-size"]),
        bitmaps=plan,
        has_base=disk.volume_id in based,
    )


async def _make_scratch(live: LiveMachine, capture_id: str, disk: PlannedDisk) -> None:
    """Create and open the qcow2 that keeps what the guest overwrites; QEMU makes it, under its own uid."""
    node, file = _name("cap", disk.number, capture_id), _name("capf", disk.number, capture_id)
    job = _name("create", disk.number, capture_id)
    await _create(live, job, {"driver": "file", "filename": str(disk.asked.scratch), "size": 0})
    # Nobody reads a scratch file after a crash, so it need not reach the host's disk.
    protocol = {"driver": "file", "node-name": file, "filename": str(disk.asked.scratch)}
    await live.session.execute("blockdev-add", {**protocol, "cache": {"no-flush": True}})
    await _create(live, job, {"driver": "qcow2", "file": file, "size": disk.size_bytes})
    overlay = {"driver": "qcow2", "node-name": node, "file": file, "cache": {"no-flush": True}}
    await live.session.execute("blockdev-add", {**overlay, "backing": disk_node_name(disk.asked.volume_id)})


async def _create(live: LiveMachine, job: str, options: Mapping[str, Any]) -> None:
    """Run a blockdev-create job to its end."""
    await live.session.execute("blockdev-create", {"job-id": job, "options": options})
    outcome: dict[str, Any] = {}

    async def is_concluded() -> bool:
        entry = next((entry for entry in await _jobs(live.session) if entry["id"] == job), None)
        outcome.update(entry or {"error": "it vanished"})
        return entry is None or entry["status"] == "concluded"

    if not await live.wait_until(is_concluded, timeout_s=_CLEAN_UP_TIMEOUT_S):
        raise MachineError("a scratch file could not be created in time")
    if outcome.get("status") == "concluded":
        await live.session.execute("job-dismiss", {"id": job})
    if outcome.get("error"):
        raise MachineError(f"a scratch file could not be created ({outcome['error']})")


def _actions(capture: PlannedCapture, disk: PlannedDisk) -> list[dict[str, Any]]:
    """A disk's part of the transaction; every action takes effect at the same instant."""
    actions = [{"type": "block-dirty-bitmap-disable", "data": _bitmap(disk, name)} for name in disk.bitmaps.disable]
    new = {**_bitmap(disk, disk.bitmaps.add), "persistent": True, "granularity": GRANULARITY_BYTES}
    actions.append({"type": "block-dirty-bitmap-add", "data": new})
    if capture.is_live:
        actions.append({"type": "blockdev-backup", "data": _backup(capture, disk)})
    return actions


def _backup(capture: PlannedCapture, disk: PlannedDisk) -> dict[str, Any]:
    job = {
        "job-id": _name("job", disk.number, capture.capture_id),
        "device": disk_node_name(disk.asked.volume_id),
        "target": _name("cap", disk.number, capture.capture_id),
        "filter-node-name": _name("cbw", disk.number, capture.capture_id),
        "sync": "none",
    }
    return {**job, "on-cbw-error": "break-snapshot"} if capture.can_break_snapshot else job


async def _merge_changes(session: QmpSession, capture_id: str, disk: PlannedDisk) -> str | None:
    """The name of one bitmap that says what changed since the asked-for snapshot, or None."""
    changed = disk.bitmaps.changed
    if len(changed) <= 1:
        return changed[0] if changed else None
    merged = _bitmap(disk, _name("merged", disk.number, capture_id))
    await session.execute("block-dirty-bitmap-add", {**merged, "disabled": True, "granularity": GRANULARITY_BYTES})
    arguments = {"node": merged["node"], "target": merged["name"], "bitmaps": list(changed)}
    await session.execute("block-dirty-bitmap-merge", arguments)
    return str(merged["name"])


async def _start_server(live: LiveMachine) -> None:
    address = {"type": "unix", "data": {"path": str(live.files.nbd_socket)}}
    try:
        await live.session.execute("nbd-server-start", {"addr": address})
    except RefusedError as error:
        if "already running" not in str(error):
            raise


def _export(capture: PlannedCapture, disk: PlannedDisk, dirty_bitmap: str | None) -> dict[str, Any]:
    name = _name("exp", disk.number, capture.capture_id)
    volume_node = disk_node_name(disk.asked.volume_id)
    return {
        "type": "nbd",
        "id": name,
        "name": name,
        "node-name": _name("cap", disk.number, capture.capture_id) if capture.is_live else volume_node,
        "writable": False,
        "allocation-depth": True,
        "bitmaps": [{"node": volume_node, "name": dirty_bitmap}] if dirty_bitmap else [],
    }


def _view(live: LiveMachine, capture: PlannedCapture, disk: PlannedDisk, dirty_bitmap: str | None) -> DiskView:
    base_depth = 3 if capture.is_live else 2  # [scratch,] overlay, base
    return DiskView(
        volume_id=disk.asked.volume_id,
        snapshot_id=disk.asked.snapshot_id,
        socket=live.files.nbd_socket,
        export_name=_name("exp", disk.number, capture.capture_id),
        size_bytes=disk.size_bytes,
        has_dirty_bitmap=dirty_bitmap is not None,
        dirty_context=f"qemu:dirty-bitmap:{dirty_bitmap}" if dirty_bitmap else None,
        base_depth=base_depth if disk.has_base else None,
    )


async def _clear_qemu(live: LiveMachine, capture_id: str) -> None:
    """Remove a capture's exports, jobs, nodes and merged bitmaps from QEMU, in this order."""

    async def is_clear() -> bool:
        return not await _clear_once(live.session, capture_id)

    if not await live.wait_until(is_clear, timeout_s=_CLEAN_UP_TIMEOUT_S):
        raise MachineError(f"capture {capture_id} could not be ended in time")
    if not await _export_ids(live.session):
        try:
            await live.session.execute("nbd-server-stop")
        except RefusedError:
            return  # it does not run


async def _clear_once(session: QmpSession, capture_id: str) -> bool:
    """Ask QEMU to drop what is left of a capture; True when there was something."""
    ours = re.compile(rf"[a-z]+\d+\.{re.escape(capture_id)}")
    exports = [name for name in await _export_ids(session) if ours.fullmatch(name)]
    for name in exports:
        await _try(session, "block-export-del", {"id": name, "mode": "hard"})
    jobs = [job for job in await _jobs(session) if ours.fullmatch(str(job["id"]))]
    for job in jobs:
        command = "job-dismiss" if job["status"] == "concluded" else "job-cancel"
        await _try(session, command, {"id": job["id"]})
    nodes = await _nodes(session)
    mine = [name for name in nodes if ours.fullmatch(name)]
    if not jobs and not exports:
        # "cap" sorts before "capf": the format node goes before the file it holds.
        for name in sorted(mine, key=lambda name: name.startswith("capf")):
            await _try(session, "blockdev-del", {"node-name": name})
        for node_name, node in nodes.items():
            for bitmap in node.get("dirty-bitmaps") or []:
                if ours.fullmatch(str(bitmap.get("name", ""))):
                    mine.append(str(bitmap["name"]))
                    bitmap_name = {"node": node_name, "name": bitmap["name"]}
                    await _try(session, "block-dirty-bitmap-remove", bitmap_name)
    return bool(exports or jobs or mine)


async def _try(session: QmpSession, command: str, arguments: Mapping[str, Any]) -> None:
    """Run a command that may come too early or too late; the caller looks again."""
    try:
        await session.execute(command, arguments)
    except RefusedError:
        return


async def _nodes(session: QmpSession) -> dict[str, Mapping[str, Any]]:
    nodes: list[dict[str, Any]] = await session.execute("query-named-block-nodes", {"flat": True})
    return {str(node["node-name"]): node for node in nodes}


async def _jobs(session: QmpSession) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = await session.execute("query-jobs")
    return jobs


async def _export_ids(session: QmpSession) -> set[str]:
    exports: list[dict[str, Any]] = await session.execute("query-block-exports")
    return {str(export["id"]) for export in exports}


async def _all_names(session: QmpSession) -> list[str]:
    nodes = await _nodes(session)
    bitmaps = [str(b.get("name", "")) for node in nodes.values() for b in node.get("dirty-bitmaps") or []]
    return [*nodes, *bitmaps, *await _export_ids(session), *(str(job["id"]) for job in await _jobs(session))]
