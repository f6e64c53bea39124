"""Describe, Modify and Reset InstanceAttribute, and UnmonitorInstances."""

import base64
from collections.abc import Callable
from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.instance_items import block_device_item, group_items
from bakehouse.api.operations.vpc_network import apply_network
from bakehouse.api.registry import operation
from bakehouse.database.models import Instance
from bakehouse.domain import instance_types, instances, launch_request, network_interfaces, security_groups
from bakehouse.domain.instances import State
from bakehouse.errors import ApiError


def _groups(context: RequestContext, instance: Instance) -> list[dict[str, str]]:
    names = security_groups.names(context.session, context.account_id)
    return group_items(instance.interface, names) if instance.interface else []


_READERS: dict[str, Callable[[RequestContext, Instance], dict[str, Any]]] = {
    "blockDeviceMapping": lambda _context, one: {
        "BlockDeviceMappings": [block_device_item(volume) for volume in one.volumes]
    },
    "disableApiStop": lambda _context, one: {"DisableApiStop": {"Value": one.disable_api_stop}},
    "disableApiTermination": lambda _context, one: {"DisableApiTermination": {"Value": one.disable_api_termination}},
    "ebsOptimized": lambda _context, one: {"EbsOptimized": {"Value": one.ebs_optimized}},
    "enaSupport": lambda _context, _one: {"EnaSupport": {"Value": True}},
    "enclaveOptions": lambda _context, _one: {"EnclaveOptions": {"Enabled": False}},
    "groupSet": lambda context, one: {"Groups": _groups(context, one)},
    "instanceInitiatedShutdownBehavior": lambda _context, one: {
        "InstanceInitiatedShutdownBehavior": {"Value": one.shutdown_behavior}
    },
    "instanceType": lambda _context, one: {"InstanceType": {"Value": one.instance_type}},
    "kernel": lambda _context, _one: {"KernelId": {}},
    "productCodes": lambda _context, one: {"ProductCodes": one.product_codes},
    "ramdisk": lambda _context, _one: {"RamdiskId": {}},
    "rootDeviceName": lambda _context, one: {"RootDeviceName": {"Value": one.root_device_name}},
    "sourceDestCheck": lambda _context, one: {"SourceDestCheck": {"Value": one.source_dest_check}},
    "sriovNetSupport": lambda _context, _one: {"SriovNetSupport": {}},
    "userData": lambda _context, one: {
        "UserData": {"Value": base64.b64encode(one.user_data).decode()} if one.user_data else {}
    },
}


