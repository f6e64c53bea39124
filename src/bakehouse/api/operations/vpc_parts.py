"""DescribeRouteTables, DescribeInternetGateways, DescribeNetworkAcls, DescribeDhcpOptions: as our VPCs are."""

from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Subnet
from bakehouse.domain import tags, vpc_parts, vpcs
from bakehouse.domain.vpc_parts import VpcPart, id_of
from bakehouse.ids import Prefix
from bakehouse.network.names import private_domain

_ANYWHERE = "0.0.0.0/0"
# EC2's numbers of the rule that allows, and of the last one, which nobody can change.
_ALLOW_NUMBER, _DENY_NUMBER = 100, 32767


def _parts(context: RequestContext, prefix: Prefix, request: Parameters, ids: str) -> list[tuple[VpcPart, Any]]:
    found = vpc_parts.list_parts(context.session, context.account_id, prefix, request.get(ids, ()))
    own_tags = tags.tags_of(context.session, context.account_id, [one.part_id for one in found])
    return [(one, own_tags[one.part_id]) for one in found]


@operation(
    "ec2",
    "DescribeRouteTables",
    mutates=False,
    honours=("RouteTableIds",),
    filters=FilterTable(
        item="RouteTables[]",
        paths={
            "association.gateway-id": "Associations[].GatewayId",
            "association.main": "Associations[].Main",
            "association.route-table-association-id": "Associations[].RouteTableAssociationId",
            "association.route-table-id": "Associations[].RouteTableId",
            "association.subnet-id": "Associations[].SubnetId",
            "owner-id": "OwnerId",
            "route-table-id": "RouteTableId",
            "route.destination-cidr-block": "Routes[].DestinationCidrBlock",
            "route.destination-ipv6-cidr-block": "Routes[].DestinationIpv6CidrBlock",
            "route.destination-prefix-list-id": "Routes[].DestinationPrefixListId",
            "route.egress-only-internet-gateway-id": "Routes[].EgressOnlyInternetGatewayId",
            "route.gateway-id": "Routes[].GatewayId",
            "route.instance-id": "Routes[].InstanceId",
            "route.nat-gateway-id": "Routes[].NatGatewayId",
            "route.origin": "Routes[].Origin",
            "route.state": "Routes[].State",
            "route.transit-gateway-id": "Routes[].TransitGatewayId",
            "route.vpc-peering-connection-id": "Routes[].VpcPeeringConnectionId",
            "vpc-id": "VpcId",
        },
        tags="Tags",
    ),
    paged=Paged(result="RouteTables", minimum=5, maximum=100, ids=("RouteTableIds",), key="RouteTableId"),
)
def describe_route_tables(context: RequestContext, request: Parameters) -> Reply:
    """The main route table of each VPC: to its own range, and out through the gateway."""
    return {
        "RouteTables": [
            {
                "Associations": [
                    {
                        "AssociationState": {"State": "associated"},
                        "Main": True,
                        "RouteTableAssociationId": id_of("rtbassoc", one.vpc.vpc_id),
                        "RouteTableId": one.part_id,
                    }
                ],
                "OwnerId": one.vpc.account_id,
                "PropagatingVgws": [],
                "RouteTableId": one.part_id,
                "Routes": [
                    {
                        "DestinationCidrBlock": one.vpc.cidr_block,
                        "GatewayId": "local",
                        "Origin": "CreateRouteTable",
                        "State": "active",
                    },
                    {
                        "DestinationCidrBlock": _ANYWHERE,
                        "GatewayId": id_of(Prefix.INTERNET_GATEWAY, one.vpc.vpc_id),
                        "Origin": "CreateRoute",
                        "State": "active",
                    },
                ],
                "Tags": own_tags,
                "VpcId": one.vpc.vpc_id,
            }
            for one, own_tags in _parts(context, Prefix.ROUTE_TABLE, request, "RouteTableIds")
        ]
    }


@operation(
    "ec2",
    "DescribeInternetGateways",
    mutates=False,
    honours=("InternetGatewayIds",),
    filters=FilterTable(
        item="InternetGateways[]",
        paths={
            "attachment.state": "Attachments[].State",
            "attachment.vpc-id": "Attachments[].VpcId",
            "internet-gateway-id": "InternetGatewayId",
            "owner-id": "OwnerId",
        },
        tags="Tags",
    ),
    paged=Paged(
        result="InternetGateways", minimum=5, maximum=1000, ids=("InternetGatewayIds",), key="InternetGatewayId"
    ),
)
def describe_internet_gateways(context: RequestContext, request: Parameters) -> Reply:
    """The way out of each VPC."""
    return {
        "InternetGateways": [
            {
                # "available", as EC2 says of gateways; the model's enum does not have it.
                "Attachments": [{"State": "available", "VpcId": one.vpc.vpc_id}],
                "InternetGatewayId": one.part_id,
                "OwnerId": one.vpc.account_id,
                "Tags": own_tags,
            }
            for one, own_tags in _parts(context, Prefix.INTERNET_GATEWAY, request, "InternetGatewayIds")
        ]
    }


