"""CreateImage, CreateSnapshot and CreateSnapshots after the answer: one instant of all disks -> blocks -> available.

    freeze -> point-in-time views (one QMP transaction) -> thaw -> read views into blocks -> rows complete

The machine runs on while the views are read. A stopped machine's disks and a detached volume's are served
by a process of their own, which lives only within the step that reads.

Invariant: what a capture finds (whose disks they are, which machine has them) is true under the lock, and asked there.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, Snapshot, Volume
from bakehouse.domain import images, instances, snapshots
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.hypervisor import disk_server
from bakehouse.hypervisor.machine import Machine
from bakehouse.hypervisor.spec import CaptureDisk, DiskView, MachineError
from bakehouse.storage import collector
from bakehouse.storage.disk_view import DiskView as StorageView
from bakehouse.storage.disk_view import DiskViewSource
from bakehouse.workflows import specs
from bakehouse.workflows.capture_wait import LOOK_AGAIN_S
from bakehouse.workflows.host import Host
from bakehouse.workflows.hydrate import hydrate
from bakehouse.workflows.launch_instance import GIB
from bakehouse.workflows.reachability import guest_agent

_SHUTDOWN_TIMEOUT_S = 150.0
_FREEZE_TIMEOUT_S = 10.0
_COLLECT_TIMEOUT_S = 60.0
# A guest may take its time until it has taken a disk in.
_ATTACH_WAIT_S = 240.0
_WITH_MACHINE = (State.RUNNING, State.STOPPING)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one capture reads: an id of its own, the snapshots to fill, whose machine, whose files.

    ``is_settled``: none of the disks is on its way into a machine, where its files change hands.
    """

    capture_id: str
    instance_id: str | None
    uid_number: int | None
    is_settled: bool
    disks: tuple[CaptureDisk, ...]
    # volume id -> (snapshot under the overlay, newest captured snapshot)
    parents: dict[str, tuple[str | None, str | None]]

    @property
    def owner_id(self) -> str:
        """Under whose lock the disks are: the instance's, or the volume's that is attached to none."""
        return self.instance_id or self.disks[0].volume_id


def capture_image(host: Host, image_id: str, no_reboot: bool) -> None:
    """Fill every snapshot of a pending image, at one instant, and make it available."""
    _capture(host, image_id, no_reboot)


def capture_snapshot(host: Host, snapshot_id: str) -> None:
    """Fill one pending snapshot, and those to be taken at the same instant (of whose set it is the first)."""
    _capture(host, snapshot_id, True)


def abandon_capture(host: Host, subject_id: str) -> None:
    """End a capture whose own workflow could not: it failed."""
    host.engine.step(give_up, host, subject_id, "the capture did not come to an end")
    host.engine.step(end, host, subject_id)


def _capture(host: Host, subject_id: str, no_reboot: bool) -> None:
    try:
        is_live = host.engine.step(begin, host, subject_id, no_reboot)
        host.engine.step(read_views if is_live else read_offline, host, subject_id)
        host.engine.step(complete, host, subject_id)
    except PartError as error:
        host.engine.step(give_up, host, subject_id, str(error))
    host.engine.step(end, host, subject_id)


def read_job(host: Host, session: Session, subject_id: str) -> Job:
    """Collect what to read for an image, a snapshot or a set of them."""
    rows = list(session.scalars(select(Snapshot).where(Snapshot.snapshot_id.in_(_snapshot_ids(session, subject_id)))))
    volumes = {row.snapshot_id: session.get_one(Volume, row.volume_id) for row in rows if row.volume_id}
    owners = {volume.instance_id for volume in volumes.values()}
    instance_id = owners.pop() if len(owners) == 1 else None
    instance = instances.get_any(session, instance_id) if instance_id else None
    return Job(
        capture_id=subject_id,
        instance_id=instance_id,
        uid_number=instance.uid_number if instance else None,
        is_settled=all(volume.attachment_state != "attaching" for volume in volumes.values()),
        disks=tuple(_capture_disk(host, snapshot_id, volume) for snapshot_id, volume in volumes.items()),
        parents={one.volume_id: (one.snapshot_id, one.captured_snapshot_id) for one in volumes.values()},
    )


