"""The AWS REST JSON protocol (Recycle Bin, Image Builder): the action is a method and a path.

Members stand in the path, in the query, in headers, and what is left in a document that is the body; or one member
is the body itself. Source: the Smithy specification, "AWS restJson1 protocol", and botocore's serializer and parser.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from bakehouse import errors
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import Shape, get_operation_model, input_members, operation_names, output_members
from bakehouse.api.protocol import codes, documents
from bakehouse.api.protocol.form import SIGNATURE_PARAMETERS, split_pairs
from bakehouse.api.protocol.interface import Reply
from bakehouse.api.protocol.scalars import READERS, write_boolean
from bakehouse.errors import ApiError

_CONTENT_TYPE = "application/json"
_NO_CONTENT = 204
_LOCATIONS = ("uri", "querystring", "header")


@dataclass(frozen=True, kw_only=True)
class _Route:
    """A method and a path; a segment in braces is a member's place."""

    action: str
    method: str
    segments: tuple[str, ...]

    @property
    def literals(self) -> int:
        return sum(not segment.startswith("{") for segment in self.segments)

    def match(self, method: str, segments: Sequence[bytes]) -> dict[str, bytes] | None:
        """Return what stands in the members' places, or None. An encoded slash does not end a segment."""
        if method != self.method or len(segments) != len(self.segments):
            return None
        labels: dict[str, bytes] = {}
        for expected, segment in zip(self.segments, segments, strict=True):
            if expected.startswith("{"):
                if not segment:
                    return None
                labels[expected[1:-1]] = segment
            elif expected.encode() != segment:
                return None
        return labels


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A request taken apart, not yet read."""

    labels: Mapping[str, bytes]
    request: HttpRequest


class RestJson:
    """The codec of one service that speaks the REST JSON protocol."""

    drops_empty = False

    def __init__(self, service: str) -> None:
        self.service = service
        routes = [_make_route(service, name) for name in operation_names(service)]
        # Where a literal and a member's place both fit, the literal is meant.
        self._routes = sorted(routes, key=lambda route: (-route.literals, route.action))
        self._readers, self._writers = documents.Readers(), documents.Writers()
        self._get_reader = cache(self._compile_body_reader)
        self._get_writer = cache(self._compile_body_writer)

    def wire_name(self, name: str, member: Shape) -> str:
        """Return a member's name in its place."""
        return documents.member_name(name, member)

    def claims(self, request: HttpRequest) -> bool:
        """Say whether this service has such a method and path."""
        return self._find_route(request) is not None

    def read_action(self, request: HttpRequest) -> tuple[str, Parts]:
        """Return what the method and the path stand for, and the request's parts."""
        found = self._find_route(request)
        if found is None:
            raise errors.unknown_route()
        return found[0], Parts(labels=found[1], request=request)

    def parse(self, operation: str, parameters: Parts) -> dict[str, Any]:
        """Read the parts into what a boto3 user would pass."""
        shape = get_operation_model(self.service, operation).input_shape
        members = shape.members if shape is not None else {}
        pairs = [pair for pair in split_pairs(parameters.request.query) if pair[0] not in SIGNATURE_PARAMETERS]
        parsed = self._read_body(operation, shape, parameters.request.body)
        unread = {name for name, _ in pairs}
        for name, member in members.items():
            location, wire_name = member.serialization.get("location"), documents.member_name(name, member)
            if location == "uri":
                text = _decode_label(parameters.labels[wire_name], wire_name)
                parsed[name] = READERS[member.type_name](text, wire_name)
            elif location == "querystring":
                unread.discard(wire_name)
                values = [value for given, value in pairs if given == wire_name]
                if values:
                    parsed[name] = _read_query_member(member, wire_name, values)
            elif location == "header":
                header = parameters.request.find_header(wire_name.lower())
                if header is not None:
                    parsed[name] = READERS[member.type_name](header, wire_name)
        for name in sorted(unread):
            raise errors.unknown_parameter(name[:200])
        return parsed

    def serialize(self, operation: str, reply: Mapping[str, Any], request_id: str) -> Reply:
        """Write a reply: its headers, and its document or the one member that is the body."""
        model = get_operation_model(self.service, operation)
        members = output_members(model)
        in_headers = {name for name, member in members.items() if member.serialization.get("location") == "header"}
        headers = [
            (documents.member_name(name, members[name]).lower(), _write_header(reply[name]))
            for name in in_headers
            if reply.get(name) is not None
        ]
        payload = model.output_shape.serialization.get("payload") if model.output_shape is not None else None
        status = int(model.http.get("responseCode") or 200)
        content_type = _CONTENT_TYPE
        if payload is not None:
            body, content_type = reply.get(payload, b""), "application/octet-stream"
        elif status == _NO_CONTENT:
            body = b""
        else:
            rest = {name: value for name, value in reply.items() if name not in in_headers}
            body = documents.dump(self._get_writer(operation)(rest))
        return Reply(status=status, body=body, content_type=content_type, request_id=request_id, headers=tuple(headers))

    def translate(self, error: ApiError) -> ApiError:
        """Return the error in the service's own codes."""
        return codes.translate(self.service, codes.JSON, error)

    def serialize_error(self, error: ApiError, request_id: str) -> Reply:
        """Write an error's document; its code stands in a header."""
        return Reply(
            status=error.status,
            body=documents.dump(documents.error_document(self.service, error)),
            content_type=_CONTENT_TYPE,
            request_id=request_id,
            headers=(("x-amzn-errortype", error.code),),
        )

    def _find_route(self, request: HttpRequest) -> tuple[str, dict[str, bytes]] | None:
        segments = request.raw_path.split(b"/")[1:]
        for route in self._routes:
            labels = route.match(request.method, segments)
            if labels is not None:
                return route.action, labels
        return None

    def _read_body(self, operation: str, shape: Shape | None, body: bytes) -> dict[str, Any]:
        payload = shape.serialization.get("payload") if shape is not None else None
        if payload is not None:
            return {payload: body}
        parsed = self._get_reader(operation)(documents.load(body), "")
        assert isinstance(parsed, dict)
        return parsed

    def _compile_body_reader(self, operation: str) -> documents.Read:
        return self._readers.compile_members(_in_body(input_members(get_operation_model(self.service, operation))))

    def _compile_body_writer(self, operation: str) -> documents.Write:
        return self._writers.compile_members(_in_body(output_members(get_operation_model(self.service, operation))))


def _in_body(members: Mapping[str, Shape]) -> dict[str, Shape]:
    places = {name: member.serialization.get("location") for name, member in members.items()}
    if others := {place for place in places.values() if place is not None and place not in _LOCATIONS}:
        raise ValueError(f"members at {sorted(others)} are not read or written here")
    return {name: member for name, member in members.items() if places[name] is None}


def _make_route(service: str, operation: str) -> _Route:
    http = get_operation_model(service, operation).http
    uri = str(http["requestUri"])
    if "?" in uri or "+}" in uri:
        raise ValueError(f"the path of {operation} is of a form that is not matched here: {uri}")
    return _Route(action=operation, method=http["method"], segments=tuple(uri.split("/")[1:]))


def _decode_label(text: bytes, name: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise errors.invalid_character(name) from None


def _read_query_member(member: Shape, name: str, values: list[str]) -> object:
    if member.type_name == "list":
        return [READERS[member.member.type_name](value, name) for value in values]
    if len(values) > 1:
        raise errors.malformed_query_string(f"The parameter {name} is given twice")
    return READERS[member.type_name](values[0], name)


def _write_header(value: object) -> str:
    return write_boolean(value) if isinstance(value, bool) else str(value)
