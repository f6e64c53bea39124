"""ClientToken: a request that is sent twice is done once.

Invariant: the reply is remembered in the transaction that did the work, so either both exist or neither; nobody is
told a reply that was made under another's rights.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.api import digests
from bakehouse.domain.iam.principals import Principal

# EC2 documents up to 64 ASCII characters for most operations; CreateFleet and others take 128.
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")
# No parameter has such a name.
_RIGHTS = "$rights"


@dataclass(frozen=True, kw_only=True)
class TokenKey:
    """What a token is remembered under."""

    account_id: str
    region: str
    operation: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A reply given before, None once the token has expired, and a digest of the request it was given to."""

    request_digest: str
    response: bytes | None
    # The instances that the request launched have all ended.
    is_launch_over: bool = False


class ClientTokens(Protocol):
    """Where remembered replies are kept; works in the caller's transaction."""

    def find(self, session: Session, key: TokenKey) -> Remembered | None:
        """Return what was remembered. Until the transaction ends, no other may find or remember this key."""
        ...

    def remember(self, session: Session, key: TokenKey, remembered: Remembered) -> None:
        """Remember a reply under a key for which ``find`` gave nothing, or no response."""
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


def digest_request(parameters: Mapping[str, Any], name: str, principal: Principal) -> str:
    """Return a digest of all that must be the same when a token is used again: the parameters, and who asks.

    A replay asks no policy what its operation asked, so the reply is for whose rights it was made under only.
    """
    compared = {member: value for member, value in parameters.items() if member != name}
    if not principal.is_root:
        compared[_RIGHTS] = [principal.owner_id, *principal.session_policies]
    return digests.digest_parameters(compared)


def replay(remembered: Remembered, request_digest: str) -> dict[str, Any] | None:
    """Return the reply given before; None when the token has expired and the same request is a new one.

    IdempotentParameterMismatch when the request is another one, IdempotentInstanceTerminated when nothing is left of
    what it launched.
    """
    if remembered.request_digest != request_digest:
        raise errors.idempotent_parameter_mismatch()
    if remembered.response is None:
        return None
    if remembered.is_launch_over:
        raise errors.idempotent_instance_terminated()
    return digests.load(remembered.response)


def make_remembered(request_digest: str, reply: Mapping[str, Any]) -> Remembered:
    """Return what to remember of a request and its reply."""
    return Remembered(request_digest=request_digest, response=digests.dump(reply))
