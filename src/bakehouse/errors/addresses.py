"""Errors of elastic addresses. Codes: EC2 Developer Guide, "Error codes for the Amazon EC2 API", unless noted."""

from bakehouse.errors import ApiError


def allocation_not_found(allocation_id: str) -> ApiError:
    """No such elastic address in the account."""
    return ApiError("InvalidAllocationID.NotFound", f"The allocation ID '{allocation_id[:64]}' does not exist")


def association_not_found(association_id: str) -> ApiError:
    """No such association in the account, or none any more."""
    return ApiError("InvalidAssociationID.NotFound", f"The association ID '{association_id[:64]}' does not exist")


def address_not_found(public_ip: str) -> ApiError:
    """DescribeAddresses names an address that is not the account's."""
    return ApiError("InvalidAddress.NotFound", f"Address '{public_ip[:64]}' not found.")


def address_not_yours(public_ip: str) -> ApiError:
    """Any other call names an address that is not the account's, whether somebody has it or not."""
    return ApiError("AuthFailure", f"The address '{public_ip[:64]}' does not belong to you.")


def already_associated(resource_id: str, association_id: str) -> ApiError:
    """The address, or the interface, has another association, and AllowReassociation is false."""
    message = f"resource {resource_id} is already associated with associate-id {association_id}"
    return ApiError("Resource.AlreadyAssociated", message)


def address_in_use(public_ip: str) -> ApiError:
    """An associated address cannot be released."""
    return ApiError("InvalidIPAddress.InUse", f"Address {public_ip} is in use.")


def address_limit_exceeded() -> ApiError:
    """More elastic addresses than an account may have in a region."""
    return ApiError("AddressLimitExceeded", "The maximum number of addresses has been reached.")


def not_ready_for_address(instance_id: str, state: str) -> ApiError:
    """The instance is being launched or is ending. Wording: clients match on "pending instance" and try again."""
    message = f"The {state} instance '{instance_id}' is not in a valid state for this operation."
    return ApiError("InvalidInstanceID", message)
