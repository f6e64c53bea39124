"""EC2's own protocol: parameters as Name.N.Member, replies in XML with ``item`` elements.

Source: the Smithy specification, "AWS EC2 query protocol", and botocore's serializer and parser.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import OperationModel, Shape, get_operation_model, service_model
from bakehouse.api.protocol import reader, writer
from bakehouse.api.protocol.form import grow_tree, read_form
from bakehouse.api.protocol.interface import Reply
from bakehouse.api.protocol.scalars import escape, write_time_ms
from bakehouse.errors import ApiError

_CONTENT_TYPE = "text/xml;charset=UTF-8"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def wire_name(name: str, member: Shape) -> str:
    """Return a parameter's name on the wire: queryName, else the location name with a capital, else its
    own.
    """
    if query_name := member.serialization.get("queryName"):
        return str(query_name)
    if location := member.serialization.get("name"):
        return str(location[0].upper() + location[1:])
    return name


class Ec2Query:
    """The codec of one service that speaks the EC2 query protocol."""

    drops_empty = True

    def __init__(self, service: str) -> None:
        self.service = service
        self._namespace = f"{service_model(service).metadata['xmlNamespace']}/"
        self._readers = reader.Compiler(wire_name, lambda _shape: None)
        self._writers = writer.Compiler(list_item="item", write_time=write_time_ms)
        self._get_reader = cache(self._compile_reader)
        self._get_writer = cache(self._compile_writer)

    def wire_name(self, name: str, member: Shape) -> str:
        """Return a parameter's name as this protocol's clients know it, for messages."""
        return wire_name(name, member)

    def read_action(self, request: HttpRequest) -> tuple[str, dict[str, str]]:
        """Return the Action, and the other pairs."""
        return read_form(request)

    def parse(self, operation: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Read decoded pairs (without Action and Version) into what a boto3 user would pass."""
        parsed = self._get_reader(operation)(grow_tree(dict(parameters)), "")
        assert isinstance(parsed, dict)
        return parsed

    def serialize(self, operation: str, reply: Mapping[str, Any], request_id: str) -> Reply:
        """Write a reply as EC2 does."""
        pieces = [
            f'{_DECLARATION}<{operation}Response xmlns="{self._namespace}">',
            f"<requestId>{request_id}</requestId>",
        ]
        self._get_writer(operation)(reply, pieces.append)
        pieces.append(f"</{operation}Response>")
        return _reply(200, "".join(pieces), request_id)

    def translate(self, error: ApiError) -> ApiError:
        """Return the error itself: the gateway speaks EC2's codes."""
        return error

    def serialize_error(self, error: ApiError, request_id: str) -> Reply:
        """Write EC2's error document."""
        body = (
            f"{_DECLARATION}<Response><Errors><Error><Code>{escape(error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        return _reply(error.status, body, request_id)

    def _compile_reader(self, operation: str) -> reader.Read:
        return reader.compile_input(self._readers, get_operation_model(self.service, operation))

    def _compile_writer(self, operation: str) -> writer.Write:
        model: OperationModel = get_operation_model(self.service, operation)
        if model.output_shape is None:
            # Operations without a result answer so; SDKs ignore it, people who use curl do not.
            return lambda _reply, append: append("<return>true</return>")
        return self._writers.compile_members(model.output_shape)


def _reply(status: int, body: str, request_id: str) -> Reply:
    return Reply(status=status, body=body.encode(), content_type=_CONTENT_TYPE, request_id=request_id)
