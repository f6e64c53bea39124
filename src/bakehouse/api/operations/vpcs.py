"""VPCs and subnets, the default ones of each account: Describe, and the attributes that can be changed."""

import ipaddress

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable, paths_under
from bakehouse.api.operations.instance_items import PRIVATE_DNS_NAME_OPTIONS
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.domain import tags, vpcs
from bakehouse.domain.vpc_parts import id_of
from bakehouse.ids import Prefix


@operation(
    "ec2",
    "DescribeVpcs",
    mutates=False,
    honours=("VpcIds",),
    filters=FilterTable(
        item="Vpcs[]",
        paths={
            "cidr": "CidrBlock",
            "cidr-block-association.association-id": "CidrBlockAssociationSet[].AssociationId",
            "cidr-block-association.cidr-block": "CidrBlockAssociationSet[].CidrBlock",
            "cidr-block-association.state": "CidrBlockAssociationSet[].CidrBlockState.State",
            "dhcp-options-id": "DhcpOptionsId",
            "ipv6-cidr-block-association.association-id": "Ipv6CidrBlockAssociationSet[].AssociationId",
            "ipv6-cidr-block-association.ipv6-cidr-block": "Ipv6CidrBlockAssociationSet[].Ipv6CidrBlock",
            "ipv6-cidr-block-association.ipv6-pool": "Ipv6CidrBlockAssociationSet[].Ipv6Pool",
            "ipv6-cidr-block-association.state": "Ipv6CidrBlockAssociationSet[].Ipv6CidrBlockState.State",
            "is-default": "IsDefault",
            "isDefault": "IsDefault",
            "owner-id": "OwnerId",
            "state": "State",
            "vpc-id": "VpcId",
        },
        tags="Tags",
    ),
    paged=Paged(result="Vpcs", minimum=5, maximum=1000, ids=("VpcIds",), key="VpcId"),
)
def describe_vpcs(context: RequestContext, request: Parameters) -> Reply:
    """List the account's VPCs."""
    found = vpcs.list_vpcs(context.session, context.account_id, request.get("VpcIds", ()))
    own_tags = tags.tags_of(context.session, context.account_id, [one.vpc_id for one in found])
    return {
        "Vpcs": [
            {
                "CidrBlock": one.cidr_block,
                "CidrBlockAssociationSet": [
                    {
                        # One range for each VPC, so its association is named after the VPC.
                        "AssociationId": f"vpc-cidr-assoc-{one.vpc_id.removeprefix('vpc-')}",
                        "CidrBlock": one.cidr_block,
                        "CidrBlockState": {"State": "associated"},
                    }
                ],
                "DhcpOptionsId": id_of(Prefix.DHCP_OPTIONS, one.vpc_id),
                "InstanceTenancy": "default",
                "IsDefault": one.is_default,
                "OwnerId": one.account_id,
                "State": "available",
                "Tags": own_tags.get(one.vpc_id, []),
                "VpcId": one.vpc_id,
            }
            for one in found
        ]
    }


