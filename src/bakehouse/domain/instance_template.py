"""An instance as launch template data: what would launch another one like it.

Invariant: what only one instance can have is left out (its interface, its private address), so that a template of
this data launches as it is.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, Instance, NetworkInterface, Snapshot, Volume
from bakehouse.domain import block_devices, snapshots, tags
from bakehouse.domain.instances import State

_DESCRIBABLE = (State.PENDING, State.RUNNING, State.STOPPING, State.STOPPED)


def data_of(session: Session, instance: Instance) -> dict[str, Any]:
    """Return the data in the API's shape; IncorrectInstanceState for an instance that is ending."""
    if instance.state not in _DESCRIBABLE:
        raise errors.incorrect_instance_state(instance.instance_id, instance.state, "described as a launch template")
    interface = instance.interface
    data = {
        "BlockDeviceMappings": _mappings(session, instance),
        "DisableApiStop": instance.disable_api_stop,
        "DisableApiTermination": instance.disable_api_termination,
        "EbsOptimized": instance.ebs_optimized,
        "IamInstanceProfile": {"Arn": instance.instance_profile_arn} if instance.instance_profile_arn else None,
        "ImageId": instance.image_id,
        "InstanceInitiatedShutdownBehavior": instance.shutdown_behavior,
        "InstanceType": instance.instance_type,
        "KeyName": instance.key_name,
        "MetadataOptions": dict(instance.metadata_options),
        "Monitoring": {"Enabled": instance.monitoring == "enabled"},
        "NetworkInterfaces": [_interface(instance, interface)] if interface is not None else None,
        "Placement": {"AvailabilityZone": instance.availability_zone, "Tenancy": "default"},
        "TagSpecifications": _tag_specifications(session, instance),
        "UserData": base64.b64encode(instance.user_data).decode() if instance.user_data else None,
    }
    return {name: value for name, value in data.items() if value not in (None, [])}


def _mappings(session: Session, instance: Instance) -> list[dict[str, Any]]:
    """The volumes as they are now, and the image's devices that are no more."""
    image = session.get(Image, instance.image_id)
    given = {one["DeviceName"] for one in image.block_device_mappings if "Ebs" in one} if image is not None else set()
    attached = {volume.device_name: volume for volume in instance.volumes if volume.device_name is not None}
    mappings = [
        {"DeviceName": name, "Ebs": _ebs(session, volume, is_of_image=name in given)}
        for name, volume in sorted(attached.items(), key=lambda item: item[1].slot or 0)
    ]
    return mappings + [{"DeviceName": name, "NoDevice": ""} for name in sorted(given - attached.keys())]


def _ebs(session: Session, volume: Volume, *, is_of_image: bool) -> dict[str, Any]:
    """A device of the image's gets its snapshot from there; a launch may not say another."""
    ebs = {"Encrypted": False, **block_devices.ebs_of(volume)}
    snapshot = session.get(Snapshot, volume.snapshot_id) if volume.snapshot_id and not is_of_image else None
    if snapshot is not None and snapshot.state == snapshots.COMPLETED and snapshot.account_id == volume.account_id:
        ebs["SnapshotId"] = snapshot.snapshot_id
    return ebs


def _interface(instance: Instance, interface: NetworkInterface) -> dict[str, Any]:
    item: dict[str, Any] = {
        "DeleteOnTermination": True,
        "DeviceIndex": 0,
        "Groups": [member.group_id for member in interface.groups],
        "InterfaceType": "interface",
        "SubnetId": interface.subnet_id,
    }
    if interface.description:
        item["Description"] = interface.description
    if instance.state in {State.PENDING, State.RUNNING}:
        # A stopped instance has no public address; whether it gets one is its subnet's to say then.
        item["AssociatePublicIpAddress"] = interface.public_ip is not None
    return item


def _tag_specifications(session: Session, instance: Instance) -> list[dict[str, Any]]:
    """The user's tags; those of volumes where all have the same, because a template tags them all."""
    volume_ids = [volume.volume_id for volume in instance.volumes]
    interface_ids = [instance.interface.interface_id] if instance.interface is not None else []
    found = tags.tags_of(session, instance.account_id, [instance.instance_id, *volume_ids, *interface_ids])
    by_type = {
        "instance": found[instance.instance_id],
        "network-interface": _shared(found, interface_ids),
        "volume": _shared(found, volume_ids),
    }
    own = {kind: [tag for tag in each if not tags.is_reserved(tag["Key"])] for kind, each in by_type.items()}
    return [{"ResourceType": kind, "Tags": each} for kind, each in own.items() if each]


def _shared(found: Mapping[str, list[tags.ApiTag]], resource_ids: Sequence[str]) -> list[tags.ApiTag]:
    first, *rest = [found[resource_id] for resource_id in resource_ids] or [[]]
    return first if all(each == first for each in rest) else []
