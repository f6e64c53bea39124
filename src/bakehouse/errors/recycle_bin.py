"""The errors of Recycle Bin's own service.

Source: the errors sections of the operations in the Recycle Bin API Reference; ``Reason`` is a member of each.
"""

from bakehouse.errors import ApiError


def validation(message: str) -> ApiError:
    """A value, or a combination of values, that cannot be."""
    return ApiError("ValidationException", message, members={"Reason": "INVALID_PARAMETER_VALUE"})


def rule_not_found(identifier: str) -> ApiError:
    """The account has no such rule in this region."""
    message = f"The specified rule {identifier} was not found."
    return ApiError("ResourceNotFoundException", message, status=404, members={"Reason": "RULE_NOT_FOUND"})


def rule_state(message: str) -> ApiError:
    """The rule is locked, or it is not."""
    return ApiError("ConflictException", message, status=409, members={"Reason": "INVALID_RULE_STATE"})


def quota_exceeded(message: str) -> ApiError:
    """More than an account may have."""
    members = {"Reason": "SERVICE_QUOTA_EXCEEDED"}
    return ApiError("ServiceQuotaExceededException", message, status=402, members=members)
