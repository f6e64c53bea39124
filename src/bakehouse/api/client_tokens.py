"""ClientToken: a request that is sent twice is done once.

Invariant: the reply is remembered in the transaction that did the work, so either both exist or neither.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.api import digests

# EC2 documents up to 64 ASCII characters for most operations; CreateFleet and others take 128.
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, kw_only=True)
class TokenKey:
    """What a token is remembered under."""

    account_id: str
    region: str
    operation: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A reply given before, and a digest of the parameters it was given for."""

    request_digest: str
    response: bytes


class ClientTokens(Protocol):
    """Where remembered replies are kept; works in the caller's transaction."""

    def find(self, session: Session, key: TokenKey) -> Remembered | None:
        """Return what was remembered. Until the transaction ends, no other may find or remember this key."""
        ...

    def remember(self, session: Session, key: TokenKey, remembered: Remembered) -> None:
        """Remember a reply under a key for which ``find`` gave None."""
        ...


def read_token(parameters: Mapping[str, Any], name: str = "ClientToken") -> str | None:
    """Return the request's client token, or None; InvalidParameterValue for one that is out of form.

    ``name``, here and below, is the member as the operation's model writes it.
    """
    token = parameters.get(name)
    if token is None:
        return None
    if not _TOKEN.fullmatch(token):
        raise errors.invalid_value_for("clientToken", token[:128], "It must be 1 to 128 ASCII characters.")
    return str(token)


def digest_request(parameters: Mapping[str, Any], name: str = "ClientToken") -> str:
    """Return a digest of all that must be the same when a token is used again."""
    return digests.digest_parameters({member: value for member, value in parameters.items() if member != name})


def replay(remembered: Remembered, parameters: Mapping[str, Any], name: str = "ClientToken") -> dict[str, Any]:
    """Return the reply given before; IdempotentParameterMismatch when the request is another one."""
    if remembered.request_digest != digest_request(parameters, name):
        raise errors.idempotent_parameter_mismatch()
    return digests.load(remembered.response)


def make_remembered(parameters: Mapping[str, Any], reply: Mapping[str, Any], name: str = "ClientToken") -> Remembered:
    """Return what to remember of a request and its reply."""
    return Remembered(request_digest=digest_request(parameters, name), response=digests.dump(reply))
