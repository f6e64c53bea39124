"""The AWS query protocol (STS, IAM): lists as Name.member.N, replies wrapped in <Action>Result.

Source: the Smithy specification, "AWS query protocol", and botocore's serializer and parser.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import OperationModel, Shape, get_operation_model, service_model
from bakehouse.api.protocol import codes, reader, writer
from bakehouse.api.protocol.form import grow_tree, read_form
from bakehouse.api.protocol.interface import Reply
from bakehouse.api.protocol.scalars import escape, write_time_s
from bakehouse.errors import ApiError

_CONTENT_TYPE = "text/xml"
_SERVER_ERROR = 500


def wire_name(name: str, member: Shape) -> str:
    """Return a parameter's name on the wire: its location name as it is, else its own."""
    return str(member.serialization.get("name", name))


class Query:
    """The codec of one service that speaks the AWS query protocol."""

    drops_empty = True

    def __init__(self, service: str) -> None:
        self.service = service
        self._namespace = service_model(service).metadata["xmlNamespace"]
        self._readers = reader.Compiler(wire_name, lambda shape: str(shape.member.serialization.get("name", "member")))
        self._writers = writer.Compiler(list_item="member", write_time=write_time_s)
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
        """Write a reply; an operation without a result has no Result element."""
        pieces = [f'<{operation}Response xmlns="{self._namespace}">']
        if write := self._get_writer(operation):
            pieces.append(f"<{operation}Result>")
            write(reply, pieces.append)
            pieces.append(f"</{operation}Result>")
        pieces.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>")
        pieces.append(f"</{operation}Response>\n")
        return _reply(200, "".join(pieces), request_id)

    def translate(self, error: ApiError) -> ApiError:
        """Return the error in the words of STS and IAM."""
        return codes.translate(self.service, codes.QUERY, error)

    def serialize_error(self, error: ApiError, request_id: str) -> Reply:
        """Write the query protocol's error document."""
        fault = "Receiver" if error.status >= _SERVER_ERROR else "Sender"
        body = (
            f'<ErrorResponse xmlns="{self._namespace}"><Error><Type>{fault}</Type>'
            f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>\n"
        )
        return _reply(error.status, body, request_id)

    def _compile_reader(self, operation: str) -> reader.Read:
        return reader.compile_input(self._readers, get_operation_model(self.service, operation))

    def _compile_writer(self, operation: str) -> writer.Write | None:
        model: OperationModel = get_operation_model(self.service, operation)
        return self._writers.compile_members(model.output_shape) if model.output_shape else None


def _reply(status: int, body: str, request_id: str) -> Reply:
    return Reply(status=status, body=body.encode(), content_type=_CONTENT_TYPE, request_id=request_id)
