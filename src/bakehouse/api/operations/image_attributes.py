"""Describe, Modify and Reset ImageAttribute. Attribute names match whatever their case (Ansible's LaunchPermission)."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.images import image_time
from bakehouse.api.registry import operation
from bakehouse.database.models import Image
from bakehouse.domain import image_lifecycle, images


def _permissions(image: Image) -> list[dict[str, str]]:
    public = [{"Group": "all"}] if image.is_public else []
    return public + [{"UserId": one.user_id} for one in image.launch_permissions]


@operation("ec2", "DescribeImageAttribute", mutates=False, honours=("ImageId", "Attribute"))
def describe_image_attribute(context: RequestContext, request: Parameters) -> Reply:
    """One attribute of an own image."""
    image = images.get_own(context.session, context.account_id, request["ImageId"])
    answers: dict[str, dict[str, Any]] = {
        "blockdevicemapping": {"BlockDeviceMappings": image.block_device_mappings},
        "bootmode": {"BootMode": {"Value": image.boot_mode}},
        "deregistrationprotection": {"DeregistrationProtection": {"Value": image.deregistration_protection}},
        "description": {"Description": {"Value": image.description}},
        "imdssupport": {"ImdsSupport": {"Value": image.imds_support}},
        "kernel": {"KernelId": {}},
        "lastlaunchedtime": {"LastLaunchedTime": {"Value": image_time(image.last_launched_at)}},
        "launchpermission": {"LaunchPermissions": _permissions(image)},
        "productcodes": {"ProductCodes": []},
        "ramdisk": {"RamdiskId": {}},
        "sriovnetsupport": {"SriovNetSupport": {}},
        "tpmsupport": {"TpmSupport": {}},
    }
    answer = answers.get(request["Attribute"].lower())
    if answer is None:
        raise errors.unsupported_operation(f"The attribute {request['Attribute']} is not supported.")
    return {"ImageId": image.image_id, **answer}


@operation(
    "ec2",
    "ModifyImageAttribute",
    mutates=True,
    honours=(
        "Attribute",
        "Description",
        "ImageId",
        "LaunchPermission.Add[].Group",
        "LaunchPermission.Add[].UserId",
        "LaunchPermission.Remove[].Group",
        "LaunchPermission.Remove[].UserId",
        "OperationType",
        "UserGroups",
        "UserIds",
        "Value",
    ),
    keeps_empty=("Value", "Description.Value"),
    own_codes=("LaunchPermission.Add[].Group", "LaunchPermission.Remove[].Group"),
)
def modify_image_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Change the description or who may launch the image, in either of EC2's forms or both at once."""
    image = images.get_own(context.session, context.account_id, request["ImageId"])
    attribute = request.get("Attribute", "").lower()
    if attribute not in {"", "description", "launchpermission"}:
        raise errors.unsupported_operation(f"The attribute {request['Attribute']} cannot be changed.")
    text = request.get("Description", {}).get("Value")
    if attribute == "description":
        text = request.get("Value", text)
    if text is not None:
        images.check_description(text)
        image.description = text
    change = _permission_change(request)
    if change["add"]:
        image_lifecycle.check_shareable(image)
    if change["add"] or change["remove"]:
        images.change_launch_permissions(image, **change)
    elif text is None:
        raise errors.missing_parameter("Attribute")
    return {}


def _permission_change(request: Parameters) -> dict[str, list[dict[str, str]]]:
    both = request.get("LaunchPermission", {})
    change = {"add": list(both.get("Add", ())), "remove": list(both.get("Remove", ()))}
    flat = [{"UserId": one} for one in request.get("UserIds", ())]
    flat += [{"Group": one} for one in request.get("UserGroups", ())]
    # Packer sends both forms of the same change.
    kind = request.get("OperationType")
    if flat and kind is None:
        if not (change["add"] or change["remove"]):
            raise errors.missing_parameter("OperationType")
        return change
    if flat and kind is not None:
        change[kind] += [one for one in flat if one not in change[kind]]
    return change


@operation("ec2", "ResetImageAttribute", mutates=True, honours=("ImageId", "Attribute"))
def reset_image_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Make the image private again."""
    image = images.get_own(context.session, context.account_id, request["ImageId"])
    if request["Attribute"].lower() != "launchpermission":
        raise errors.invalid_value_for("attribute", request["Attribute"])
    image.launch_permissions.clear()
    image.is_public = False
    return {}
