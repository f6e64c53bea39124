"""Errors of VPCs' parts and of network interfaces.

Codes: EC2 Developer Guide, "Error codes for the Amazon EC2 API", unless noted.
"""

from bakehouse.errors import ApiError


def part_not_found(code: str, noun: str, part_id: str) -> ApiError:
    """No such route table, gateway, network ACL or set of DHCP options in the account."""
    return ApiError(code, f"The {noun} ID '{part_id[:64]}' does not exist")


def part_id_malformed(code: str, part_id: str, prefix: str) -> ApiError:
    """Not the form of such an id."""
    return ApiError(code, f'Invalid id: "{part_id[:64]}" (expecting "{prefix}-...")')


def nat_gateway_not_found(gateway_id: str) -> ApiError:
    """No such NAT gateway; there are none here."""
    return ApiError("NatGatewayNotFound", f"NAT gateway {gateway_id[:64]} was not found")


def interface_attachment_not_found(attachment_id: str) -> ApiError:
    """The interface has another attachment."""
    return ApiError("InvalidAttachmentID.NotFound", f"The attachment ID '{attachment_id[:64]}' does not exist")
