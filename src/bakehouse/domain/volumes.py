"""Volumes: states, attachments, and who may see them."""

import re
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Instance, Volume, VolumeModification, now
from bakehouse.domain import product_codes, tags
from bakehouse.domain.volume_types import Performance
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, is_well_formed, new_id

# The machine's slots less the one of its network interface.
MAX_ATTACHED = 23
_DEVICE_NAME = re.compile(r"/dev/(sd|xvd)[a-z][a-z]?[0-9]{0,2}")


def visible(session: Session, account_id: str, volume_ids: Sequence[str] = ()) -> list[Volume]:
    """The blessed select: the account's volumes that are not deleted, oldest first."""
    for volume_id in volume_ids:
        if not is_well_formed(Prefix.VOLUME, volume_id):
            raise errors.volume_id_malformed(volume_id)
    query = (
        sa.select(Volume)
        .where(Volume.account_id == account_id, Volume.deleted_at.is_(None))
        .order_by(Volume.created_at, Volume.volume_id)
    )
    if volume_ids:
        query = query.where(Volume.volume_id.in_(volume_ids))
    found = list(session.scalars(query))
    missing = set(volume_ids) - {one.volume_id for one in found}
    if missing:
        raise errors.volume_not_found(min(missing))
    return found


def is_device_name(name: str) -> bool:
    """Tell whether EC2 takes the name for a volume of a Linux instance."""
    return _DEVICE_NAME.fullmatch(name) is not None


def get(session: Session, account_id: str, volume_id: str) -> Volume:
    """Return one of the account's volumes."""
    return visible(session, account_id, [volume_id])[0]


def chosen_of(session: Session, instance: Instance, *, without_root: bool, without: Sequence[str]) -> list[Volume]:
    """The volumes of an instance that CreateSnapshots is to take, root first."""
    check_settled(instance)
    excluded = {volume.volume_id for volume in visible(session, instance.account_id, without)} if without else set()
    root = find_root(instance)
    if root is not None and root.volume_id in excluded:
        raise errors.invalid_parameter_value(
            f"The volume '{root.volume_id}' is the root volume; use ExcludeBootVolume to leave it out."
        )
    if strange := excluded - {volume.volume_id for volume in instance.volumes}:
        raise errors.invalid_parameter_value(
            f"The volume '{min(strange)}' is not attached to instance '{instance.instance_id}'."
        )
    chosen = [one for one in instance.volumes if one.volume_id not in excluded and not (without_root and one is root)]
    if not chosen:
        raise errors.invalid_parameter_value("No volume of the instance is left to take a snapshot of.")
    return sorted(chosen, key=lambda volume: volume is not root)


def find_root(instance: Instance) -> Volume | None:
    """The root volume of an instance; None when it has been detached."""
    return next((one for one in instance.volumes if one.device_name == instance.root_device_name), None)


def check_settled(instance: Instance) -> None:
    """Refuse what takes all of an instance's volumes while the instance, or one of them, comes or goes."""
    if instance.state not in {"running", "stopped"}:
        raise errors.incorrect_instance_state(instance.instance_id, instance.state, "captured")
    for volume in instance.volumes:
        if volume.attachment_state != "attached":
            raise errors.incorrect_state(f"The volume '{volume.volume_id}' is {volume.attachment_state}.")


def check_capturable(session: Session, volume: Volume) -> None:
    """Refuse a snapshot of a volume that comes or goes, be it with its instance."""
    if volume.state not in {"available", "in-use"} or volume.attachment_state not in {None, "attached"}:
        raise errors.incorrect_state(f"The volume '{volume.volume_id}' is not 'available' or 'in-use'.")
    instance = session.get(Instance, volume.instance_id) if volume.instance_id else None
    if instance is not None and instance.state == "shutting-down":
        raise errors.incorrect_state(f"The instance '{instance.instance_id}' of '{volume.volume_id}' is shutting down.")