@operation(
    "ec2",
    "DescribeSubnets",
    mutates=False,
    honours=("SubnetIds",),
    filters=FilterTable(
        item="Subnets[]",
        paths={
            "availability-zone": "AvailabilityZone",
            "availability-zone-id": "AvailabilityZoneId",
            "availabilityZone": "AvailabilityZone",
            "availabilityZoneId": "AvailabilityZoneId",
            "available-ip-address-count": "AvailableIpAddressCount",
            "cidr": "CidrBlock",
            "cidr-block": "CidrBlock",
            "cidrBlock": "CidrBlock",
            "customer-owned-ipv4-pool": "CustomerOwnedIpv4Pool",
            "default-for-az": "DefaultForAz",
            "defaultForAz": "DefaultForAz",
            "enable-dns64": "EnableDns64",
            "enable-lni-at-device-index": "EnableLniAtDeviceIndex",
            "ipv6-cidr-block-association.association-id": "Ipv6CidrBlockAssociationSet[].AssociationId",
            "ipv6-cidr-block-association.ipv6-cidr-block": "Ipv6CidrBlockAssociationSet[].Ipv6CidrBlock",
            "ipv6-cidr-block-association.state": "Ipv6CidrBlockAssociationSet[].Ipv6CidrBlockState.State",
            "ipv6-native": "Ipv6Native",
            "map-customer-owned-ip-on-launch": "MapCustomerOwnedIpOnLaunch",
            "map-public-ip-on-launch": "MapPublicIpOnLaunch",
            "outpost-arn": "OutpostArn",
            "owner-id": "OwnerId",
            **paths_under(
                "private-dns-name-options-on-launch",
                "PrivateDnsNameOptionsOnLaunch",
                {
                    "enable-resource-name-dns-a-record": "EnableResourceNameDnsARecord",
                    "enable-resource-name-dns-aaaa-record": "EnableResourceNameDnsAAAARecord",
                    "hostname-type": "HostnameType",
                },
            ),
            "state": "State",
            "subnet-arn": "SubnetArn",
            "subnet-id": "SubnetId",
            "vpc-id": "VpcId",
        },
        tags="Tags",
    ),
    paged=Paged(result="Subnets", minimum=5, maximum=1000, ids=("SubnetIds",), key="SubnetId"),
)
def describe_subnets(context: RequestContext, request: Parameters) -> Reply:
    """List the account's subnets."""
    found = vpcs.list_subnets(context.session, context.account_id, request.get("SubnetIds", ()))
    own_tags = tags.tags_of(context.session, context.account_id, [one.subnet_id for one in found])
    free = vpcs.available_address_counts(context.session, found)
    return {
        "Subnets": [
            {
                "AssignIpv6AddressOnCreation": False,
                "AvailabilityZone": one.availability_zone,
                "AvailabilityZoneId": vpcs.zone_id(one.availability_zone),
                "AvailableIpAddressCount": free[one.subnet_id],
                "CidrBlock": str(ipaddress.IPv4Network(one.cidr_block)),
                "DefaultForAz": one.is_default_for_az,
                "EnableDns64": False,
                "Ipv6Native": False,
                "MapCustomerOwnedIpOnLaunch": False,
                "MapPublicIpOnLaunch": one.map_public_ip_on_launch,
                "OwnerId": one.account_id,
                "PrivateDnsNameOptionsOnLaunch": PRIVATE_DNS_NAME_OPTIONS,
                "State": "available",
                "SubnetArn": f"arn:aws:ec2:{context.region}:{one.account_id}:subnet/{one.subnet_id}",
                "SubnetId": one.subnet_id,
                "Tags": own_tags.get(one.subnet_id, []),
                "VpcId": one.vpc_id,
            }
            for one in found
        ]
    }


@operation("ec2", "DescribeVpcAttribute", mutates=False, honours=("Attribute", "VpcId"))
def describe_vpc_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Names are resolved and given in every VPC here; addresses are not metered."""
    vpc = vpcs.get_vpc(context.session, context.account_id, request["VpcId"])
    name = request["Attribute"]
    value = {"Value": name in ("enableDnsSupport", "enableDnsHostnames")}
    return {"VpcId": vpc.vpc_id, name[0].upper() + name[1:]: value}


@operation(
    "ec2",
    "ModifyVpcAttribute",
    mutates=True,
    honours=("VpcId",),
    harmless={
        "EnableDnsHostnames.Value": (True,),
        "EnableDnsSupport.Value": (True,),
        "EnableNetworkAddressUsageMetrics.Value": (False,),
    },
)
def modify_vpc_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Names are resolved and given in every VPC, which is all that can be asked for."""
    vpcs.get_vpc(context.session, context.account_id, request["VpcId"])
    return {}


@operation(
    "ec2",
    "ModifySubnetAttribute",
    mutates=True,
    honours=("MapPublicIpOnLaunch", "SubnetId"),
    harmless={
        "AssignIpv6AddressOnCreation.Value": (False,),
        "EnableDns64.Value": (False,),
        "MapCustomerOwnedIpOnLaunch.Value": (False,),
        "PrivateDnsHostnameTypeOnLaunch": ("ip-name",),
    },
)
def modify_subnet_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Whether what is launched into the subnet from now on asks for a public address."""
    subnet = vpcs.get_subnet(context.session, context.account_id, request["SubnetId"])
    wanted = request.get("MapPublicIpOnLaunch", {}).get("Value")
    if wanted is not None:
        subnet.map_public_ip_on_launch = wanted
    return {}
