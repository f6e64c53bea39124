"""Network interfaces, each the only one of its instance: Describe, and the attributes that can be changed."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.instance_items import association_item, group_items, interface_item
from bakehouse.api.operations.vpc_network import apply_network
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import NetworkInterface
from bakehouse.domain import addresses, elastic_addresses, network_interfaces, security_groups, tags, vpcs
from bakehouse.errors import networks as network_errors

Item = dict[str, Any]


def _association(interface: NetworkInterface) -> Item | None:
    """As an instance shows it, and the ids of the elastic address it may be."""
    item = association_item(interface)
    elastic = interface.elastic_address
    if item is None or elastic is None:
        return item
    return {**item, "AllocationId": elastic.allocation_id, "AssociationId": elastic.association_id}


def _attachment(interface: NetworkInterface) -> Item:
    return {
        "AttachTime": interface.attached_at,
        "AttachmentId": interface.attachment_id,
        "DeleteOnTermination": True,
        "DeviceIndex": 0,
        "InstanceId": interface.instance_id,
        "InstanceOwnerId": interface.account_id,
        "NetworkCardIndex": 0,
        "Status": "attached",
    }


def _interface_item(interface: NetworkInterface, group_names: dict[str, str], own_tags: list[dict[str, str]]) -> Item:
    """The NetworkInterface shape: an instance's view of it, and whose it is."""
    instance, association = interface.instance, _association(interface)
    item = interface_item(interface, group_names, instance.source_dest_check)
    address = {**item["PrivateIpAddresses"][0], "Association": association}
    return {
        **item,
        "Association": association,
        "Attachment": _attachment(interface),
        "AvailabilityZone": instance.availability_zone,
        "AvailabilityZoneId": vpcs.zone_id(instance.availability_zone),
        "PrivateIpAddresses": [address],
        "RequesterManaged": False,
        "TagSet": own_tags,
    }


_FILTERS = FilterTable(
    item="NetworkInterfaces[]",
    paths={
        "addresses.association.allocation-id": "PrivateIpAddresses[].Association.AllocationId",
        "addresses.association.association-id": "PrivateIpAddresses[].Association.AssociationId",
        "addresses.association.owner-id": "PrivateIpAddresses[].Association.IpOwnerId",
        "addresses.association.public-dns-name": "PrivateIpAddresses[].Association.PublicDnsName",
        "addresses.association.public-ip": "PrivateIpAddresses[].Association.PublicIp",
        "addresses.primary": "PrivateIpAddresses[].Primary",
        "addresses.private-ip-address": "PrivateIpAddresses[].PrivateIpAddress",
        "association.allocation-id": "Association.AllocationId",
        "association.association-id": "Association.AssociationId",
        "association.ip-owner-id": "Association.IpOwnerId",
        "association.public-dns-name": "Association.PublicDnsName",
        "association.public-ip": "Association.PublicIp",
        "attachment.attach-time": "Attachment.AttachTime",
        "attachment.attachment-id": "Attachment.AttachmentId",
        "attachment.delete-on-termination": "Attachment.DeleteOnTermination",
        "attachment.device-index": "Attachment.DeviceIndex",
        "attachment.instance-id": "Attachment.InstanceId",
        "attachment.instance-owner-id": "Attachment.InstanceOwnerId",
        "attachment.status": "Attachment.Status",
        "availability-zone": "AvailabilityZone",
        "availability-zone-id": "AvailabilityZoneId",
        "description": "Description",
        "group-id": "Groups[].GroupId",
        "group-name": "Groups[].GroupName",
        "interface-type": "InterfaceType",
        "ipv6-addresses.ipv6-address": "Ipv6Addresses[].Ipv6Address",
        "mac-address": "MacAddress",
        "network-interface-id": "NetworkInterfaceId",
        "operator.managed": "Operator.Managed",
        "operator.principal": "Operator.Principal",
        "owner-id": "OwnerId",
        "private-dns-name": "PrivateDnsName",
        "private-ip-address": "PrivateIpAddress",
        "requester-id": "RequesterId",
        "requester-managed": "RequesterManaged",
        "source-dest-check": "SourceDestCheck",
        "status": "Status",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
    },
    tags="TagSet",
)


