"""The AWS JSON protocols 1.0 and 1.1 (Systems Manager): the action in X-Amz-Target, a document in the body.

Source: the Smithy specification, "AWS JSON 1.1 protocol", and botocore's serializer and parser.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from bakehouse import errors
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import Shape, get_operation_model, input_members, output_members, service_model
from bakehouse.api.protocol import codes, documents
from bakehouse.api.protocol.interface import Reply
from bakehouse.errors import ApiError

_TARGET = "x-amz-target"


class AwsJson:
    """The codec of one service that speaks an AWS JSON protocol."""

    drops_empty = False

    def __init__(self, service: str) -> None:
        self.service = service
        metadata = service_model(service).metadata
        self._target_prefix = f"{metadata['targetPrefix']}."
        self._content_type = f"application/x-amz-json-{metadata['jsonVersion']}"
        self._readers, self._writers = documents.Readers(), documents.Writers()
        self._get_reader = cache(self._compile_reader)
        self._get_writer = cache(self._compile_writer)

    def wire_name(self, name: str, member: Shape) -> str:
        """Return a member's name in the document."""
        return documents.member_name(name, member)

    def claims(self, request: HttpRequest) -> bool:
        """Say whether the request names this service in its target."""
        return (request.find_header(_TARGET) or "").startswith(self._target_prefix)

    def read_action(self, request: HttpRequest) -> tuple[str, bytes]:
        """Return the target's action, and the body."""
        target = request.find_header(_TARGET) or ""
        if not target or request.raw_path.strip(b"/") or request.method != "POST":
            raise errors.missing_action()
        return target.removeprefix(self._target_prefix), request.body

    def parse(self, operation: str, parameters: bytes) -> dict[str, Any]:
        """Read a document into what a boto3 user would pass."""
        parsed = self._get_reader(operation)(documents.load(parameters), "")
        assert isinstance(parsed, dict)
        return parsed

    def serialize(self, operation: str, reply: Mapping[str, Any], request_id: str) -> Reply:
        """Write a reply."""
        return self._reply(200, documents.dump(self._get_writer(operation)(reply)), request_id)

    def translate(self, error: ApiError) -> ApiError:
        """Return the error in the service's own codes."""
        return codes.translate(self.service, codes.JSON, error)

    def serialize_error(self, error: ApiError, request_id: str) -> Reply:
        """Write an error's document; the header says its code too."""
        body = documents.dump(documents.error_document(self.service, error))
        return self._reply(error.status, body, request_id, ("x-amzn-errortype", error.code))

    def _reply(self, status: int, body: bytes, request_id: str, *headers: tuple[str, str]) -> Reply:
        return Reply(status=status, body=body, content_type=self._content_type, request_id=request_id, headers=headers)

    def _compile_reader(self, operation: str) -> documents.Read:
        return self._readers.compile_members(input_members(get_operation_model(self.service, operation)))

    def _compile_writer(self, operation: str) -> documents.Write:
        return self._writers.compile_members(output_members(get_operation_model(self.service, operation)))
