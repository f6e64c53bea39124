"""Elastic addresses: Allocate, Associate, Disassociate, Release and Describe."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.vpc_network import apply_network
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import ElasticAddress, NetworkInterface
from bakehouse.domain import elastic_addresses, instances, network_interfaces, tags
from bakehouse.errors import addresses as address_errors

# What EC2 calls its own addresses.
_POOL = "amazon"


def _check_border_group(context: RequestContext, request: Parameters) -> None:
    group = request.get("NetworkBorderGroup", context.region)
    if group != context.region:
        raise errors.invalid_value_for("NetworkBorderGroup", group[:64], f"It is {context.region} here.")


@operation(
    "ec2",
    "AllocateAddress",
    mutates=True,
    honours=("NetworkBorderGroup", "TagSpecifications"),
    harmless={"Domain": ("vpc",), "PublicIpv4Pool": (_POOL,)},
)
def allocate_address(context: RequestContext, request: Parameters) -> Reply:
    """Allocate an address of the public network."""
    _check_border_group(context, request)
    wanted = tags.tags_for(request.get("TagSpecifications"), "elastic-ip")
    network = context.host.settings.public_network
    address = elastic_addresses.allocate(context.session, context.account_id, network)
    tags.put_tags(context.session, context.account_id, address.allocation_id, "elastic-ip", wanted)
    return {
        "AllocationId": address.allocation_id,
        "Domain": "vpc",
        "NetworkBorderGroup": context.region,
        "PublicIp": address.public_ip,
        "PublicIpv4Pool": _POOL,
    }


@operation(
    "ec2",
    "AssociateAddress",
    mutates=True,
    honours=(
        "AllocationId",
        "AllowReassociation",
        "InstanceId",
        "NetworkInterfaceId",
        "PrivateIpAddress",
        "PublicIp",
    ),
)
def associate_address(context: RequestContext, request: Parameters) -> Reply:
    """Lead an address to an instance; it answers there as soon as the VPC's network has followed."""
    address = elastic_addresses.get(
        context.session,
        context.account_id,
        allocation_id=request.get("AllocationId"),
        public_ip=request.get("PublicIp"),
    )
    interface = _target(context, request)
    private_ip = request.get("PrivateIpAddress", interface.private_ip)
    if private_ip != interface.private_ip:
        raise errors.invalid_parameter_value(
            f"The private IP address {private_ip[:64]} is not assigned to interface {interface.interface_id}"
        )
    changed = elastic_addresses.associate(
        context.session,
        address,
        interface,
        context.host.settings.public_network,
        may_reassociate=request.get("AllowReassociation", True),
    )
    apply_network(context, *changed)
    return {"AssociationId": address.association_id}


def _target(context: RequestContext, request: Parameters) -> NetworkInterface:
    """The interface that is named, by its own id or its instance's."""
    if "InstanceId" in request and "NetworkInterfaceId" in request:
        raise errors.invalid_parameter_combination("Name an instance or a network interface, not both.")
    if "NetworkInterfaceId" in request:
        return network_interfaces.get(context.session, context.account_id, request["NetworkInterfaceId"])
    if "InstanceId" not in request:
        raise errors.missing_parameter("InstanceId")
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    if instance.interface is None:
        raise address_errors.not_ready_for_address(instance.instance_id, instance.state)
    return instance.interface


@operation("ec2", "DisassociateAddress", mutates=True, honours=("AssociationId", "PublicIp"))
def disassociate_address(context: RequestContext, request: Parameters) -> Reply:
    """Let an address lead nowhere; a running instance is given an automatic one instead, if it asks for one."""
    if "AssociationId" in request and "PublicIp" in request:
        raise errors.invalid_parameter_combination("Name an association ID or a public IP, not both.")
    if "AssociationId" in request:
        address = elastic_addresses.get_associated(context.session, context.account_id, request["AssociationId"])
    elif "PublicIp" in request:
        address = elastic_addresses.get(
            context.session, context.account_id, allocation_id=None, public_ip=request["PublicIp"]
        )
    else:
        raise errors.missing_parameter("AssociationId")
    changed = elastic_addresses.disassociate(context.session, address, context.host.settings.public_network)
    apply_network(context, *changed)
    return {}


@operation("ec2", "ReleaseAddress", mutates=True, honours=("AllocationId", "NetworkBorderGroup", "PublicIp"))
def release_address(context: RequestContext, request: Parameters) -> Reply:
    """Give an address back; one that is associated stays."""
    _check_border_group(context, request)
    address = elastic_addresses.get(
        context.session,
        context.account_id,
        allocation_id=request.get("AllocationId"),
        public_ip=request.get("PublicIp"),
    )
    elastic_addresses.release(context.session, address)
    return {}


def _address_item(address: ElasticAddress, own_tags: list[dict[str, str]]) -> dict[str, Any]:
    item: dict[str, Any] = {
        "AllocationId": address.allocation_id,
        "Domain": "vpc",
        "NetworkBorderGroup": address.region,
        "PublicIp": address.public_ip,
        "PublicIpv4Pool": _POOL,
        "Tags": own_tags,
    }
    if address.interface is not None:
        item |= {
            "AssociationId": address.association_id,
            "InstanceId": address.interface.instance_id,
            "NetworkInterfaceId": address.interface.interface_id,
            "NetworkInterfaceOwnerId": address.interface.account_id,
            "PrivateIpAddress": address.interface.private_ip,
        }
    return item


@operation(
    "ec2",
    "DescribeAddresses",
    mutates=False,
    honours=("AllocationIds", "PublicIps"),
    filters=FilterTable(
        item="Addresses[]",
        paths={
            "allocation-id": "AllocationId",
            "association-id": "AssociationId",
            "domain": "Domain",
            "instance-id": "InstanceId",
            "network-border-group": "NetworkBorderGroup",
            "network-interface-id": "NetworkInterfaceId",
            "network-interface-owner-id": "NetworkInterfaceOwnerId",
            "private-ip-address": "PrivateIpAddress",
            "public-ip": "PublicIp",
        },
        tags="Tags",
    ),
)
def describe_addresses(context: RequestContext, request: Parameters) -> Reply:
    """List the account's elastic addresses."""
    found = elastic_addresses.list_addresses(
        context.session, context.account_id, request.get("AllocationIds", ()), request.get("PublicIps", ())
    )
    own_tags = tags.tags_of(context.session, context.account_id, [one.allocation_id for one in found])
    return {"Addresses": [_address_item(one, own_tags[one.allocation_id]) for one in found]}


@operation(
    "ec2",
    "DescribeAddressesAttribute",
    mutates=False,
    honours=("AllocationIds", "Attribute"),
    paged=Paged(result="Addresses", minimum=1, maximum=1000, ids=("AllocationIds",), key="AllocationId"),
)
def describe_addresses_attribute(context: RequestContext, request: Parameters) -> Reply:
    """The reverse names of addresses, which is to say none: no address here has one."""
    found = elastic_addresses.list_addresses(context.session, context.account_id, request.get("AllocationIds", ()))
    return {"Addresses": [{"AllocationId": one.allocation_id, "PublicIp": one.public_ip} for one in found]}
