"""A launch template's data: what is well formed, what is kept of it, and how a launch overrides it.

Invariant: what is kept is what was given, nothing added and nothing left out; fields are told apart by their names
only, so one that RunInstances learns later works without a word here.
Overriding: EC2 User Guide, "Launch an instance from a launch template" (tags by key and devices by name are added to
those of the template, everything else replaces its namesake).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bakehouse import errors
from bakehouse.domain import launch_request, tags
from bakehouse.ids import Prefix, is_well_formed

Data = Mapping[str, Any]

# The largest that EC2's own limits allow (user data, 50 tags for each of four types) is half of this.
MAX_DATA_BYTES = 256 * 1024
# What an ImageId starts with that is the name of a parameter.
ALIAS_PREFIX = "resolve:ssm:"
_TAGGED_AT_LAUNCH = ("instance", "network-interface", "spot-instances-request", "volume")

# Lists whose elements are known by a member, and what it counts as when it is missing.
_KNOWN_BY: dict[str, tuple[str, Any]] = {
    "BlockDeviceMappings": ("DeviceName", None),
    "NetworkInterfaces": ("DeviceIndex", 0),
    "TagSpecifications": ("ResourceType", None),
    "TagSpecifications[].Tags": ("Key", None),
}
# What the template said goes, beyond its namesake, when a launch says something else.
_DISPLACED_BY: dict[str, dict[str, tuple[str, ...]]] = {
    "": {"SecurityGroupIds": ("SecurityGroups",), "SecurityGroups": ("SecurityGroupIds",)},
    "BlockDeviceMappings[]": {
        "Ebs": ("NoDevice", "VirtualName"),
        "NoDevice": ("Ebs", "VirtualName"),
        "VirtualName": ("Ebs", "NoDevice"),
    },
    # Figures belong to the type they were chosen for.
    "BlockDeviceMappings[].Ebs": {"VolumeType": ("Iops", "Throughput")},
    "IamInstanceProfile": {"Arn": ("Name",), "Name": ("Arn",)},
    # An interface that exists has all of these already.
    "NetworkInterfaces[]": {
        "NetworkInterfaceId": (
            "AssociatePublicIpAddress",
            "Description",
            "Groups",
            "PrivateIpAddress",
            "PrivateIpAddresses",
            "SubnetId",
        )
    },
    "Placement": {"AvailabilityZone": ("AvailabilityZoneId",), "AvailabilityZoneId": ("AvailabilityZone",)},
}
# Two parameters that RunInstances spells in its own way.
_RUN_INSTANCES_NAMES = {"ElasticGpuSpecifications": "ElasticGpuSpecification", "RamDiskId": "RamdiskId"}


def check(data: Data) -> None:
    """Refuse data that is too large or malformed in itself; whether a launch is possible is not asked."""
    if size_of(data) > MAX_DATA_BYTES:
        raise errors.invalid_parameter_value(f"Launch template data is limited to {MAX_DATA_BYTES} bytes.")
    image_id = data.get("ImageId")
    if image_id is not None and not is_alias(image_id) and not is_well_formed(Prefix.IMAGE, image_id):
        raise errors.image_id_malformed(image_id[:64])
    launch_request.read_user_data(data.get("UserData"))
    tags.tags_for(data.get("TagSpecifications"), "instance", allowed=_TAGGED_AT_LAUNCH)


def size_of(data: Data) -> int:
    """How many bytes it takes to keep."""
    return len(json.dumps(kept(data)))


def is_alias(image_id: str) -> bool:
    """Tell whether an ImageId names a parameter that holds the image's id."""
    name = image_id.removeprefix(ALIAS_PREFIX).partition(":")[0]
    return image_id.startswith(ALIAS_PREFIX) and name != ""


def kept(data: Data) -> dict[str, Any]:
    """The data as JSON can hold it; ``given`` is the way back."""
    as_json = json.dumps(data, default=datetime.isoformat)
    loaded: dict[str, Any] = json.loads(as_json)
    return loaded


def given(data: Data) -> dict[str, Any]:
    """The data as it was given; of all its members one is a time."""
    market = data.get("InstanceMarketOptions", {})
    spot = market.get("SpotOptions", {})
    if "ValidUntil" not in spot:
        return dict(data)
    spot = {**spot, "ValidUntil": datetime.fromisoformat(spot["ValidUntil"])}
    return {**data, "InstanceMarketOptions": {**market, "SpotOptions": spot}}


def based_on(source: Data, data: Data) -> dict[str, Any]:
    """The data of a new version: each parameter of ``data`` replaces the source version's.

    Snapshots of devices are not inherited (API Reference, CreateLaunchTemplateVersion).
    """
    inherited = dict(source)
    if "BlockDeviceMappings" in source:
        inherited["BlockDeviceMappings"] = [_without_snapshot(mapping) for mapping in source["BlockDeviceMappings"]]
    return {**inherited, **data}


def _without_snapshot(mapping: Data) -> dict[str, Any]:
    ebs = {name: value for name, value in mapping.get("Ebs", {}).items() if name != "SnapshotId"}
    rest = {name: value for name, value in mapping.items() if name != "Ebs"}
    return {**rest, "Ebs": ebs} if ebs else rest


def as_launch(data: Data) -> dict[str, Any]:
    """The data as parameters of RunInstances, which spells two of them differently."""
    return {_RUN_INSTANCES_NAMES.get(name, name): value for name, value in data.items()}


def override(template: Data, request: Data) -> dict[str, Any]:
    """What a launch with parameters of its own makes of a template's, both in RunInstances' names."""
    return _override_members(template, request, "")


def _override(template: Any, request: Any, path: str) -> Any:
    if isinstance(template, Mapping) and isinstance(request, Mapping):
        return _override_members(template, request, path)
    if isinstance(template, list) and isinstance(request, list) and path in _KNOWN_BY:
        return list(_override_elements(template, request, path))
    return request


def _override_members(template: Data, request: Data, path: str) -> dict[str, Any]:
    displaced = {
        gone
        for name, displaces in _DISPLACED_BY.get(path, {}).items()
        if name in request and request[name] != template.get(name)
        for gone in displaces
    }
    merged = {name: value for name, value in template.items() if name not in displaced}
    for name, value in request.items():
        below = f"{path}.{name}" if path else name
        merged[name] = _override(merged[name], value, below) if name in merged else value
    return merged


def _override_elements(template: Sequence[Data], request: Sequence[Data], path: str) -> Iterator[Any]:
    """The template's elements, each overridden by the first of the request's that is known by the same, and then the
    rest of the request's. What is wrong with either list (an element twice) stays so, to be refused.
    """
    member, default = _KNOWN_BY[path]
    rest = list(request)
    for element in template:
        known_by = element.get(member, default)
        match = next((one for one in rest if one.get(member, default) == known_by), None)
        if match is None:
            yield element
        else:
            rest.remove(match)
            yield _override(element, match, f"{path}[]")
    yield from rest
