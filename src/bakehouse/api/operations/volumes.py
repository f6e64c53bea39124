"""Create, Describe, Delete, Attach and Detach Volume."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Volume
from bakehouse.domain import instances, snapshots, tags, volume_types, volumes
from bakehouse.domain.vpcs import zone_id, zone_names


def attachment_item(volume: Volume) -> dict[str, Any]:
    """The VolumeAttachment shape."""
    return {
        "AttachTime": volume.attached_at,
        "DeleteOnTermination": volume.delete_on_termination,
        "Device": volume.device_name,
        "InstanceId": volume.instance_id,
        "State": volume.attachment_state,
        "VolumeId": volume.volume_id,
    }


def volume_item(volume: Volume, own_tags: list[dict[str, str]]) -> dict[str, Any]:
    """The Volume shape of one row."""
    return {
        "Attachments": [attachment_item(volume)] if volume.instance_id else [],
        "AvailabilityZone": volume.availability_zone,
        "AvailabilityZoneId": zone_id(volume.availability_zone),
        "CreateTime": volume.created_at,
        "Encrypted": False,
        "FastRestored": False,
        "Iops": volume.iops,
        "MultiAttachEnabled": False,
        "Operator": {"Managed": False},
        "Size": volume.size_gib,
        "SnapshotId": volume.snapshot_id or "",
        "State": volume.state,
        "Tags": own_tags,
        "Throughput": volume.throughput_mibps,
        "VolumeId": volume.volume_id,
        "VolumeType": volume.volume_type,
    }


def _enqueue(context: RequestContext, workflow: str, volume: Volume, *arguments: object, key: str) -> None:
    context.host.enqueue(
        context.session,
        workflow,
        volume.volume_id,
        *arguments,
        key=key,
        workflow_id=f"{workflow}-{volume.volume_id}-{instances.new_token()}",
    )


@operation(
    "ec2",
    "CreateVolume",
    mutates=True,
    honours=("AvailabilityZone", "Iops", "Size", "SnapshotId", "TagSpecifications", "Throughput", "VolumeType"),
    harmless={"Encrypted": (False,), "MultiAttachEnabled": (False,)},
)
def create_volume(context: RequestContext, request: Parameters) -> Reply:
    """Write a volume that is being created, blank or of a snapshot."""
    session = context.session
    zone = request.get("AvailabilityZone")
    if zone is None:
        raise errors.missing_parameter("AvailabilityZone")
    if zone not in zone_names(context.region):
        raise errors.invalid_value_for("AvailabilityZone", zone)
    size_gib = request.get("Size")
    if "SnapshotId" in request:
        snapshot = snapshots.get_completed(session, context.account_id, request["SnapshotId"])
        size_gib = snapshot.volume_size_gib if size_gib is None else size_gib
        if size_gib < snapshot.volume_size_gib:
            raise errors.invalid_parameter_value("The volume is smaller than its snapshot.")
    if size_gib is None:
        raise errors.missing_parameter("Size")
    volume_type = request.get("VolumeType", "gp2")
    volume = volumes.create(
        session,
        context.account_id,
        zone=zone,
        size_gib=size_gib,
        snapshot_id=request.get("SnapshotId"),
        volume_type=volume_type,
        performance=volume_types.performance_of(volume_type, size_gib, request.get("Iops"), request.get("Throughput")),
    )
    wanted = tags.tags_for(request.get("TagSpecifications"), "volume")
    tags.put_tags(session, context.account_id, volume.volume_id, "volume", wanted)
    _enqueue(context, "create_volume", volume, key=volume.volume_id)
    return volume_item(volume, wanted)


_VOLUME_FILTERS = FilterTable(
    item="Volumes[]",
    paths={
        "attachment.attach-time": "Attachments[].AttachTime",
        "attachment.delete-on-termination": "Attachments[].DeleteOnTermination",
        "attachment.device": "Attachments[].Device",
        "attachment.instance-id": "Attachments[].InstanceId",
        "attachment.status": "Attachments[].State",
        "availability-zone": "AvailabilityZone",
        "availability-zone-id": "AvailabilityZoneId",
        "create-time": "CreateTime",
        "encrypted": "Encrypted",
        "fast-restored": "FastRestored",
        "multi-attach-enabled": "MultiAttachEnabled",
        "operator.managed": "Operator.Managed",
        "operator.principal": "Operator.Principal",
        "size": "Size",
        "snapshot-id": "SnapshotId",
        "status": "State",
        "volume-id": "VolumeId",
        "volume-type": "VolumeType",
    },
    tags="Tags",
)


@operation(
    "ec2",
    "DescribeVolumes",
    mutates=False,
    honours=("VolumeIds",),
    filters=_VOLUME_FILTERS,
    paged=Paged(result="Volumes", minimum=5, maximum=1000, ids=("VolumeIds",), key="VolumeId"),
)
def describe_volumes(context: RequestContext, request: Parameters) -> Reply:
    """List the account's volumes."""
    found = volumes.visible(context.session, context.account_id, request.get("VolumeIds", ()))
    own_tags = tags.tags_of(context.session, context.account_id, [one.volume_id for one in found])
    return {"Volumes": [volume_item(one, own_tags.get(one.volume_id, [])) for one in found]}


@operation("ec2", "DeleteVolume", mutates=True, honours=("VolumeId",))
def delete_volume(context: RequestContext, request: Parameters) -> Reply:
    """Delete a volume nothing has attached."""
    volume = volumes.get(context.session, context.account_id, request["VolumeId"])
    volumes.begin_delete(volume)
    _enqueue(context, "delete_volume", volume, key=volume.volume_id)
    return {}


@operation("ec2", "AttachVolume", mutates=True, honours=("Device", "InstanceId", "VolumeId"))
def attach_volume(context: RequestContext, request: Parameters) -> Reply:
    """Attach an available volume; a running guest sees it at once."""
    volume = volumes.get(context.session, context.account_id, request["VolumeId"])
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    volumes.attach(volume, instance, request["Device"])
    _enqueue(context, "attach_volume", volume, key=instance.instance_id)
    return attachment_item(volume)


@operation("ec2", "DetachVolume", mutates=True, honours=("Device", "Force", "InstanceId", "VolumeId"))
def detach_volume(context: RequestContext, request: Parameters) -> Reply:
    """Detach a volume from its instance."""
    volume = volumes.get(context.session, context.account_id, request["VolumeId"])
    if "InstanceId" in request:
        instances.get(context.session, context.account_id, request["InstanceId"])
    wanted = request.get("InstanceId", volume.instance_id)
    if volume.instance_id is None or volume.attachment_state != "attached":
        raise errors.incorrect_state(f"Volume '{volume.volume_id}' is in the '{volume.state}' state.")
    if wanted != volume.instance_id or request.get("Device", volume.device_name) != volume.device_name:
        raise errors.attachment_not_found(f"The volume '{volume.volume_id}' is not attached there.")
    instance = instances.get(context.session, context.account_id, volume.instance_id)
    volumes.begin_detach(volume, instance)
    _enqueue(context, "detach_volume", volume, request.get("Force", False), key=instance.instance_id)
    return attachment_item(volume)