@operation(
    "ec2",
    "DescribeNetworkInterfaces",
    mutates=False,
    honours=("NetworkInterfaceIds",),
    # No service manages interfaces here.
    harmless={"IncludeManagedResources": (False, True)},
    filters=_FILTERS,
    paged=Paged(
        result="NetworkInterfaces", minimum=5, maximum=1000, ids=("NetworkInterfaceIds",), key="NetworkInterfaceId"
    ),
)
def describe_network_interfaces(context: RequestContext, request: Parameters) -> Reply:
    """List the account's interfaces."""
    found = network_interfaces.visible(context.session, context.account_id, request.get("NetworkInterfaceIds", ()))
    group_names = security_groups.names(context.session, context.account_id)
    own_tags = tags.tags_of(context.session, context.account_id, [one.interface_id for one in found])
    return {"NetworkInterfaces": [_interface_item(one, group_names, own_tags[one.interface_id]) for one in found]}


@operation("ec2", "DescribeNetworkInterfaceAttribute", mutates=False, honours=("Attribute", "NetworkInterfaceId"))
def describe_network_interface_attribute(context: RequestContext, request: Parameters) -> Reply:
    """One attribute of an interface."""
    interface = network_interfaces.get(context.session, context.account_id, request["NetworkInterfaceId"])
    attribute = request.get("Attribute")
    if attribute is None:
        raise errors.missing_parameter("Attribute")
    names = security_groups.names(context.session, context.account_id)
    values: dict[str, Item] = {
        "associatePublicIpAddress": {"AssociatePublicIpAddress": interface.associates_public_ip},
        "attachment": {"Attachment": _attachment(interface)},
        "description": {"Description": {"Value": interface.description}},
        "groupSet": {"Groups": group_items(interface, names)},
        "sourceDestCheck": {"SourceDestCheck": {"Value": interface.instance.source_dest_check}},
    }
    return {"NetworkInterfaceId": interface.interface_id, **values[attribute]}


@operation(
    "ec2",
    "ModifyNetworkInterfaceAttribute",
    mutates=True,
    honours=(
        "AssociatePublicIpAddress",
        "Attachment.AttachmentId",
        "Attachment.DeleteOnTermination",
        "Description",
        "Groups",
        "NetworkInterfaceId",
        "SourceDestCheck",
    ),
    keeps_empty=("Description.Value",),
)
def modify_network_interface_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Change what can be changed; EC2 takes one attribute in a call, here several are fine."""
    interface = network_interfaces.get(context.session, context.account_id, request["NetworkInterfaceId"])
    _check_fixed(interface, request)
    if "Description" in request:
        interface.description = request["Description"].get("Value", "")
    if "Groups" in request:
        network_interfaces.set_groups(context.session, interface, request["Groups"])
    if "AssociatePublicIpAddress" in request:
        _set_automatic_address(context, interface, wanted=request["AssociatePublicIpAddress"])
    if "Groups" in request or "AssociatePublicIpAddress" in request:
        apply_network(context, interface.vpc_id)
    return {}


def _check_fixed(interface: NetworkInterface, request: Parameters) -> None:
    """Refuse to change what is the same for every interface here."""
    attachment = request.get("Attachment", {})
    if attachment:
        if "AttachmentId" not in attachment:
            raise errors.missing_parameter("Attachment.AttachmentId")
        if attachment["AttachmentId"] != interface.attachment_id:
            raise network_errors.interface_attachment_not_found(attachment["AttachmentId"])
        if not attachment.get("DeleteOnTermination", True):
            raise errors.unsupported_operation("An interface goes with its instance; it cannot outlive it.")
    if not request.get("SourceDestCheck", {}).get("Value", True):
        raise errors.unsupported_operation("Every interface checks source and destination; this cannot be disabled.")


def _set_automatic_address(context: RequestContext, interface: NetworkInterface, *, wanted: bool) -> None:
    """Ask for an automatic public address, or for none; an elastic one stays in either case."""
    interface.associates_public_ip = wanted
    if wanted:
        network = context.host.settings.public_network
        elastic_addresses.give_automatic(context.session, interface, network)
    elif interface.elastic_address is None:
        addresses.withdraw_public_ip(context.session, interface)


@operation(
    "ec2",
    "ResetNetworkInterfaceAttribute",
    mutates=True,
    honours=("NetworkInterfaceId",),
    harmless={"SourceDestCheck": ("true", "True")},
)
def reset_network_interface_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Source and destination are checked already: there is nothing else to reset."""
    network_interfaces.get(context.session, context.account_id, request["NetworkInterfaceId"])
    return {}
