"""What a request is done to without naming it: the other end of an attachment.

Invariant: what an operation can name is found, too, when the request leaves it out or names it another way and the rows
tell. What is not there, or another account's, gives nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, NetworkInterface, Volume
from bakehouse.domain.iam.resource_names import arn

_Given = Mapping[str, Any]


def arns(session: Session, account_id: str, action: str, given: _Given) -> list[str]:
    """The ARNs of what an action of EC2's is done to besides what its parameters name."""
    return list(_READERS[action](session, account_id, given)) if action in _READERS else []


def _instance_of_volume(session: Session, account_id: str, given: _Given) -> Iterable[str]:
    query = sa.select(Volume.instance_id).where(
        Volume.account_id == account_id, Volume.volume_id == given.get("VolumeId"), Volume.instance_id.is_not(None)
    )
    return [arn(session, account_id, "instance", str(one)) for one in session.scalars(query)]


def _both_ends(session: Session, account_id: str, given: _Given) -> Iterable[str]:
    """An instance and its interface: either names both."""
    query = sa.select(NetworkInterface.interface_id, NetworkInterface.instance_id).where(
        NetworkInterface.account_id == account_id,
        sa.or_(
            NetworkInterface.interface_id == given.get("NetworkInterfaceId"),
            NetworkInterface.instance_id == given.get("InstanceId"),
        ),
    )
    for interface_id, instance_id in session.execute(query):
        yield arn(session, account_id, "network-interface", interface_id)
        yield arn(session, account_id, "instance", instance_id)


def _volumes_taken(session: Session, account_id: str, given: _Given) -> Iterable[str]:
    """The volumes of which CreateSnapshots takes snapshots."""
    wanted = given.get("InstanceSpecification", {})
    without_root = wanted.get("ExcludeBootVolume", False)
    for volume, root_device in _attached(session, account_id, wanted.get("InstanceId")):
        is_left_out = volume.volume_id in wanted.get("ExcludeDataVolumeIds", ())
        if not is_left_out and not (without_root and volume.device_name == root_device):
            yield arn(session, account_id, "volume", volume.volume_id)


def _volumes_at_devices(session: Session, account_id: str, given: _Given) -> Iterable[str]:
    devices = {one.get("DeviceName") for one in given.get("BlockDeviceMappings", ())}
    for volume, _ in _attached(session, account_id, given.get("InstanceId")) if devices else ():
        if volume.device_name in devices:
            yield arn(session, account_id, "volume", volume.volume_id)


def _attached(session: Session, account_id: str, instance_id: str | None) -> list[tuple[Volume, str]]:
    """An instance's volumes, each with the name of the root device."""
    query = (
        sa.select(Volume, Instance.root_device_name)
        .join(Instance, Instance.instance_id == Volume.instance_id)
        .where(Instance.account_id == account_id, Instance.instance_id == instance_id)
        .order_by(Volume.volume_id)
    )
    return [(volume, root_device) for volume, root_device in session.execute(query)]


_READERS: Mapping[str, Callable[[Session, str, _Given], Iterable[str]]] = {
    "AssociateAddress": _both_ends,
    "CreateSnapshots": _volumes_taken,
    "DetachVolume": _instance_of_volume,
    "ModifyInstanceAttribute": _volumes_at_devices,
}
