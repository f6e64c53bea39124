"""ModifyVolume, DescribeVolumesModifications."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import VolumeModification
from bakehouse.domain import instances, volume_modifications, volumes

_CHANGES = ("Iops", "Size", "Throughput", "VolumeType")


def _modification_item(modification: VolumeModification) -> dict[str, Any]:
    """The VolumeModification shape of one row."""
    return {
        "EndTime": modification.ended_at,
        "ModificationState": modification.state,
        "OriginalIops": modification.original_iops,
        "OriginalMultiAttachEnabled": False,
        "OriginalSize": modification.original_size_gib,
        "OriginalThroughput": modification.original_throughput_mibps,
        "OriginalVolumeType": modification.original_type,
        "Progress": modification.progress_percent,
        "StartTime": modification.started_at,
        "StatusMessage": modification.status_message,
        "TargetIops": modification.target_iops,
        "TargetMultiAttachEnabled": False,
        "TargetSize": modification.target_size_gib,
        "TargetThroughput": modification.target_throughput_mibps,
        "TargetVolumeType": modification.target_type,
        "VolumeId": modification.volume_id,
    }


@operation(
    "ec2", "ModifyVolume", mutates=True, honours=("VolumeId", *_CHANGES), harmless={"MultiAttachEnabled": (False,)}
)
def modify_volume(context: RequestContext, request: Parameters) -> Reply:
    """Begin to change a volume; a running guest sees its disk grow."""
    volume = volumes.get(context.session, context.account_id, request["VolumeId"])
    if not any(name in request for name in _CHANGES):
        raise errors.missing_parameter("size, volumeType, iops or throughput")
    modification = volume_modifications.begin(
        context.session,
        volume,
        size_gib=request.get("Size"),
        volume_type=request.get("VolumeType"),
        iops=request.get("Iops"),
        throughput_mibps=request.get("Throughput"),
    )
    context.host.enqueue(
        context.session,
        "modify_volume",
        volume.volume_id,
        key=volume.instance_id or volume.volume_id,
        workflow_id=f"modify_volume-{volume.volume_id}-{instances.new_token()}",
    )
    return {"VolumeModification": _modification_item(modification)}


_MODIFICATION_FILTERS = FilterTable(
    item="VolumesModifications[]",
    paths={
        "modification-state": "ModificationState",
        "original-iops": "OriginalIops",
        "original-size": "OriginalSize",
        "original-volume-type": "OriginalVolumeType",
        "originalMultiAttachEnabled": "OriginalMultiAttachEnabled",
        "start-time": "StartTime",
        "target-iops": "TargetIops",
        "target-size": "TargetSize",
        "target-volume-type": "TargetVolumeType",
        "targetMultiAttachEnabled": "TargetMultiAttachEnabled",
        "volume-id": "VolumeId",
    },
)


@operation(
    "ec2",
    "DescribeVolumesModifications",
    mutates=False,
    honours=("VolumeIds",),
    filters=_MODIFICATION_FILTERS,
    paged=Paged(result="VolumesModifications", minimum=1, maximum=500, ids=("VolumeIds",), key="VolumeId"),
)
def describe_volumes_modifications(context: RequestContext, request: Parameters) -> Reply:
    """List the newest modification of each volume."""
    found = volume_modifications.visible(context.session, context.account_id, request.get("VolumeIds", ()))
    return {"VolumesModifications": [_modification_item(one) for one in found]}
