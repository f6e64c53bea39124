"""DescribeInstanceStatus, GetConsoleOutput, GetConsoleScreenshot, GetPasswordData: what the machine itself says."""

import base64
import io

from PIL import Image as Picture

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.instance_items import state_item
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Instance, now
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.errors import ApiError, PartError

# EC2 keeps the last 64 KiB of console output.
_CONSOLE_BYTES = 64 * 1024

_STATUS_FILTERS = FilterTable(
    item="InstanceStatuses[]",
    paths={
        "availability-zone": "AvailabilityZone",
        "instance-state-code": "InstanceState.Code",
        "instance-state-name": "InstanceState.Name",
        "instance-status.reachability": "InstanceStatus.Details[].Status",
        "instance-status.status": "InstanceStatus.Status",
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


def _status_item(instance: Instance) -> dict[str, object]:
    if instance.state != State.RUNNING:
        guest = system = _summary("not-applicable", "not-applicable")
        for summary in (guest, system):
            summary["Details"] = []
    else:
        # The host's part is up as soon as the machine runs; the guest's when it was seen to answer.
        system = _summary("ok", "passed")
        guest = _guest_summary(instance)
    return {
        "AvailabilityZone": instance.availability_zone,
        "InstanceId": instance.instance_id,
        "InstanceState": state_item(instance.state),
        "InstanceStatus": guest,
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
    return {"InstanceStatuses": [_status_item(one) for one in found]}


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
