"""The gateway's errors in the words of each protocol.

The gateway, the readers and the validator refuse in EC2's codes. Services of the other protocols have codes of
their own for the same things: the first of the candidates that the service's model has, else the last. A code
that the model has, and one that is not in the table, is the operation's own and stays.

Sources: IAM and STS API References, "Common Errors"; Systems Manager API Reference, "Common Errors"; the error
shapes of botocore's models.
"""

from collections.abc import Mapping
from functools import cache

from bakehouse.api.models import service_model
from bakehouse.errors import ApiError

Candidates = Mapping[str, tuple[str, ...]]

_INVALID = ("ValidationException", "InvalidParameterValueException", "ValidationException")

QUERY: Candidates = {
    "AuthFailure": ("SignatureDoesNotMatch",),
    "InternalError": ("InternalFailure",),
    "InvalidCharacter": ("ValidationError",),
    "InvalidPaginationToken": ("ValidationError",),
    "InvalidParameter": ("ValidationError",),
    "InvalidParameterCombination": ("ValidationError",),
    "InvalidParameterValue": ("ValidationError",),
    "MissingParameter": ("ValidationError",),
    "Unavailable": ("ServiceUnavailable",),
    "UnauthorizedOperation": ("AccessDenied",),
    "UnknownParameter": ("ValidationError",),
}

JSON: Candidates = {
    "AccessDenied": ("AccessDeniedException",),
    "AuthFailure": ("AccessDeniedException",),
    "ExpiredToken": ("ExpiredTokenException",),
    "IdempotentParameterMismatch": ("IdempotentParameterMismatch", "IdempotentParameterMismatchException"),
    "IncompleteSignature": ("IncompleteSignatureException",),
    "InternalError": ("InternalServerError", "InternalServerException", "ServiceException", "InternalFailure"),
    "InvalidAction": ("UnknownOperationException",),
    "InvalidCharacter": _INVALID,
    "InvalidClientTokenId": ("UnrecognizedClientException",),
    "InvalidPaginationToken": ("InvalidNextToken", "InvalidPaginationTokenException", "ValidationException"),
    "InvalidParameter": _INVALID,
    "InvalidParameterCombination": _INVALID,
    "InvalidParameterValue": _INVALID,
    "MalformedQueryString": ("SerializationException",),
    "MissingAction": ("UnknownOperationException",),
    "MissingAuthenticationToken": ("MissingAuthenticationTokenException",),
    "MissingParameter": _INVALID,
    "RequestEntityTooLarge": ("RequestEntityTooLargeException",),
    "RequestExpired": ("RequestExpired",),
    "RequestTimeout": ("RequestTimeoutException",),
    "SignatureDoesNotMatch": ("InvalidSignatureException",),
    "Unavailable": ("ServiceUnavailableException",),
    "UnauthorizedOperation": ("AccessDeniedException",),
    "UnknownParameter": _INVALID,
    "UnsupportedOperation": ("UnsupportedOperationException",),
}


@cache
def _shape_names(service: str) -> frozenset[str]:
    return frozenset(service_model(service).shape_names)


def translate(service: str, table: Candidates, error: ApiError) -> ApiError:
    """Return the error in the words of the service's protocol."""
    known = _shape_names(service)
    candidates = table.get(error.code)
    if candidates is None or error.code in known:
        return error
    code = next((each for each in candidates if each in known), candidates[-1])
    return ApiError(code, error.message, status=error.status, members=error.members)