def create(
    session: Session,
    account_id: str,
    *,
    zone: str,
    size_gib: int,
    snapshot_id: str | None,
    volume_type: str,
    performance: Performance,
) -> Volume:
    """Write a volume that is being created."""
    volume = Volume(
        volume_id=new_id(Prefix.VOLUME),
        account_id=account_id,
        availability_zone=zone,
        size_gib=size_gib,
        volume_type=volume_type,
        iops=performance.iops,
        throughput_mibps=performance.throughput_mibps,
        snapshot_id=snapshot_id,
        captured_snapshot_id=snapshot_id,
        state="creating",
        product_codes=product_codes.of_snapshots(session, [snapshot_id] if snapshot_id else []),
    )
    session.add(volume)
    session.flush()
    return volume


def attach(volume: Volume, instance: Instance, device_name: str) -> None:
    """Begin to attach an available volume."""
    if volume.instance_id is not None:
        raise errors.volume_in_use(volume.volume_id, volume.instance_id)
    if volume.state != "available":
        raise errors.incorrect_state(f"The volume '{volume.volume_id}' is not 'available'.")
    if volume.availability_zone != instance.availability_zone:
        raise errors.volume_zone_mismatch(volume.volume_id, instance.instance_id)
    if instance.state not in {"running", "stopped"}:
        raise errors.incorrect_state(f"Instance '{instance.instance_id}' is not 'running' or 'stopped'.")
    if not is_device_name(device_name):
        raise errors.invalid_value_for("device", device_name, "It is not a valid EBS device name.")
    if device_name in {one.device_name for one in instance.volumes}:
        raise ApiError(
            "InvalidParameterValue",
            f"Invalid value '{device_name}' for unixDevice. Attachment point {device_name} is already in use",
        )
    if volume.product_codes:
        # EC2 API Reference, AttachVolume: to a stopped instance only, which then has the codes too.
        if instance.state != "stopped":
            raise errors.incorrect_state(f"A volume with product codes needs '{instance.instance_id}' to be 'stopped'.")
        instance.product_codes = product_codes.merge(instance.product_codes, volume.product_codes)
    volume.slot = next_slot(instance.volumes, instance.instance_id)
    volume.instance_id, volume.device_name = instance.instance_id, device_name
    volume.state, volume.attachment_state, volume.attached_at = "in-use", "attaching", now()


def next_slot(attached: Iterable[Volume], instance_id: str) -> int:
    """The lowest free slot of an instance."""
    taken = {one.slot for one in attached}
    free = (slot for slot in range(MAX_ATTACHED) if slot not in taken)
    slot = next(free, None)
    if slot is None:
        raise errors.attachment_limit_exceeded(instance_id)
    return slot


def begin_detach(volume: Volume, instance: Instance) -> None:
    """Begin to detach; the root of a machine that is not stopped stays."""
    is_root = volume.device_name == instance.root_device_name
    if is_root and instance.state != "stopped":
        raise errors.operation_not_permitted(
            f"Unable to detach root volume '{volume.volume_id}' from instance '{instance.instance_id}'"
        )
    volume.attachment_state = "detaching"


def begin_delete(volume: Volume) -> None:
    """Begin to delete a volume nothing has attached."""
    if volume.instance_id is not None:
        raise errors.volume_in_use(volume.volume_id, volume.instance_id)
    if volume.state not in {"available", "error"}:
        raise errors.incorrect_state(f"The volume '{volume.volume_id}' is not 'available'.")
    volume.state = "deleting"


def mark_deleted(session: Session, volume: Volume) -> None:
    """The volume is gone; its row stays for what was made of it."""
    tags.delete_tags_of(session, volume.volume_id)
    session.execute(sa.delete(VolumeModification).where(VolumeModification.volume_id == volume.volume_id))
    volume.state, volume.deleted_at = "deleted", now()
    volume.instance_id = volume.slot = None
    volume.attachment_state = None
