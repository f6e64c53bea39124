"""From RunInstances' parameters to a LaunchRequest: every check EC2 makes before it answers."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from bakehouse.database.models import Subnet
from bakehouse.domain import block_devices, images, instance_types, key_pairs, metadata_options, security_groups, vpcs
from bakehouse.domain.iam.passing import find_specified
from bakehouse.domain.instances import LaunchRequest
from bakehouse.errors import ApiError
from bakehouse.settings import Settings

# EC2's limit, before base64.
MAX_USER_DATA_BYTES = 16 * 1024

# EC2's own, to this day.
DEFAULT_INSTANCE_TYPE = "m1.small"

_INTERFACE_MEMBERS = ("SubnetId", "Groups", "PrivateIpAddress", "AssociatePublicIpAddress", "Description")


def read_launch_request(
    session: Session, account_id: str, request: Mapping[str, Any], settings: Settings
) -> LaunchRequest:
    """Check and resolve RunInstances' parameters; ApiError with EC2's code for whatever is wrong."""
    image = images.get_launchable(session, account_id, _required(request, "ImageId"))
    interface = _interface(request)
    subnet = _subnet(session, account_id, request, interface)
    key = key_pairs.get_key_pair(session, account_id, request["KeyName"]) if "KeyName" in request else None
    public = interface.get("AssociatePublicIpAddress", subnet.map_public_ip_on_launch)
    groups = security_groups.resolve_groups(
        session,
        account_id,
        subnet.vpc_id,
        interface.get("Groups") or request.get("SecurityGroupIds", []),
        request.get("SecurityGroups", []),
    )
    mappings = request.get("BlockDeviceMappings", [])
    return LaunchRequest(
        image=image,
        instance_type=instance_types.get_instance_type(request.get("InstanceType", DEFAULT_INSTANCE_TYPE)),
        subnet=subnet,
        groups=groups,
        volumes=block_devices.plan_volumes(session, account_id, image, mappings),
        public_network=settings.public_network if public else None,
        key_name=key.key_name if key else None,
        public_key=key.public_key if key else None,
        user_data=read_user_data(request.get("UserData")),
        private_ip=interface.get("PrivateIpAddress") or request.get("PrivateIpAddress"),
        client_token=request.get("ClientToken"),
        shutdown_behavior=request.get("InstanceInitiatedShutdownBehavior", "stop"),
        disable_api_termination=request.get("DisableApiTermination", False),
        disable_api_stop=request.get("DisableApiStop", False),
        ebs_optimized=request.get("EbsOptimized", False),
        metadata_options=metadata_options.options_at_launch(
            session, account_id, image, request.get("MetadataOptions", {})
        ),
        interface_description=interface.get("Description", ""),
        profile=find_specified(session, account_id, request.get("IamInstanceProfile")),
    )


def read_user_data(text: str | None) -> bytes | None:
    """Decode base64 user data of at most 16 KiB."""
    if text is None:
        return None
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from error
    if len(data) > MAX_USER_DATA_BYTES:
        raise ApiError("InvalidParameterValue", "User data is limited to 16384 bytes")
    return data


def _required(request: Mapping[str, Any], name: str) -> str:
    if name not in request:
        raise ApiError("MissingParameter", f"The request must contain the parameter {name}")
    return str(request[name])


def _interface(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one network interface specification, or an empty mapping; EC2's conflicts are refused."""
    interfaces = request.get("NetworkInterfaces", [])
    if not interfaces:
        return {}
    if len(interfaces) > 1 or interfaces[0].get("DeviceIndex", 0) != 0:
        raise ApiError("UnsupportedOperation", "An instance has exactly one network interface, at device index 0.")
    for name in ("SubnetId", "SecurityGroupIds", "SecurityGroups", "PrivateIpAddress"):
        if request.get(name):
            raise ApiError(
                "InvalidParameterCombination",
                "Network interfaces and an instance-level subnet ID, security groups or private IP address "
                "may not be specified on the same request",
            )
    interface: Mapping[str, Any] = {name: interfaces[0][name] for name in _INTERFACE_MEMBERS if name in interfaces[0]}
    return interface


def _subnet(session: Session, account_id: str, request: Mapping[str, Any], interface: Mapping[str, Any]) -> Subnet:
    zone = request.get("Placement", {}).get("AvailabilityZone")
    subnet_id = interface.get("SubnetId") or request.get("SubnetId")
    if subnet_id is None:
        return vpcs.default_subnet(session, account_id, zone)
    subnet = vpcs.get_subnet(session, account_id, subnet_id)
    if zone is not None and zone != subnet.availability_zone:
        raise ApiError(
            "InvalidParameterValue",
            f"The availability zone '{zone}' is not that of the subnet '{subnet_id}' ({subnet.availability_zone}).",
        )
    return subnet
