"""Describe, Modify and Reset ImageAttribute, CancelImageLaunchPermission.

Attribute names match whatever their case (Ansible's LaunchPermission).
"""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.models import get_operation_model, input_members
from bakehouse.api.operations.images import image_time
from bakehouse.api.operations.permission_forms import PermissionForms
from bakehouse.api.registry import operation
from bakehouse.database.models import Image
from bakehouse.domain import image_sharing, images, product_codes

# The one form of an attribute's name, by its form in lower case.
_WORDS: dict[str, str] = {
    word.lower(): word for word in input_members(get_operation_model("ec2", "DescribeImageAttribute"))["Attribute"].enum
}
# Which attribute a parameter of ModifyImageAttribute is about.
_ATTRIBUTE_OF = {
    "Description": "description",
    "ImdsSupport": "imdsSupport",
    "LaunchPermission": "launchPermission",
    "OrganizationArns": "launchPermission",
    "OrganizationalUnitArns": "launchPermission",
    "ProductCodes": "productCodes",
    "UserGroups": "launchPermission",
    "UserIds": "launchPermission",
}
_PERMISSIONS = PermissionForms(
    nested="LaunchPermission",
    flat={
        "UserIds": "UserId",
        "UserGroups": "Group",
        "OrganizationArns": "OrganizationArn",
        "OrganizationalUnitArns": "OrganizationalUnitArn",
    },
)


@operation("ec2", "DescribeImageAttribute", mutates=False, honours=("ImageId", "Attribute"))
def describe_image_attribute(context: RequestContext, request: Parameters) -> Reply:
    """One attribute of an own image; what has no value here is an empty one."""
    image = images.get_own(context.session, context.account_id, request["ImageId"])
    answers: dict[str, dict[str, Any]] = {
        "blockDeviceMapping": {"BlockDeviceMappings": image.block_device_mappings},
        "bootMode": {"BootMode": {"Value": image.boot_mode}},
        "deregistrationProtection": {"DeregistrationProtection": {"Value": image.deregistration_protection}},
        "description": {"Description": {"Value": image.description}},
        "imdsSupport": {"ImdsSupport": {"Value": image.imds_support}},
        "kernel": {"KernelId": {}},
        "lastLaunchedTime": {"LastLaunchedTime": {"Value": image_time(image.last_launched_at)}},
        "launchPermission": {"LaunchPermissions": image_sharing.permissions(image)},
        "productCodes": {"ProductCodes": image.product_codes},
        "ramdisk": {"RamdiskId": {}},
        "sriovNetSupport": {"SriovNetSupport": {"Value": image.sriov_net_support}},
        # No machine here has a TPM; a capture keeps disks only, no firmware's variables.
        "tpmSupport": {"TpmSupport": {}},
        "uefiData": {"UefiData": {}},
    }
    return {"ImageId": image.image_id, **answers[request["Attribute"]]}


@operation(
    "ec2",
    "ModifyImageAttribute",
    mutates=True,
    honours=(
        "Attribute",
        "Description",
        "ImageId",
        "ImdsSupport",
        "LaunchPermission",
        "OperationType",
        "OrganizationArns",
        "OrganizationalUnitArns",
        "ProductCodes",
        "UserGroups",
        "UserIds",
        "Value",
    ),
    keeps_empty=("Value", "Description.Value", "ImdsSupport.Value"),
    own_codes=("LaunchPermission.Add[].Group", "LaunchPermission.Remove[].Group"),
)
def modify_image_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Change one attribute, in either of EC2's forms or in both at once."""
    image = images.get_own(context.session, context.account_id, request["ImageId"])
    attribute = _named_attribute(request)
    if attribute in {"description", "imdsSupport"}:
        _set_value(image, attribute, request)
    elif "Value" in request:
        raise errors.invalid_parameter_combination(f"Value cannot be used for the attribute {attribute}.")
    elif attribute == "launchPermission":
        image_sharing.change_permissions(context.session, image, **_PERMISSIONS.read(request))
    elif attribute == "productCodes":
        if request.get("OperationType") == "remove":
            raise errors.operation_not_permitted("Product codes cannot be removed from an image.")
        product_codes.add(context.session, image, request.get("ProductCodes", ()))
    else:
        raise errors.unsupported_operation(f"The attribute {attribute} cannot be changed.")
    return {}


def _named_attribute(request: Parameters) -> str:
    """The one attribute that a request is about, by its name or by its parameters."""
    named = {_ATTRIBUTE_OF[member] for member in request.keys() & _ATTRIBUTE_OF.keys()}
    if (word := request.get("Attribute")) is not None:
        if word.lower() not in _WORDS:
            raise errors.invalid_value_for("attribute", word[:100])
        named.add(_WORDS[word.lower()])
    if not named:
        raise errors.missing_parameter("Attribute")
    if len(named) > 1:
        attributes = ", ".join(sorted(named))
        raise errors.invalid_parameter_combination(f"Fields for multiple attribute types specified: {attributes}")
    return named.pop()


def _set_value(image: Image, attribute: str, request: Parameters) -> None:
    member = "Description" if attribute == "description" else "ImdsSupport"
    value = request.get(member, {}).get("Value", request.get("Value"))
    if value is None:
        raise errors.missing_parameter("Value")
    if "OperationType" in request:
        raise errors.invalid_parameter_combination(f"OperationType cannot be used for the attribute {attribute}.")
    if attribute == "description":
        images.check_description(value)
        image.description = value
    elif value == "v2.0":
        image.imds_support = value
    else:
        raise errors.invalid_value_for("imdsSupport", value[:100], "It can be set to v2.0, and never be unset.")


@operation("ec2", "ResetImageAttribute", mutates=True, honours=("ImageId", "Attribute"))
def reset_image_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Make the image private again."""
    image = images.get_own(context.session, context.account_id, request["ImageId"])
    image_sharing.withdraw(image)
    return {}


@operation("ec2", "CancelImageLaunchPermission", mutates=True, honours=("ImageId",))
def cancel_image_launch_permission(context: RequestContext, request: Parameters) -> Reply:
    """Take the caller's account out of an image's launch permissions."""
    # One must be able to leave what one's own settings hide.
    image = images.get_visible(context.session, context.account_id, request["ImageId"], also_not_allowed=True)
    image_sharing.leave(image, context.account_id)
    return {"Return": True}
