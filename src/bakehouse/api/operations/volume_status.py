"""DescribeVolumeStatus, and the attributes of volumes."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Volume
from bakehouse.domain import volumes
from bakehouse.domain.vpcs import zone_id
from bakehouse.workflows.volume_health import Health, Status, examiner

_IO_ENABLED = {Status.OK: "passed", Status.IMPAIRED: "failed", Status.INSUFFICIENT_DATA: "insufficient-data"}

_STATUS_FILTERS = FilterTable(
    item="VolumeStatuses[]",
    paths={
        "action.code": "Actions[].Code",
        "action.description": "Actions[].Description",
        "action.event-id": "Actions[].EventId",
        "attachment-status.instance-id": "AttachmentStatuses[].InstanceId",
        "attachment-status.io-performance": "AttachmentStatuses[].IoPerformance",
        "availability-zone": "AvailabilityZone",
        "event.description": "Events[].Description",
        "event.event-id": "Events[].EventId",
        "event.event-type": "Events[].EventType",
        "event.not-after": "Events[].NotAfter",
        "event.not-before": "Events[].NotBefore",
        "volume-status.details-name": "VolumeStatus.Details[].Name",
        "volume-status.details-status": "VolumeStatus.Details[].Status",
        "volume-status.status": "VolumeStatus.Status",
    },
)


def _status_item(volume: Volume, health: Health) -> dict[str, Any]:
    # Performance is not measured.
    performance = "not-applicable"
    event = {
        "Description": health.reason,
        "EventId": volume.volume_id.replace("vol-", "evol-"),
        "EventType": "potential-data-inconsistency",
        "InstanceId": volume.instance_id,
    }
    attached = {"InstanceId": volume.instance_id, "IoPerformance": performance}
    return {
        "Actions": [],
        "AttachmentStatuses": [attached] if volume.instance_id else [],
        "AvailabilityZone": volume.availability_zone,
        "AvailabilityZoneId": zone_id(volume.availability_zone),
        "Events": [event] if health.status == Status.IMPAIRED else [],
        "VolumeId": volume.volume_id,
        "VolumeStatus": {
            "Details": [
                {"Name": "io-enabled", "Status": _IO_ENABLED[health.status]},
                {"Name": "io-performance", "Status": performance},
            ],
            "Status": health.status,
        },
    }


@operation(
    "ec2",
    "DescribeVolumeStatus",
    mutates=False,
    honours=("VolumeIds",),
    filters=_STATUS_FILTERS,
    paged=Paged(result="VolumeStatuses", minimum=5, maximum=1000, ids=("VolumeIds",), key="VolumeId"),
)
def describe_volume_status(context: RequestContext, request: Parameters) -> Reply:
    """Tell how volumes are, from what lies on this host."""
    found = volumes.visible(context.session, context.account_id, request.get("VolumeIds", ()))
    examine = examiner(context.host)
    return {"VolumeStatuses": [_status_item(one, examine(one)) for one in found]}


@operation("ec2", "DescribeVolumeAttribute", mutates=False, honours=("Attribute", "VolumeId"))
def describe_volume_attribute(context: RequestContext, request: Parameters) -> Reply:
    """One attribute of a volume."""
    volume = volumes.get(context.session, context.account_id, request["VolumeId"])
    attribute: Reply = {"AutoEnableIO": {"Value": volume.auto_enable_io}}
    if request["Attribute"] == "productCodes":
        attribute = {"ProductCodes": volume.product_codes}
    return {"VolumeId": volume.volume_id, **attribute}


@operation("ec2", "ModifyVolumeAttribute", mutates=True, honours=("AutoEnableIO.Value", "VolumeId"))
def modify_volume_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Set autoEnableIO; I/O is never suspended here, so that it always holds as if it were set."""
    volume = volumes.get(context.session, context.account_id, request["VolumeId"])
    if "Value" not in request.get("AutoEnableIO", {}):
        raise errors.invalid_parameter_combination("No attributes specified.")
    volume.auto_enable_io = request["AutoEnableIO"]["Value"]
    return {}


@operation("ec2", "GetEbsEncryptionByDefault", mutates=False)
def get_ebs_encryption_by_default(_context: RequestContext, _request: Parameters) -> Reply:
    """Nothing is encrypted here."""
    return {"EbsEncryptionByDefault": False}
