"""What IAM and STS refuse, one function for each code.

Source unless said otherwise: IAM API Reference, the "Errors" of each operation, with their statuses (404 for
NoSuchEntity, 409 for what exists or is still used, 400 else); messages as IAM words them.
"""

from bakehouse.errors import ApiError


def no_such_entity(message: str) -> ApiError:
    """Nothing of that name in the account."""
    return ApiError("NoSuchEntity", message, status=404)


def entity_already_exists(message: str) -> ApiError:
    """The name is taken; names that differ in case only are the same."""
    return ApiError("EntityAlreadyExists", message, status=409)


def delete_conflict(message: str) -> ApiError:
    """Something is still attached to what is to go."""
    return ApiError("DeleteConflict", message, status=409)


def limit_exceeded(message: str) -> ApiError:
    """More than IAM's quota of it."""
    return ApiError("LimitExceeded", message, status=409)


def validation_error(message: str) -> ApiError:
    """A value out of form. Source: IAM API Reference, Common Errors."""
    return ApiError("ValidationError", message)


def invalid_input(message: str) -> ApiError:
    """A value that cannot be used."""
    return ApiError("InvalidInput", message)


def malformed_policy_document(message: str) -> ApiError:
    """Not a policy."""
    return ApiError("MalformedPolicyDocument", message)


def access_denied(message: str) -> ApiError:
    """No policy allows it, or one denies it. Source: IAM API Reference, Common Errors (403)."""
    return ApiError("AccessDenied", message, status=403)


def expired_token() -> ApiError:
    """A temporary key after its time. Source: STS API Reference, Common Errors ("ExpiredToken", 403)."""
    return ApiError("ExpiredToken", "The security token included in the request is expired", status=403)
