"""What is done every few minutes: forget what has had its time, and bring what was left half-way to an end.

A workflow that failed for a reason nobody foresaw leaves its record in a state that cannot last; here it is taken
up again, by a new workflow. A machine that could not be watched, or a rule that did not take effect, is tried again.
"""

import logging
import threading
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, Instance, Snapshot, Volume
from bakehouse.domain import images, instances, replace_root_volume_tasks, retention, snapshots, volume_modifications
from bakehouse.domain.instances import State
from bakehouse.workflows.host import Host
from bakehouse.workflows.reconcile import adopt_running

_log = logging.getLogger("bakehouse.upkeep")

_INTERVAL_S = 300.0
_WORKFLOWS_KEPT_S = 24 * 3600.0
# (workflow, arguments after the id) by state.
_OF_INSTANCES: dict[str, tuple[str, tuple[object, ...]]] = {
    State.PENDING: ("launch_instance", ()),
    State.STOPPING: ("stop_instance", (True,)),
    State.SHUTTING_DOWN: ("terminate_instance", (False, True)),
}
_OF_VOLUMES: dict[str, tuple[str, tuple[object, ...]]] = {
    "creating": ("create_volume", ()),
    "deleting": ("delete_volume", ()),
}
_OF_ATTACHMENTS: dict[str, tuple[str, tuple[object, ...]]] = {
    "attaching": ("attach_volume", ()),
    "detaching": ("detach_volume", (False,)),
}
# workflow, what it is about, arguments after that, key
Work = tuple[str, str, tuple[object, ...], str]


class Upkeep:
    """A thread that tidies now and then."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; returns when the thread has."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            try:
                tidy(self._host)
            except Exception:  # "database is locked", say: the next round is another one
                _log.exception("cannot tidy now")
            if self._stopped.wait(_INTERVAL_S):
                return


def tidy(host: Host) -> None:
    """Do it once."""
    take_up_abandoned(host)
    adopt_running(host)
    with host.database.transaction() as session:
        retention.forget_expired(session)
    host.engine.forget_ended(older_than_s=_WORKFLOWS_KEPT_S)


def take_up_abandoned(host: Host) -> None:
    """Enqueue the rest of the work on records that are under way though no workflow is about them."""
    with host.database.transaction() as session:
        # In a transaction that keeps writers out a record and the workflow about it are both seen, or neither.
        unfinished = host.engine.unfinished_ids(session)
        for workflow, subject_id, arguments, key in list(_under_way(session)):
            if any(subject_id in workflow_id for workflow_id in unfinished):
                continue
            _log.warning("%s was left half-way; taking it up again: %s", subject_id, workflow)
            workflow_id = f"{workflow}-{subject_id}-{instances.new_token()}"
            host.enqueue(session, workflow, subject_id, *arguments, key=key, workflow_id=workflow_id)


def _under_way(session: Session) -> Iterator[Work]:
    for instance in session.scalars(sa.select(Instance).where(Instance.state.in_(_OF_INSTANCES))):
        workflow, arguments = _OF_INSTANCES[instance.state]
        yield workflow, instance.instance_id, arguments, instance.instance_id
    exchanges = replace_root_volume_tasks.under_way(session)
    for task in exchanges:
        yield "replace_root_volume", task.task_id, (), task.instance_id
    of_exchanges = [task.new_volume_id for task in exchanges]
    changing = sa.select(Volume).where(Volume.state.in_(_OF_VOLUMES), Volume.volume_id.not_in(of_exchanges))
    for volume in session.scalars(changing):
        workflow, arguments = _OF_VOLUMES[volume.state]
        yield workflow, volume.volume_id, arguments, volume.volume_id
    settled = sa.select(Instance.instance_id).where(Instance.state.in_((State.RUNNING, State.STOPPED)))
    attachments = sa.select(Volume).where(Volume.attachment_state.in_(_OF_ATTACHMENTS), Volume.instance_id.in_(settled))
    for volume in session.scalars(attachments):
        workflow, arguments = _OF_ATTACHMENTS[volume.attachment_state or ""]
        yield workflow, volume.volume_id, arguments, volume.instance_id or ""
    yield from _copies_under_way(session)
    for modification in volume_modifications.under_way(session):
        yield "modify_volume", modification.volume_id, (), modification.volume_id
    yield from _captures_under_way(session)


def _copies_under_way(session: Session) -> Iterator[Work]:
    pending = sa.select(Image).where(Image.state == images.PENDING, Image.source_instance_id.is_(None))
    for image in session.scalars(pending):
        yield "copy_image", image.image_id, (), image.image_id
    single = sa.select(Snapshot.snapshot_id).where(
        Snapshot.state == snapshots.PENDING,
        Snapshot.source_snapshot_id.is_not(None),
        Snapshot.snapshot_id.not_in(_of_pending_images(session)),
    )
    for snapshot_id in session.scalars(single):
        yield "copy_snapshot", snapshot_id, (), snapshot_id


def _of_pending_images(session: Session) -> set[str]:
    pending = session.scalars(sa.select(Image).where(Image.state == images.PENDING))
    return {snapshot_id for image in pending for snapshot_id in snapshots.snapshot_ids_of(image)}


def _captures_under_way(session: Session) -> Iterator[Work]:
    """Their instant has passed, so they can only be given up; imports (of no volume) are the command line's."""
    of_images = _of_pending_images(session)
    pending_images = sa.select(Image).where(Image.state == images.PENDING, Image.source_instance_id.is_not(None))
    for image in session.scalars(pending_images):
        yield "abandon_capture", image.image_id, (), f"capture-{image.source_instance_id}"
    pending = sa.select(Snapshot).where(Snapshot.state == snapshots.PENDING, Snapshot.volume_id.is_not(None))
    alone = [one for one in session.scalars(pending) if one.snapshot_id not in of_images]
    for subject_id, volume_id in {one.set_id or one.snapshot_id: one.volume_id for one in alone}.items():
        yield "abandon_capture", subject_id, (), f"capture-{volume_id}"
