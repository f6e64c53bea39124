"""Exchanges of an instance's root volume: what the new one may be made of, and who is the root at every instant.

Invariant: exactly one of the two volumes is attached as the root, in the rows as in the machine; the other one can be
neither attached, deleted nor taken for something else before the task has come to its end.
Rules: EC2 User Guide, "Replace the root volume for an Amazon EC2 instance without stopping it".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, Instance, ReplaceRootVolumeTask, Snapshot, Volume, VolumeModification, now
from bakehouse.domain import product_codes, snapshots, volume_types, volumes
from bakehouse.domain.volume_modifications import UNDER_WAY as MODIFICATION_UNDER_WAY
from bakehouse.errors import replace_root_volume_tasks as refusals
from bakehouse.errors import volume_modifications
from bakehouse.ids import Prefix, is_well_formed, new_id

PENDING, IN_PROGRESS, FAILING, SUCCEEDED, FAILED = "pending", "in-progress", "failing", "succeeded", "failed"
UNDER_WAY = (PENDING, IN_PROGRESS, FAILING)


def visible(session: Session, account_id: str, task_ids: Sequence[str] = ()) -> list[ReplaceRootVolumeTask]:
    """The blessed select: the account's tasks, oldest first."""
    for task_id in task_ids:
        if not is_well_formed(Prefix.REPLACE_ROOT_VOLUME_TASK, task_id):
            raise refusals.task_id_malformed(task_id)
    query = (
        sa.select(ReplaceRootVolumeTask)
        .where(ReplaceRootVolumeTask.account_id == account_id)
        .order_by(ReplaceRootVolumeTask.started_at, ReplaceRootVolumeTask.task_id)
    )
    if task_ids:
        query = query.where(ReplaceRootVolumeTask.task_id.in_(task_ids))
    found = list(session.scalars(query))
    missing = set(task_ids) - {one.task_id for one in found}
    if missing:
        raise refusals.task_not_found(min(missing))
    return found


def get(session: Session, account_id: str, task_id: str) -> ReplaceRootVolumeTask:
    """Return one of the account's tasks."""
    return visible(session, account_id, [task_id])[0]


def under_way(session: Session) -> list[ReplaceRootVolumeTask]:
    """Every task that has not come to its end: for workflows."""
    return list(session.scalars(sa.select(ReplaceRootVolumeTask).where(ReplaceRootVolumeTask.state.in_(UNDER_WAY))))


def is_under_way(session: Session, instance_id: str) -> bool:
    """Whether an instance's root is being exchanged."""
    return any(task.instance_id == instance_id for task in under_way(session))


def refuse_while_under_way(session: Session, instance: Instance) -> None:
    """Refuse what takes the root as it is."""
    if is_under_way(session, instance.instance_id):
        raise errors.incorrect_state(f"The root volume of instance '{instance.instance_id}' is being replaced.")


def begin(
    session: Session,
    instance: Instance,
    *,
    snapshot_id: str | None,
    image: Image | None,
    delete_replaced: bool,
) -> ReplaceRootVolumeTask:
    """Write a pending task and the volume that is to be the root: of a snapshot, an image, or as at launch."""
    old = _check_instance(session, instance)
    size_gib = old.size_gib
    if snapshot_id is not None and image is not None:
        raise errors.invalid_parameter_combination("The parameters snapshotId and imageId cannot be used together.")
    if image is not None:
        source_id, image_size_gib = _root_of_image(session, instance, image)
        size_gib = max(size_gib, image_size_gib)
    elif snapshot_id is not None:
        snapshot = _check_lineage(session, instance, old, snapshot_id)
        source_id, size_gib = snapshot_id, max(size_gib, snapshot.volume_size_gib)
    else:
        source_id = _launch_state(old)
    new = volumes.create(
        session,
        instance.account_id,
        zone=old.availability_zone,
        size_gib=size_gib,
        snapshot_id=source_id,
        volume_type=old.volume_type,
        performance=_performance(old, size_gib),
    )
    new.product_codes = product_codes.merge(new.product_codes, (image or old).product_codes)
    task = ReplaceRootVolumeTask(
        task_id=new_id(Prefix.REPLACE_ROOT_VOLUME_TASK),
        account_id=instance.account_id,
        instance_id=instance.instance_id,
        state=PENDING,
        snapshot_id=source_id,
        image_id=image.image_id if image else None,
        boot_mode=image.boot_mode if image else None,
        replaced_image_id=instance.image_id,
        replaced_boot_mode=instance.boot_mode,
        old_volume_id=old.volume_id,
        new_volume_id=new.volume_id,
        delete_replaced=delete_replaced,
    )
    session.add(task)
    session.flush()
    return task


def _performance(old: Volume, size_gib: int) -> volume_types.Performance:
    figures = volume_types.chosen_figures(old.volume_type, old.iops, old.throughput_mibps)
    return volume_types.performance_of(old.volume_type, size_gib, figures.get("Iops"), figures.get("Throughput"))


