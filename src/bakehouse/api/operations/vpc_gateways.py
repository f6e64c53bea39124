"""What no VPC here has, for clients that look: NAT gateways, endpoints, egress-only gateways, peerings."""

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.errors import networks as errors

_NAT_GATEWAY_FILTERS = FilterTable(
    item="NatGateways[]",
    paths={
        "nat-gateway-id": "NatGatewayId",
        "state": "State",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
    },
    tags="Tags",
)


@operation(
    "ec2",
    "DescribeNatGateways",
    mutates=False,
    # The one operation whose filters are called Filter.
    honours=("Filter", "NatGatewayIds"),
    paged=Paged(result="NatGateways", minimum=5, maximum=1000, ids=("NatGatewayIds",), key="NatGatewayId"),
)
def describe_nat_gateways(context: RequestContext, request: Parameters) -> Reply:
    """There are none."""
    del context
    for gateway_id in request.get("NatGatewayIds", ()):
        raise errors.nat_gateway_not_found(gateway_id)
    reply: Reply = {"NatGateways": []}
    _NAT_GATEWAY_FILTERS.apply(request.get("Filter", ()), reply)
    return reply


@operation(
    "ec2",
    "DescribeVpcEndpoints",
    mutates=False,
    honours=("VpcEndpointIds",),
    filters=FilterTable(
        item="VpcEndpoints[]",
        paths={
            "ip-address-type": "IpAddressType",
            "service-name": "ServiceName",
            "service-region": "ServiceRegion",
            "vpc-endpoint-id": "VpcEndpointId",
            "vpc-endpoint-state": "State",
            "vpc-endpoint-type": "VpcEndpointType",
            "vpc-id": "VpcId",
        },
        tags="Tags",
    ),
    paged=Paged(result="VpcEndpoints", minimum=1, maximum=1000, key="VpcEndpointId"),
)
def describe_vpc_endpoints(context: RequestContext, request: Parameters) -> Reply:
    """There are none."""
    del context
    for endpoint_id in request.get("VpcEndpointIds", ()):
        raise errors.vpc_endpoint_not_found(endpoint_id)
    return {"VpcEndpoints": []}


@operation(
    "ec2",
    "DescribeEgressOnlyInternetGateways",
    mutates=False,
    honours=("EgressOnlyInternetGatewayIds",),
    filters=FilterTable(item="EgressOnlyInternetGateways[]", paths={}, tags="Tags"),
    paged=Paged(result="EgressOnlyInternetGateways", minimum=5, maximum=255, key="EgressOnlyInternetGatewayId"),
)
def describe_egress_only_internet_gateways(context: RequestContext, request: Parameters) -> Reply:
    """There are none: no VPC here has IPv6."""
    del context
    for gateway_id in request.get("EgressOnlyInternetGatewayIds", ()):
        raise errors.egress_only_internet_gateway_not_found(gateway_id)
    return {"EgressOnlyInternetGateways": []}


@operation(
    "ec2",
    "DescribeVpcPeeringConnections",
    mutates=False,
    honours=("VpcPeeringConnectionIds",),
    filters=FilterTable(
        item="VpcPeeringConnections[]",
        paths={
            "accepter-vpc-info.cidr-block": "AccepterVpcInfo.CidrBlock",
            "accepter-vpc-info.owner-id": "AccepterVpcInfo.OwnerId",
            "accepter-vpc-info.vpc-id": "AccepterVpcInfo.VpcId",
            "expiration-time": "ExpirationTime",
            "requester-vpc-info.cidr-block": "RequesterVpcInfo.CidrBlock",
            "requester-vpc-info.owner-id": "RequesterVpcInfo.OwnerId",
            "requester-vpc-info.vpc-id": "RequesterVpcInfo.VpcId",
            "status-code": "Status.Code",
            "status-message": "Status.Message",
            "vpc-peering-connection-id": "VpcPeeringConnectionId",
        },
        tags="Tags",
    ),
    paged=Paged(result="VpcPeeringConnections", minimum=5, maximum=1000, key="VpcPeeringConnectionId"),
)
def describe_vpc_peering_connections(context: RequestContext, request: Parameters) -> Reply:
    """There are none: no two VPCs here are connected."""
    del context
    for peering_id in request.get("VpcPeeringConnectionIds", ()):
        raise errors.vpc_peering_connection_not_found(peering_id)
    return {"VpcPeeringConnections": []}
