"""DescribeInstanceStatus, GetConsoleOutput, GetConsoleScreenshot, GetPasswordData: what the machine itself says."""

import base64
import io
from collections.abc import Callable

from PIL import Image as Picture

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.instance_items import state_item
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Instance, Volume, now
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.domain.vpcs import zone_id
from bakehouse.errors import ApiError, PartError
from bakehouse.workflows.volume_health import Health, Status, examiner

# EC2 keeps the last 64 KiB of console output.
_CONSOLE_BYTES = 64 * 1024

_STATUS_FILTERS = FilterTable(
    item="InstanceStatuses[]",
    paths={
        "application-status.status": "ApplicationStatus.Status",
        "attached-ebs-status.status": "AttachedEbsStatus.Status",
        "availability-zone": "AvailabilityZone",
        "availability-zone-id": "AvailabilityZoneId",
        "event.code": "Events[].Code",
        "event.description": "Events[].Description",
        "event.instance-event-id": "Events[].InstanceEventId",
        "event.not-after": "Events[].NotAfter",
        "event.not-before": "Events[].NotBefore",
        "event.not-before-deadline": "Events[].NotBeforeDeadline",
        "instance-state-code": "InstanceState.Code",
        "instance-state-name": "InstanceState.Name",
        "instance-status.reachability": "InstanceStatus.Details[].Status",
        "instance-status.status": "InstanceStatus.Status",
        "operator.managed": "Operator.Managed",
        "operator.principal": "Operator.Principal",
        "system-status.reachability": "SystemStatus.Details[].Status",
        "system-status.status": "SystemStatus.Status",
    },
)


def _summary(status: str, detail: str) -> dict[str, object]:
    return {"Status": status, "Details": [{"Name": "reachability", "Status": detail}]}


def _guest_summary(instance: Instance) -> dict[str, object]:
    if instance.unreachable_since is not None:
        failed = {"Name": "reachability", "Status": "failed", "ImpairedSince": instance.unreachable_since}
        return {"Status": "impaired", "Details": [failed]}
    reached = instance.reachable_at is not None
    return _summary("ok", "passed") if reached else _summary("initializing", "initializing")


_OF_VOLUMES = {Status.OK: ("ok", "passed"), Status.IMPAIRED: ("impaired", "failed")}


def _volumes_summary(instance: Instance, examine: Callable[[Volume], Health]) -> dict[str, object]:
    statuses = {examine(volume).status for volume in instance.volumes}
    worst = next((one for one in (Status.IMPAIRED, Status.INSUFFICIENT_DATA) if one in statuses), Status.OK)
    return _summary(*_OF_VOLUMES.get(worst, ("insufficient-data", "insufficient-data")))


def _status_item(instance: Instance, examine: Callable[[Volume], Health]) -> dict[str, object]:
    if instance.state != State.RUNNING:
        guest = system = attached = {**_summary("not-applicable", ""), "Details": []}
    else:
        # The host's part is up as soon as the machine runs; the guest's when it was seen to answer.
        system = _summary("ok", "passed")
        guest = _guest_summary(instance)
        attached = _volumes_summary(instance, examine)
    return {
        "AttachedEbsStatus": attached,
        "AvailabilityZone": instance.availability_zone,
        "AvailabilityZoneId": zone_id(instance.availability_zone),
        "InstanceId": instance.instance_id,
        "InstanceState": state_item(instance.state),
        "InstanceStatus": guest,
        "Operator": {"Managed": False},
        "SystemStatus": system,
    }


@operation(
    "ec2",
    "DescribeInstanceStatus",
    mutates=False,
    honours=("InstanceIds", "IncludeAllInstances"),
    filters=_STATUS_FILTERS,
    paged=Paged(result="InstanceStatuses", minimum=5, maximum=1000, ids=("InstanceIds",), key="InstanceId"),
)
def describe_instance_status(context: RequestContext, request: Parameters) -> Reply:
    """Tell how instances are; without IncludeAllInstances only running ones."""
    found = instances.visible(context.session, context.account_id, request.get("InstanceIds", ()))
    if not request.get("IncludeAllInstances"):
        found = [one for one in found if one.state == State.RUNNING]
    examine = examiner(context.host)
    return {"InstanceStatuses": [_status_item(one, examine) for one in found]}


@operation("ec2", "GetConsoleOutput", mutates=False, honours=("InstanceId", "Latest"))
def get_console_output(context: RequestContext, request: Parameters) -> Reply:
    """The real serial log's last 64 KiB, base64."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    log = context.host.settings.state.instance(instance.instance_id).serial_log
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _CONSOLE_BYTES))
            text = file.read(_CONSOLE_BYTES)
    except FileNotFoundError:
        text = b""
    return {
        "InstanceId": instance.instance_id,
        "Output": base64.b64encode(text).decode(),
        "Timestamp": now(),
    }


@operation("ec2", "GetConsoleScreenshot", mutates=False, honours=("InstanceId",), harmless={"WakeUp": (False, True)})
def get_console_screenshot(context: RequestContext, request: Parameters) -> Reply:
    """The real screen as a JPEG, base64."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    machine = context.host.machines.find(instance.instance_id) if instance.state == State.RUNNING else None
    if machine is None:
        raise ApiError(
            "IncorrectInstanceState",
            f"The instance '{instance.instance_id}' must be running for a screenshot.",
        )
    try:
        screen = machine.screenshot()
    except PartError as error:
        raise ApiError("Unavailable", "The screen cannot be read at this moment; try again.") from error
    jpeg = io.BytesIO()
    Picture.open(io.BytesIO(screen), formats=["PNG"]).convert("RGB").save(jpeg, "JPEG")
    return {"InstanceId": instance.instance_id, "ImageData": base64.b64encode(jpeg.getvalue()).decode()}


@operation("ec2", "GetPasswordData", mutates=False, honours=("InstanceId",))
def get_password_data(context: RequestContext, request: Parameters) -> Reply:
    """The password that Windows makes up at its first boot; other systems make none, and their data stay empty."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    return {"InstanceId": instance.instance_id, "PasswordData": "", "Timestamp": instance.launched_at}