def _snapshot_ids(session: Session, subject_id: str) -> list[str]:
    image = session.get(Image, subject_id)
    return snapshots.taken_with(session, subject_id) if image is None else snapshots.taken_for(session, image)


def _capture_disk(host: Host, snapshot_id: str, volume: Volume) -> CaptureDisk:
    return CaptureDisk(
        volume_id=volume.volume_id,
        snapshot_id=snapshot_id,
        scratch=host.settings.state.volume(volume.volume_id).capture(snapshot_id),
        bitmap_since=volume.captured_snapshot_id,
    )


def _job(host: Host, subject_id: str) -> Job:
    with host.database.transaction(mutates=False) as session:
        return read_job(host, session, subject_id)


@contextmanager
def _held(host: Host, subject_id: str) -> Iterator[tuple[Job, Machine | None]]:
    """The job, and the machine that has its disks if one runs, with the lock under which neither changes."""
    deadline = time.monotonic() + _ATTACH_WAIT_S
    while True:
        owner_id = _job(host, subject_id).owner_id
        with host.locks[owner_id]:
            job = _job(host, subject_id)
            if job.owner_id == owner_id and job.is_settled:
                yield job, host.machines.find(job.instance_id) if job.instance_id else None
                return
        if time.monotonic() > deadline:
            raise MachineError("a volume of it was being attached for too long")
        time.sleep(LOOK_AGAIN_S)


def begin(host: Host, subject_id: str, no_reboot: bool) -> bool:
    """Take the views; False when no machine has the disks open (they are then read offline)."""
    with _held(host, subject_id) as (job, machine):
        if machine is None:
            return False
        if no_reboot:
            machine.begin_capture(job.capture_id, job.disks, quiesced=_at_rest(host, machine, job))
        else:
            _capture_at_rest(machine, job)
    return True


@contextmanager
def _at_rest(host: Host, machine: Machine, job: Job) -> Iterator[None]:
    """The guest's file systems at rest, where an agent can bring them there; nobody waits for one that is not."""
    if not machine.has_agent():
        yield
        return
    instance_id = machine.instance_id
    agent = guest_agent(host, instance_id, job.uid_number)
    in_doubt = partial(host.in_doubt.add, instance_id)
    with host.freezing[instance_id], agent.frozen(timeout_s=_FREEZE_TIMEOUT_S, in_doubt=in_doubt):
        yield


def _capture_at_rest(machine: Machine, job: Job) -> None:
    """Shut the guest down, take the views, and boot it again; the reading goes on meanwhile."""
    if machine.find_views(job.capture_id) is not None:
        # Taken already by a service that died before it could say so: one reboot is enough.
        machine.boot_again()
        return
    if not machine.shut_down_and_hold(timeout_s=_SHUTDOWN_TIMEOUT_S):
        raise MachineError(f"the guest did not shut down within {_SHUTDOWN_TIMEOUT_S:g} s")
    try:
        machine.begin_capture(job.capture_id, job.disks)
    finally:
        machine.boot_again()


def read_views(host: Host, subject_id: str) -> None:
    """Read the views that ``begin`` had the machine serve."""
    job = _job(host, subject_id)
    assert job.instance_id is not None, "a live capture has a machine"
    machine = host.machines.find(job.instance_id)
    if machine is None:
        raise MachineError("the machine ended while it was being captured")
    # Views that are served already are returned as they are: the instant stays the one of ``begin``.
    views = machine.begin_capture(job.capture_id, job.disks)
    try:
        with host.reading:
            _read(host, job, views)
    except PartError:
        if reason := machine.capture_failure(job.capture_id):
            raise MachineError(reason) from None
        raise


def read_offline(host: Host, subject_id: str) -> None:
    """Read what no machine had when the capture began; through its machine, if it has one by now."""
    for parent, _ in _job(host, subject_id).parents.values():
        if parent is not None:
            hydrate(host, parent)
    while not _read_at_rest(host, subject_id):
        # It was started, or attached to a machine that runs: its disks are that machine's.
        if begin(host, subject_id, True):
            read_views(host, subject_id)
            return


