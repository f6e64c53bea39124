"""CreateSnapshot, CreateSnapshots, DescribeSnapshots, DeleteSnapshot."""

from typing import Any

from bakehouse.api.authorization import authorize_copied_tags
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Snapshot
from bakehouse.domain import accounts, instances, replace_root_volume_tasks, snapshots, tags, volumes


def snapshot_item(snapshot: Snapshot, own_tags: list[dict[str, str]], owner_alias: str | None = None) -> dict[str, Any]:
    """The Snapshot shape of one row; also what CreateSnapshot answers."""
    return {
        "CompletionTime": snapshot.completed_at,
        "Description": snapshot.description,
        "Encrypted": False,
        "OwnerAlias": owner_alias,
        "OwnerId": snapshot.account_id,
        "Progress": f"{snapshot.progress_percent}%",
        "SnapshotId": snapshot.snapshot_id,
        "StartTime": snapshot.started_at,
        "State": snapshot.state,
        "StateMessage": snapshot.state_message,
        "StorageTier": "standard",
        "Tags": own_tags,
        "TransferType": "standard",
        # EC2's arbitrary id for a snapshot that was made of no volume.
        "VolumeId": snapshot.volume_id or "vol-ffffffff",
        "VolumeSize": snapshot.volume_size_gib,
    }


# The members of the SnapshotInfo shape.
_INFO = {
    "Description",
    "Encrypted",
    "OwnerId",
    "Progress",
    "SnapshotId",
    "StartTime",
    "State",
    "Tags",
    "VolumeId",
    "VolumeSize",
}


@operation("ec2", "CreateSnapshot", mutates=True, honours=("VolumeId", "Description", "TagSpecifications"))
def create_snapshot(context: RequestContext, request: Parameters) -> Reply:
    """Write a pending snapshot; its reading runs after the answer."""
    session = context.session
    volume = volumes.get(session, context.account_id, request["VolumeId"])
    volumes.check_capturable(session, volume)
    snapshot = snapshots.create(session, context.account_id, volume, request.get("Description", ""))
    wanted = tags.tags_for(request.get("TagSpecifications"), "snapshot")
    tags.put_tags(session, context.account_id, snapshot.snapshot_id, "snapshot", wanted)
    context.host.enqueue(
        session,
        "capture_snapshot",
        snapshot.snapshot_id,
        key=f"capture-{volume.instance_id or volume.volume_id}",
        workflow_id=f"capture_snapshot-{snapshot.snapshot_id}",
    )
    return snapshot_item(snapshot, wanted)


@operation(
    "ec2",
    "CreateSnapshots",
    mutates=True,
    honours=("CopyTagsFromSource", "Description", "InstanceSpecification", "TagSpecifications"),
)
def create_snapshots(context: RequestContext, request: Parameters) -> Reply:
    """Write pending snapshots of an instance's volumes; one instant of all of them is read after the answer."""
    session = context.session
    specification = request["InstanceSpecification"]
    instance = instances.get(session, context.account_id, specification["InstanceId"])
    replace_root_volume_tasks.refuse_while_under_way(session, instance)
    chosen = volumes.chosen_of(
        session,
        instance,
        without_root=specification.get("ExcludeBootVolume", False),
        without=specification.get("ExcludeDataVolumeIds", ()),
    )
    taken = snapshots.create_set(session, instance, chosen, request.get("Description", ""))
    wanted = tags.tags_for(request.get("TagSpecifications"), "snapshot")
    copied = tags.user_tags_of(session, context.account_id, [volume.volume_id for volume in chosen])
    items = []
    for snapshot, volume in zip(taken, chosen, strict=True):
        source_tags = copied[volume.volume_id] if "CopyTagsFromSource" in request else []
        authorize_copied_tags(context, "CreateSnapshots", "snapshot", source_tags)
        given = {tag["Key"]: tag for tag in source_tags}
        own_tags = list({**given, **{tag["Key"]: tag for tag in wanted}}.values())
        tags.put_tags(session, context.account_id, snapshot.snapshot_id, "snapshot", own_tags)
        items.append({name: value for name, value in snapshot_item(snapshot, own_tags).items() if name in _INFO})
    context.host.enqueue(
        session,
        "capture_snapshot",
        taken[0].snapshot_id,
        key=f"capture-{instance.instance_id}",
        workflow_id=f"capture_snapshot-{taken[0].snapshot_id}",
    )
    return {"Snapshots": items}


_SNAPSHOT_FILTERS = FilterTable(
    item="Snapshots[]",
    paths={
        "description": "Description",
        "encrypted": "Encrypted",
        "owner-alias": "OwnerAlias",
        "owner-id": "OwnerId",
        "progress": "Progress",
        "snapshot-id": "SnapshotId",
        "start-time": "StartTime",
        "status": "State",
        "storage-tier": "StorageTier",
        "transfer-type": "TransferType",
        "volume-id": "VolumeId",
        "volume-size": "VolumeSize",
    },
    tags="Tags",
)


@operation(
    "ec2",
    "DescribeSnapshots",
    mutates=False,
    honours=("SnapshotIds", "OwnerIds", "RestorableByUserIds"),
    filters=_SNAPSHOT_FILTERS,
    paged=Paged(result="Snapshots", minimum=5, maximum=1000, ids=("SnapshotIds",), key="SnapshotId", clamps=True),
)
def describe_snapshots(context: RequestContext, request: Parameters) -> Reply:
    """List the snapshots the account may read."""
    session, account_id = context.session, context.account_id
    found = snapshots.visible(
        session,
        account_id,
        request.get("SnapshotIds", ()),
        owners=request.get("OwnerIds", ()),
        restorable_by=request.get("RestorableByUserIds", ()),
    )
    own_tags = tags.tags_of(session, account_id, [one.snapshot_id for one in found])
    aliases = accounts.owner_aliases(session)
    return {
        "Snapshots": [
            snapshot_item(one, own_tags.get(one.snapshot_id, []), aliases.get(one.account_id)) for one in found
        ]
    }


@operation("ec2", "DeleteSnapshot", mutates=True, honours=("SnapshotId",))
def delete_snapshot(context: RequestContext, request: Parameters) -> Reply:
    """Delete a snapshot no image needs; its blocks go with the next collection."""
    snapshots.delete(context.session, context.account_id, request["SnapshotId"])
    return {}