def _entry(number: int, action: str, *, is_egress: bool) -> dict[str, Any]:
    return {
        "CidrBlock": _ANYWHERE,
        "Egress": is_egress,
        "Protocol": "-1",
        "RuleAction": action,
        "RuleNumber": number,
    }


_ENTRIES = [
    _entry(number, action, is_egress=is_egress)
    for is_egress in (True, False)
    for number, action in ((_ALLOW_NUMBER, "allow"), (_DENY_NUMBER, "deny"))
]


def _acl_item(one: VpcPart, own_tags: list[dict[str, str]], subnets: list[Subnet]) -> dict[str, Any]:
    return {
        "Associations": [
            {
                "NetworkAclAssociationId": id_of("aclassoc", subnet.subnet_id),
                "NetworkAclId": one.part_id,
                "SubnetId": subnet.subnet_id,
            }
            for subnet in subnets
            if subnet.vpc_id == one.vpc.vpc_id
        ],
        "Entries": _ENTRIES,
        "IsDefault": True,
        "NetworkAclId": one.part_id,
        "OwnerId": one.vpc.account_id,
        "Tags": own_tags,
        "VpcId": one.vpc.vpc_id,
    }


@operation(
    "ec2",
    "DescribeNetworkAcls",
    mutates=False,
    honours=("NetworkAclIds",),
    filters=FilterTable(
        item="NetworkAcls[]",
        paths={
            "association.association-id": "Associations[].NetworkAclAssociationId",
            "association.network-acl-id": "Associations[].NetworkAclId",
            "association.subnet-id": "Associations[].SubnetId",
            "default": "IsDefault",
            "entry.cidr": "Entries[].CidrBlock",
            "entry.egress": "Entries[].Egress",
            "entry.icmp.code": "Entries[].IcmpTypeCode.Code",
            "entry.icmp.type": "Entries[].IcmpTypeCode.Type",
            "entry.ipv6-cidr": "Entries[].Ipv6CidrBlock",
            "entry.port-range.from": "Entries[].PortRange.From",
            "entry.port-range.to": "Entries[].PortRange.To",
            "entry.protocol": "Entries[].Protocol",
            "entry.rule-action": "Entries[].RuleAction",
            "entry.rule-number": "Entries[].RuleNumber",
            "network-acl-id": "NetworkAclId",
            "owner-id": "OwnerId",
            "vpc-id": "VpcId",
        },
        tags="Tags",
    ),
    paged=Paged(result="NetworkAcls", minimum=5, maximum=1000, ids=("NetworkAclIds",), key="NetworkAclId"),
)
def describe_network_acls(context: RequestContext, request: Parameters) -> Reply:
    """The default network ACL of each VPC, which lets everything pass."""
    subnets = vpcs.list_subnets(context.session, context.account_id)
    found = _parts(context, Prefix.NETWORK_ACL, request, "NetworkAclIds")
    return {"NetworkAcls": [_acl_item(one, own_tags, subnets) for one, own_tags in found]}


@operation(
    "ec2",
    "DescribeDhcpOptions",
    mutates=False,
    honours=("DhcpOptionsIds",),
    filters=FilterTable(
        item="DhcpOptions[]",
        paths={
            "dhcp-options-id": "DhcpOptionsId",
            "key": "DhcpConfigurations[].Key",
            "owner-id": "OwnerId",
            "value": "DhcpConfigurations[].Values[].Value",
        },
        tags="Tags",
    ),
    paged=Paged(result="DhcpOptions", minimum=5, maximum=1000, ids=("DhcpOptionsIds",), key="DhcpOptionsId"),
)
def describe_dhcp_options(context: RequestContext, request: Parameters) -> Reply:
    """What DHCP gives in each VPC: the region's domain, and the VPC's own resolver, which EC2 calls Amazon's."""
    return {
        "DhcpOptions": [
            {
                "DhcpConfigurations": [
                    {"Key": "domain-name", "Values": [{"Value": private_domain(one.vpc.region)}]},
                    {"Key": "domain-name-servers", "Values": [{"Value": "AmazonProvidedDNS"}]},
                ],
                "DhcpOptionsId": one.part_id,
                "OwnerId": one.vpc.account_id,
                "Tags": own_tags,
            }
            for one, own_tags in _parts(context, Prefix.DHCP_OPTIONS, request, "DhcpOptionsIds")
        ]
    }
