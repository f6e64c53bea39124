"""What an operation is given: who asks, in which transaction, and the host's parts.

Invariant: the gateway alone builds a RequestContext, opens its transaction and commits it, before the
reply is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from bakehouse.domain.iam.authority import Authority
from bakehouse.domain.iam.principals import Principal

# Parameters and replies in botocore's Python shape: what a boto3 user passes and receives.
Parameters = Mapping[str, Any]
Reply = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """One authenticated request.

    ``session`` is the one transaction of this request: never commit or roll back; raise instead. It is
    read-only in spirit for operations declared ``mutates=False``. ``host`` is the container main.py
    injects (the parts and the durable engine's enqueue); the gateway passes it through untouched. What the request
    names was authorized before; ``authority`` is asked about what only the operation finds out.
    """

    request_id: str
    account_id: str
    region: str
    access_key_id: str
    authority: Authority
    session: Session
    host: Any

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.authority.principal
