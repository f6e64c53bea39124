"""Modifications of volumes: what may be changed, and how far a change is.

Invariant: a volume has one modification at most, its newest, and none begins while that is under way. EC2's limit on
how often (once in six hours, lately four times a day) is not imposed: nothing has to be moved here.
Rules: EC2 API Reference, ModifyVolume.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Instance, Volume, VolumeModification, now
from bakehouse.domain import volume_types, volumes
from bakehouse.domain.volume_types import Performance
from bakehouse.errors import volume_modifications as refusals

MODIFYING, OPTIMIZING, COMPLETED, FAILED = "modifying", "optimizing", "completed", "failed"
UNDER_WAY = (MODIFYING, OPTIMIZING)
# EC2's default for a volume that changes to a type with chosen iops.
_DEFAULT_IOPS = 3_000


def begin(
    session: Session,
    volume: Volume,
    *,
    size_gib: int | None,
    volume_type: str | None,
    iops: int | None,
    throughput_mibps: int | None,
) -> VolumeModification:
    """Write a modification that is under way; what is None stays as it is."""
    if volume.state not in {"available", "in-use"} or volume.attachment_state not in {None, "attached"}:
        raise errors.incorrect_state(f"The volume '{volume.volume_id}' is not 'available' or 'in-use'.")
    newest = session.get(VolumeModification, volume.volume_id)
    if newest is not None and newest.state in UNDER_WAY:
        raise refusals.incorrect_modification_state(volume.volume_id, newest.state)
    target_size_gib = volume.size_gib if size_gib is None else size_gib
    if target_size_gib < volume.size_gib:
        raise errors.invalid_parameter_value(
            f"New size cannot be smaller than existing size: {size_gib} GiB, {volume.size_gib} GiB."
        )
    target_type = volume_type or volume.volume_type
    _check_root(session, volume, target_type)
    figures = _figures(volume, target_type, target_size_gib, iops, throughput_mibps)
    if newest is not None:
        session.delete(newest)
        session.flush()
    modification = VolumeModification(
        volume_id=volume.volume_id,
        state=MODIFYING,
        original_size_gib=volume.size_gib,
        original_type=volume.volume_type,
        original_iops=volume.iops,
        original_throughput_mibps=volume.throughput_mibps,
        target_size_gib=target_size_gib,
        target_type=target_type,
        target_iops=figures.iops,
        target_throughput_mibps=figures.throughput_mibps,
    )
    session.add(modification)
    session.flush()
    return modification


def _check_root(session: Session, volume: Volume, target_type: str) -> None:
    instance = session.get(Instance, volume.instance_id) if volume.instance_id else None
    is_root = instance is not None and instance.root_device_name == volume.device_name
    if is_root and not volume_types.can_boot(target_type):
        raise errors.invalid_parameter_value(f"A root volume cannot be of type {target_type}.")


def _figures(
    volume: Volume, target_type: str, size_gib: int, iops: int | None, throughput_mibps: int | None
) -> Performance:
    """What is asked for, else what the volume has if its type stays, else EC2's defaults; checked."""
    kept = volume_types.chosen_figures(target_type, volume.iops, volume.throughput_mibps)
    if target_type != volume.volume_type:
        kept = volume_types.chosen_figures(target_type, _DEFAULT_IOPS, None)
    return volume_types.performance_of(
        target_type,
        size_gib,
        kept.get("Iops") if iops is None else iops,
        kept.get("Throughput") if throughput_mibps is None else throughput_mibps,
    )


def apply(session: Session, volume_id: str) -> None:
    """The disk has its size: the volume is what was asked for, and is usable as such."""
    volume, modification = session.get_one(Volume, volume_id), session.get(VolumeModification, volume_id)
    if modification is None or modification.state != MODIFYING:
        return
    volume.size_gib, volume.volume_type = modification.target_size_gib, modification.target_type
    volume.iops, volume.throughput_mibps = modification.target_iops, modification.target_throughput_mibps
    modification.state, modification.progress_percent = OPTIMIZING, 0


def complete(session: Session, volume_id: str) -> None:
    """Nothing is left to be done."""
    modification = session.get(VolumeModification, volume_id)
    if modification is not None and modification.state == OPTIMIZING:
        modification.state, modification.progress_percent, modification.ended_at = COMPLETED, 100, now()


def fail(session: Session, volume_id: str, reason: str) -> None:
    """It could not be done; the volume is as it was."""
    modification = session.get(VolumeModification, volume_id)
    if modification is not None and modification.state in UNDER_WAY:
        modification.state, modification.status_message, modification.ended_at = FAILED, reason, now()


def visible(session: Session, account_id: str, volume_ids: Sequence[str] = ()) -> list[VolumeModification]:
    """The newest modification of each of the account's volumes, by volume; every one named must have one."""
    if volume_ids:
        volumes.visible(session, account_id, volume_ids)
    query = (
        sa.select(VolumeModification)
        .join(Volume, Volume.volume_id == VolumeModification.volume_id)
        .where(Volume.account_id == account_id, Volume.deleted_at.is_(None))
        .order_by(Volume.created_at, Volume.volume_id)
    )
    if volume_ids:
        query = query.where(VolumeModification.volume_id.in_(volume_ids))
    found = list(session.scalars(query))
    missing = set(volume_ids) - {one.volume_id for one in found}
    if missing:
        raise refusals.modification_not_found(min(missing))
    return found


def under_way(session: Session) -> list[VolumeModification]:
    """Every modification that has not come to an end: for upkeep."""
    return list(session.scalars(sa.select(VolumeModification).where(VolumeModification.state.in_(UNDER_WAY))))
