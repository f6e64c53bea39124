"""Errors of VPCs' parts and of network interfaces.

Codes: EC2 Developer Guide, "Error codes for the Amazon EC2 API", unless noted.
"""

from bakehouse.errors import ApiError


def _no_such(noun: str, resource_id: str) -> str:
    return f"The {noun} ID '{resource_id[:64]}' does not exist"


def _malformed(resource_id: str, prefix: str) -> str:
    return f'Invalid id: "{resource_id[:64]}" (expecting "{prefix}-...")'


def route_table_not_found(part_id: str) -> ApiError:
    """No such route table in the account."""
    return ApiError("InvalidRouteTableID.NotFound", _no_such("routeTable", part_id))


def route_table_id_malformed(part_id: str) -> ApiError:
    """Not the form of such an id."""
    return ApiError("InvalidRouteTableId.Malformed", _malformed(part_id, "rtb"))


def internet_gateway_not_found(part_id: str) -> ApiError:
    """No such internet gateway in the account."""
    return ApiError("InvalidInternetGatewayID.NotFound", _no_such("internetGateway", part_id))


def internet_gateway_id_malformed(part_id: str) -> ApiError:
    """Not the form of such an id."""
    return ApiError("InvalidInternetGatewayId.Malformed", _malformed(part_id, "igw"))


def network_acl_not_found(part_id: str) -> ApiError:
    """No such network acl in the account."""
    return ApiError("InvalidNetworkAclID.NotFound", _no_such("networkAcl", part_id))


def network_acl_id_malformed(part_id: str) -> ApiError:
    """Not the form of such an id."""
    return ApiError("InvalidNetworkAclId.Malformed", _malformed(part_id, "acl"))


def dhcp_options_not_found(part_id: str) -> ApiError:
    """No such set of DHCP options in the account."""
    return ApiError("InvalidDhcpOptionID.NotFound", _no_such("dhcpOptions", part_id))


def dhcp_options_id_malformed(part_id: str) -> ApiError:
    """Not the form of such an id."""
    return ApiError("InvalidDhcpOptionsId.Malformed", _malformed(part_id, "dopt"))


def nat_gateway_not_found(resource_id: str) -> ApiError:
    """There is no NAT gateway here at all. Source: terraform-provider-aws handles the code."""
    return ApiError("NatGatewayNotFound", _no_such("natGateway", resource_id))


def vpc_endpoint_not_found(resource_id: str) -> ApiError:
    """There is no VPC endpoint here at all. Source: terraform-provider-aws handles the code."""
    return ApiError("InvalidVpcEndpointId.NotFound", _no_such("vpcEndpoint", resource_id))


def egress_only_internet_gateway_not_found(resource_id: str) -> ApiError:
    """There is no egress only internet gateway here at all. Source: terraform-provider-aws handles the code."""
    return ApiError("InvalidGatewayID.NotFound", _no_such("egressOnlyInternetGateway", resource_id))


def vpc_peering_connection_not_found(resource_id: str) -> ApiError:
    """There is no VPC peering connection here at all. Source: terraform-provider-aws handles the code."""
    return ApiError("InvalidVpcPeeringConnectionID.NotFound", _no_such("vpcPeeringConnection", resource_id))


def interface_attachment_not_found(attachment_id: str) -> ApiError:
    """The interface has another attachment."""
    return ApiError("InvalidAttachmentID.NotFound", f"The attachment ID '{attachment_id[:64]}' does not exist")