def _check_instance(session: Session, instance: Instance) -> Volume:
    """The root of an instance that it can be taken from now."""
    if instance.state != "running":
        raise errors.incorrect_instance_state(instance.instance_id, instance.state, "given another root volume")
    refuse_while_under_way(session, instance)
    root = volumes.find_root(instance)
    if root is None or root.attachment_state != "attached":
        raise errors.incorrect_state(f"Instance '{instance.instance_id}' has no root volume attached.")
    modification = session.get(VolumeModification, root.volume_id)
    if modification is not None and modification.state in MODIFICATION_UNDER_WAY:
        raise volume_modifications.incorrect_modification_state(root.volume_id, modification.state)
    return root


def _launch_state(root: Volume) -> str:
    if root.snapshot_id is None:
        raise errors.invalid_parameter_combination(f"The root volume '{root.volume_id}' was not made of a snapshot.")
    return root.snapshot_id


def _root_of_image(session: Session, instance: Instance, image: Image) -> tuple[str, int]:
    """The snapshot of an image's root and its size; the image's other volumes are ignored, as EC2 does."""
    if image.architecture != "x86_64":
        raise errors.invalid_parameter_value(
            f"The architecture '{image.architecture}' of {image.image_id} is not that of '{instance.instance_id}'."
        )
    if _codes(product_codes.of_image(session, image)) != _codes(instance.product_codes):
        raise errors.invalid_parameter_value(
            f"The product codes of {image.image_id} are not those of '{instance.instance_id}'."
        )
    by_name = {mapping["DeviceName"]: mapping.get("Ebs", {}) for mapping in image.block_device_mappings}
    ebs = by_name.get(image.root_device_name, {})
    if "SnapshotId" not in ebs:
        raise errors.invalid_parameter_value(f"The image '{image.image_id}' has no root snapshot.")
    return ebs["SnapshotId"], ebs["VolumeSize"]


def _codes(codes: Sequence[Mapping[str, Any]]) -> set[str]:
    return {code["ProductCodeId"] for code in codes}


def _check_lineage(session: Session, instance: Instance, root: Volume, snapshot_id: str) -> Snapshot:
    """A snapshot taken of the instance's root, or of one that was its root before."""
    snapshot = snapshots.get_completed(session, instance.account_id, snapshot_id)
    replaced = sa.select(ReplaceRootVolumeTask.old_volume_id).where(
        ReplaceRootVolumeTask.instance_id == instance.instance_id, ReplaceRootVolumeTask.state == SUCCEEDED
    )
    roots = {root.volume_id, *session.scalars(replaced)}
    if snapshot.source_snapshot_id is not None or snapshot.volume_id not in roots:
        raise errors.invalid_parameter_value(
            f"The snapshot '{snapshot_id}' was not created from a root volume of instance '{instance.instance_id}'."
        )
    return snapshot


def exchange(session: Session, task: ReplaceRootVolumeTask) -> None:
    """The new volume is the root from now on, in its predecessor's place; idempotent."""
    old, new = session.get_one(Volume, task.old_volume_id), session.get_one(Volume, task.new_volume_id)
    if new.instance_id is not None:
        return
    instance = session.get_one(Instance, task.instance_id)
    _take_place(instance, leaving=old, coming=new)
    if task.image_id is not None and task.boot_mode is not None:
        instance.image_id, instance.boot_mode = task.image_id, task.boot_mode


def put_back(session: Session, task: ReplaceRootVolumeTask) -> None:
    """The exchange failed: the old volume is the root (again); idempotent."""
    task.state = FAILING
    old, new = session.get_one(Volume, task.old_volume_id), session.get_one(Volume, task.new_volume_id)
    if new.instance_id is None:
        return
    instance = session.get_one(Instance, task.instance_id)
    _take_place(instance, leaving=new, coming=old)
    instance.image_id, instance.boot_mode = task.replaced_image_id, task.replaced_boot_mode


def _take_place(instance: Instance, *, leaving: Volume, coming: Volume) -> None:
    coming.instance_id, coming.device_name, coming.slot = leaving.instance_id, leaving.device_name, leaving.slot
    coming.delete_on_termination = leaving.delete_on_termination
    coming.state, coming.attachment_state, coming.attached_at = "in-use", "attached", now()
    leaving.instance_id = leaving.device_name = leaving.slot = None
    leaving.attachment_state = leaving.attached_at = None
    # Not "available" yet: should the exchange fail, it must still be there.
    leaving.state, leaving.delete_on_termination = "in-use", False
    instance.reachable_at = instance.unreachable_since = None


def succeed(session: Session, task: ReplaceRootVolumeTask) -> Volume:
    """It is done; returns the old volume: free, or to be deleted."""
    old = session.get_one(Volume, task.old_volume_id)
    if task.state in UNDER_WAY:
        task.state, task.completed_at = SUCCEEDED, now()
        old.state = "deleting" if task.delete_replaced else "available"
    return old


def fail(session: Session, task: ReplaceRootVolumeTask) -> Volume:
    """It could not be done, and the old root is attached; returns the new volume, which is to be deleted."""
    new = session.get_one(Volume, task.new_volume_id)
    if task.state in UNDER_WAY:
        task.state, task.completed_at = FAILED, now()
        new.state = "deleting"
    return new
