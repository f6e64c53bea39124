"""What a wire protocol is to the gateway.

One file of this package implements it for each protocol, and one object speaks for one service. The gateway asks
``read_action`` first, then ``parse``; what the first returns beside the action's name is handed to the second as
it is. What all refuse they refuse in EC2's words, and ``translate`` gives the service's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import Shape
from bakehouse.errors import ApiError


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What goes back to the client."""

    status: int
    body: bytes
    content_type: str
    request_id: str
    headers: tuple[tuple[str, str], ...] = ()


class Codec(Protocol):
    """One service's bytes to what a boto3 user passes, and back."""

    service: str
    # EC2's and the query protocols' clients send empty values and mean none; in JSON an empty value is one.
    drops_empty: bool

    def wire_name(self, name: str, member: Shape) -> str:
        """Return a parameter's name as this protocol's clients know it, for messages."""
        ...

    def read_action(self, request: HttpRequest) -> tuple[str, Any]:
        """Return what is asked for (any text; MissingAction when nothing is), and the parameters, not yet read."""
        ...

    def parse(self, operation: str, parameters: Any) -> dict[str, Any]:
        """Read the parameters into what a boto3 user would pass."""
        ...

    def serialize(self, operation: str, reply: Mapping[str, Any], request_id: str) -> Reply:
        """Write a reply; KeyError for a member the model does not have, None counts as absent."""
        ...

    def translate(self, error: ApiError) -> ApiError:
        """Return the error in this service's own codes."""
        ...

    def serialize_error(self, error: ApiError, request_id: str) -> Reply:
        """Write an error, as it is."""
        ...