def _read_at_rest(host: Host, subject_id: str) -> bool:
    """Serve the disks and read them; nobody may start their machine meanwhile. False when it runs."""
    with host.reading, _held(host, subject_id) as (job, machine):
        if machine is not None:
            return False
        uid = host.uid_of(job.uid_number)
        with host.database.transaction(mutates=False) as session:
            rows = [session.get_one(Volume, disk.volume_id) for disk in job.disks]
            disks = [specs.disk_spec(host, row, root_device_name=None) for row in rows]
        with disk_server.start_disk_server(
            host.loop, host.settings.state, name=job.capture_id, disks=disks, uid=uid
        ) as server:
            _read(host, job, server.begin_capture(job.capture_id, job.disks))
    return True


def _read(host: Host, job: Job, views: Sequence[DiskView]) -> None:
    for view in views:
        under, newest = job.parents[view.volume_id]
        source = StorageView(
            socket=view.socket,
            export_name=view.export_name,
            size_bytes=view.size_bytes,
            dirty_context=view.dirty_context if view.has_dirty_bitmap else None,
            base_depth=view.base_depth,
            server_uid=host.uid_of(job.uid_number),
        )
        with DiskViewSource(source) as disk:
            taken = host.snapshots.take(
                view.snapshot_id,
                disk,
                parent_id=newest if view.has_dirty_bitmap else under,
                progress=_reporter(host, view.snapshot_id),
            )
        with host.database.transaction() as session:
            size_gib = -(-view.size_bytes // GIB)
            snapshots.complete(session, view.snapshot_id, taken.stored_bytes, size_gib=size_gib)


def _reporter(host: Host, snapshot_id: str) -> Callable[[int, int], None]:
    """Write progress to the row, at most once per tenth."""
    reported = 0

    def report(done_bytes: int, total_bytes: int) -> None:
        nonlocal reported
        percent = min(99, done_bytes * 100 // max(1, total_bytes))
        if percent >= reported + 10:
            reported = percent
            with host.database.transaction() as session:
                snapshots.set_progress(session, snapshot_id, percent)

    return report


def complete(host: Host, subject_id: str) -> None:
    """Everything is stored: the image is available, and the volumes know their newest capture."""
    with host.database.transaction() as session:
        job = read_job(host, session, subject_id)
        for disk in job.disks:
            session.get_one(Volume, disk.volume_id).captured_snapshot_id = disk.snapshot_id
        if session.get(Image, subject_id) is not None:
            images.complete(session, subject_id)


def give_up(host: Host, subject_id: str, reason: str) -> None:
    """The records say why, and the space of what was stored is given back."""
    job = _job(host, subject_id)
    for disk in job.disks:
        with suppress(PartError):
            host.snapshots.delete(disk.snapshot_id)
    with host.database.transaction() as session:
        for disk in job.disks:
            snapshots.fail(session, disk.snapshot_id, reason)
        if session.get(Image, subject_id) is not None:
            images.fail(session, subject_id, "Server.InternalError", reason)
    with suppress(PartError):  # other captures write for longer: `bakehouse gc`, or the next that fails, collects
        collector.collect(host.snapshots, lambda: _live_ids(host), timeout_s=_COLLECT_TIMEOUT_S)


def _live_ids(host: Host) -> set[str]:
    with host.database.transaction(mutates=False) as session:
        return snapshots.referenced_ids(session)


def end(host: Host, subject_id: str) -> None:
    """Stop serving, delete scratch files; whatever state the machine is in."""
    job = _job(host, subject_id)
    if job.instance_id is not None:
        host.machines.end_capture(job.instance_id, job.capture_id)


def doubt_all(host: Host) -> None:
    """After a restart: a service killed between freeze and thaw must not leave a guest frozen."""
    with host.database.transaction(mutates=False) as session:
        under_way = select(Snapshot.volume_id).where(Snapshot.state == snapshots.PENDING)
        captured = select(Volume.instance_id).where(Volume.volume_id.in_(under_way), Volume.instance_id.is_not(None))
        host.in_doubt.update(filter(None, session.scalars(captured)))