@operation("ec2", "DescribeInstanceAttribute", mutates=False, honours=("InstanceId", "Attribute"))
def describe_instance_attribute(context: RequestContext, request: Parameters) -> Reply:
    """One attribute of one instance."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    reader = _READERS.get(request["Attribute"])
    if reader is None:
        raise ApiError("InvalidParameterValue", f"Unknown attribute '{request['Attribute']}'.")
    return {"InstanceId": instance.instance_id, **reader(context, instance)}


def _must_be_stopped(instance: Instance, attribute: str) -> None:
    if instance.state != State.STOPPED:
        raise ApiError(
            "IncorrectInstanceState",
            f"The instance '{instance.instance_id}' is not in the 'stopped' state: its {attribute} cannot be changed.",
        )


def _set_type(context: RequestContext, instance: Instance, value: str) -> None:
    del context
    _must_be_stopped(instance, "instanceType")
    instance.instance_type = instance_types.get_instance_type(value).name


def _set_user_data(context: RequestContext, instance: Instance, value: bytes | str) -> None:
    del context
    _must_be_stopped(instance, "userData")
    # The model calls the value a blob, so botocore's base64 is already gone; the attribute form keeps it.
    text = value if isinstance(value, str) else base64.b64encode(value).decode()
    instance.user_data = launch_request.read_user_data(text) if text else None


def _set_shutdown_behavior(context: RequestContext, instance: Instance, value: str) -> None:
    del context
    if value not in {"stop", "terminate"}:
        raise ApiError(
            "InvalidParameterValue",
            f"Invalid value '{value}' for InstanceInitiatedShutdownBehavior: it is stop or terminate.",
        )
    instance.shutdown_behavior = value


def _set_source_dest_check(context: RequestContext, instance: Instance, value: bool) -> None:
    del context, instance
    if not value:
        raise errors.unsupported_operation("Every interface checks source and destination; this cannot be disabled.")


def _set_groups(context: RequestContext, instance: Instance, group_ids: list[str]) -> None:
    if instance.interface is None:
        raise ApiError("IncorrectInstanceState", f"The instance '{instance.instance_id}' is terminated.")
    network_interfaces.set_groups(context.session, instance.interface, group_ids)
    apply_network(context, instance.vpc_id)


def _setter(column: str) -> Callable[[RequestContext, Instance, Any], None]:
    def set_column(context: RequestContext, instance: Instance, value: Any) -> None:
        del context
        setattr(instance, column, value)

    return set_column


def _set_block_devices(context: RequestContext, instance: Instance, mappings: list[dict[str, Any]]) -> None:
    del context
    by_device = {volume.device_name: volume for volume in instance.volumes}
    for mapping in mappings:
        volume = by_device.get(mapping.get("DeviceName"))
        if volume is None:
            raise ApiError(
                "InvalidInstanceAttributeValue",
                f"No device is currently mapped at {mapping.get('DeviceName')}",
            )
        volume.delete_on_termination = mapping.get("Ebs", {}).get("DeleteOnTermination", volume.delete_on_termination)


# Request member, attribute name in the one-value form, how it is set.
_WRITERS: dict[str, tuple[str, Callable[[RequestContext, Instance, Any], None]]] = {
    "DisableApiStop": ("disableApiStop", _setter("disable_api_stop")),
    "DisableApiTermination": ("disableApiTermination", _setter("disable_api_termination")),
    "EbsOptimized": ("ebsOptimized", _setter("ebs_optimized")),
    "InstanceInitiatedShutdownBehavior": ("instanceInitiatedShutdownBehavior", _set_shutdown_behavior),
    "InstanceType": ("instanceType", _set_type),
    "SourceDestCheck": ("sourceDestCheck", _set_source_dest_check),
    "UserData": ("userData", _set_user_data),
}
_BOOLEANS = {"DisableApiStop", "DisableApiTermination", "EbsOptimized", "SourceDestCheck"}


@operation(
    "ec2",
    "ModifyInstanceAttribute",
    mutates=True,
    honours=(
        "Attribute",
        "BlockDeviceMappings[].DeviceName",
        "BlockDeviceMappings[].Ebs.DeleteOnTermination",
        "DisableApiStop",
        "DisableApiTermination",
        "EbsOptimized",
        "Groups",
        "InstanceId",
        "InstanceInitiatedShutdownBehavior",
        "InstanceType",
        "SourceDestCheck",
        "UserData",
        "Value",
    ),
    harmless={"EnaSupport.Value": (True,)},
    keeps_empty=("UserData.Value", "Value"),
)
def modify_instance_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Change attributes, in either of EC2's two forms (a member each, or Attribute and Value)."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    changes = {name: request[name].get("Value") for name in _WRITERS if name in request}
    if "Attribute" in request:
        changes |= _one_value_change(request["Attribute"], request.get("Value"))
    if not changes and not request.get("Groups") and not request.get("BlockDeviceMappings"):
        raise ApiError("MissingParameter", "The request must contain an attribute to change.")
    for name, value in changes.items():
        _WRITERS[name][1](context, instance, value)
    if request.get("Groups"):
        _set_groups(context, instance, request["Groups"])
    if request.get("BlockDeviceMappings"):
        _set_block_devices(context, instance, request["BlockDeviceMappings"])
    return {}


def _one_value_change(attribute: str, value: str | None) -> dict[str, Any]:
    for name, (attribute_name, _) in _WRITERS.items():
        if attribute_name == attribute and value is not None:
            if name not in _BOOLEANS:
                return {name: value}
            if value.lower() in {"true", "false"}:
                return {name: value.lower() == "true"}
            raise ApiError("InvalidParameterValue", f"Value '{value}' is invalid for {attribute}: true or false.")
    raise ApiError("InvalidParameterCombination", f"The attribute '{attribute}' cannot be changed this way.")


@operation("ec2", "ResetInstanceAttribute", mutates=True, honours=("Attribute", "InstanceId"))
def reset_instance_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Make an attribute what it was at first; of those EC2 resets only one exists here, and it never changes."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    if request["Attribute"] in ("kernel", "ramdisk"):
        raise errors.unsupported_operation(
            f"The instance '{instance.instance_id}' boots from its own disk; it has no {request['Attribute']}."
        )
    if request["Attribute"] != "sourceDestCheck":
        raise errors.invalid_parameter_combination(f"The attribute '{request['Attribute']}' cannot be reset.")
    return {}


@operation("ec2", "UnmonitorInstances", mutates=True, honours=("InstanceIds",))
def unmonitor_instances(context: RequestContext, request: Parameters) -> Reply:
    """Nothing is measured here more often than it ever was, so this is so already."""
    found = instances.visible(context.session, context.account_id, request["InstanceIds"])
    return {
        "InstanceMonitorings": [
            {"InstanceId": one.instance_id, "Monitoring": {"State": one.monitoring}} for one in found
        ]
    }
