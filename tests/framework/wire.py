"""The wire from the other side: requests as botocore writes and signs them, replies as it reads them,
values filled from the models, and a generator of hostile requests.
"""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth, SigV4QueryAuth  # type: ignore[import-untyped]
from botocore.awsrequest import (  # type: ignore[import-untyped]
    AWSRequest,
    HeadersDict,
    create_request_object,
    prepare_request_dict,
)
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from botocore.parsers import create_parser  # type: ignore[import-untyped]
from botocore.serialize import create_serializer  # type: ignore[import-untyped]

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import Shape, get_operation_model, service_model
from bakehouse.api.protocol.interface import Codec, Reply
from bakehouse.api.services import make_codec

ENDPOINT = "http://127.0.0.1:4566/"
AWKWARD_TEXT = "a & b <c> \"d\" 'e' é \U0001f980 + % = \r\n\t]]>"
SCALARS: dict[str, Any] = {
    "string": AWKWARD_TEXT,
    "integer": -7,
    "long": 2**40,
    "double": 0.1,
    "float": 2.5,
    "boolean": True,
    "timestamp": datetime(2026, 1, 31, 12, 30, 59, tzinfo=UTC),
    "blob": b"\x00\xff binary",
}


@cache
def codec(service: str) -> Codec:
    """Our side: the codec under test."""
    return make_codec(service)


def write_request(service: str, operation: str, parameters: Mapping[str, Any]) -> HttpRequest:
    """The request, not signed, that botocore sends for these parameters."""
    model = get_operation_model(service, operation)
    serializer = create_serializer(service_model(service).metadata["protocol"], include_validation=False)
    request = serializer.serialize_to_request(parameters, model)
    prepare_request_dict(request, endpoint_url=ENDPOINT)
    prepared = create_request_object(request).prepare()
    path, _, query = prepared.url.removeprefix(ENDPOINT.rstrip("/")).partition("?")
    body = prepared.body or b""
    return HttpRequest(
        method=prepared.method,
        raw_path=path.encode(),
        query=query.encode(),
        headers=tuple((str(name).lower(), _text(value)) for name, value in prepared.headers.items()),
        body=body if isinstance(body, bytes) else body.encode(),
    )


def read_request(service: str, request: HttpRequest) -> tuple[str, dict[str, Any]]:
    """What our side makes of a request: the operation and its parameters."""
    ours = codec(service)
    action, unread = ours.read_action(request)
    return action, ours.parse(action, unread)


def write_parameters(service: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """The form pairs (Action and Version included) that botocore sends for these parameters."""
    serializer = create_serializer(service_model(service).metadata["protocol"], include_validation=False)
    body = serializer.serialize_to_request(parameters, get_operation_model(service, operation))["body"]
    return {name: str(value) for name, value in body.items()}


def read(service: str, operation: str, reply: Reply) -> dict[str, Any]:
    """What botocore makes of a reply, its headers too."""
    headers = {"x-amzn-requestid": reply.request_id, **dict(reply.headers)}
    return read_reply(service, operation, reply.body, reply.status, headers)


def read_reply(
    service: str, operation: str, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What botocore makes of a reply's bytes."""
    parser = create_parser(service_model(service).metadata["protocol"])
    response = {"status_code": status, "headers": HeadersDict(headers or {}), "body": body}
    parsed = parser.parse(response, get_operation_model(service, operation).output_shape)
    assert isinstance(parsed, dict)
    return parsed


def sign(
    pairs: Mapping[str, str] | bytes,
    *,
    access_key_id: str,
    secret_access_key: str,
    service: str = "ec2",
    region: str = "us-east-1",
    token: str | None = None,
    presigned_for_s: int | None = None,
    more_headers: Mapping[str, str] | None = None,
) -> HttpRequest:
    """A request signed by botocore, as the gateway receives it; its form as pairs, or as it is."""
    form = pairs if isinstance(pairs, bytes) else urlencode(pairs).encode()
    credentials = Credentials(access_key_id, secret_access_key, token)
    if presigned_for_s is None:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", **(more_headers or {})}
        unsigned = AWSRequest("POST", ENDPOINT, headers=headers, data=form)
        SigV4Auth(credentials, service, region).add_auth(unsigned)
    else:
        unsigned = AWSRequest("GET", f"{ENDPOINT}?{form.decode()}")
        SigV4QueryAuth(credentials, service, region, expires=presigned_for_s).add_auth(unsigned)
    prepared = unsigned.prepare()
    body = prepared.body or b""
    names = {str(name).lower(): _text(value) for name, value in prepared.headers.items()}
    return HttpRequest(
        method=prepared.method,
        raw_path=b"/",
        query=prepared.url.partition("?")[2].encode(),
        headers=(("host", "127.0.0.1:4566"), *names.items()),
        body=body if isinstance(body, bytes) else body.encode(),
    )


def sign_request(
    request: HttpRequest, credentials: tuple[str, str], service: str, region: str = "us-east-1"
) -> HttpRequest:
    """The same request, signed by botocore."""
    url = ENDPOINT.rstrip("/") + request.raw_path.decode() + ("?" + request.query.decode() if request.query else "")
    headers = {name: value for name, value in request.headers if name != "content-length"}
    unsigned = AWSRequest(request.method, url, headers=headers, data=request.body)
    SigV4Auth(Credentials(*credentials), service, region).add_auth(unsigned)
    names = {str(name).lower(): _text(value) for name, value in unsigned.headers.items()}
    signed = (("host", "127.0.0.1:4566"), *((name, value) for name, value in names.items() if name != "host"))
    return replace(request, headers=signed)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def fill(shape: Shape | None, above: tuple[str, ...] = ()) -> Any:
    """A value with every member of a shape, lists of two, text that needs escaping; what holds itself once."""
    if shape is None:
        return {}
    inside = (*above, shape.name)
    if shape.type_name == "structure":
        members = {name: member for name, member in shape.members.items() if member.name not in inside}
        names = list(members)[:1] if shape.metadata.get("union") else members
        return {name: fill(members[name], inside) for name in names}
    if shape.type_name == "list":
        return [fill(shape.member, inside), fill(shape.member, inside)]
    if shape.type_name == "map":
        return {key: fill(shape.value, inside) for key in ("a & b", "é")}
    if getattr(shape, "enum", ()):
        return shape.enum[-1]
    return SCALARS[shape.type_name]


def fill_least(shape: Shape | None) -> Any:
    """A value with the required members only; where none is, the first (the wire has no empty structures)."""
    return {} if shape is None else {name: _least(shape.members[name]) for name in shape.required_members}


def _least(shape: Shape) -> Any:
    if shape.type_name == "structure":
        names = shape.required_members or list(shape.members)[:1]
        return {name: _least(shape.members[name]) for name in names}
    if shape.type_name == "list":
        return [_least(shape.member)]
    if shape.type_name == "map":
        return {"key": _least(shape.value)}
    if getattr(shape, "enum", ()):
        return shape.enum[0]
    return SCALARS[shape.type_name]


NASTY_TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "1e309",
    "NaN",
    "9" * 19,
    "9" * 400,
    "true",
    "null",
    "None",
    "[]",
    "{}",
    "\x00",
    "\x1b[31m",
    "\ufeff",
    "\uffff",
    "\u202e",
    "é" * 300,
    "a" * 70_000,
    "' OR 1=1 --",
    "%s%n{0}",
    "../../../../etc/passwd",
    "/dev/../../etc",
    "<!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "]]>",
    "$(reboot)",
    "`id`",
    "-drive file=/etc/shadow",
    "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00Z",
    "99999999999999",
    "=",
    "====",
    "ami-",
    "i-0123456789abcdef0",
    "i-" + "0" * 400,
    "ami-0000000000000000g",
    "sg-\n",
    "*" * 255,
    "\\",
    "tag:",
    "255.255.255.255/33",
    "::/0",
    "0.0.0.0/0",
)


def _leaves(shape: Shape, service: str, prefix: str) -> Iterator[tuple[str, Shape]]:
    """Every scalar parameter of a shape by its name on the wire, lists at index 1."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            wire_name = codec(service).wire_name(name, member)
            yield from _leaves(member, service, f"{prefix}.{wire_name}" if prefix else wire_name)
    elif shape.type_name == "list":
        infix = "" if service == "ec2" else ".member"
        yield from _leaves(shape.member, service, f"{prefix}{infix}.1")
    else:
        yield prefix, shape


def hostile_requests(service: str, operation: str, *, seed: int, count: int) -> Iterator[HttpRequest]:
    """``count`` unsigned requests of one operation in its service's protocol; the same for the same seed."""
    if service_model(service).metadata["protocol"] in ("ec2", "query"):
        for pairs in hostile_pairs(service, operation, seed=seed, count=count):
            yield HttpRequest(method="POST", raw_path=b"/", query=b"", headers=(), body=urlencode(pairs).encode())
        return
    rng = random.Random(f"{seed} {operation}")
    shape = get_operation_model(service, operation).input_shape
    least, most = fill_least(shape), fill(shape)
    for _ in range(count):
        sent = {**least, **{name: value for name, value in most.items() if rng.random() < 0.3}}
        request = write_request(service, operation, sent)
        document = json.loads(request.body or b"{}")
        for _twist in range(rng.randint(1, 3)):
            document = _spoil_document(rng, document)
        body = json.dumps(document).encode() if rng.random() < 0.9 else rng.choice(_HOSTILE_BODIES)
        query = rng.choice((request.query, request.query, b"a=1", b"tagKeys=%ff", b"maxResults=x&maxResults=y"))
        path = request.raw_path.replace(b"%20", rng.choice((b"%20", b"%00", b"%ff", b"", b"%2F")))
        yield replace(request, body=body, query=query, raw_path=path)


def _spoil_document(rng: random.Random, document: Any) -> Any:
    """The document with one value, somewhere in it, turned into another."""
    if isinstance(document, dict) and document and rng.random() < 0.8:
        name = rng.choice(sorted(document))
        if rng.random() < 0.1:
            return {**document, rng.choice(NASTY_TEXTS[:30]): 1}
        return {**document, name: _spoil_document(rng, document[name])}
    if isinstance(document, list) and document and rng.random() < 0.7:
        return [*document[1:], _spoil_document(rng, document[0])]
    return rng.choice((None, True, -1, 2**70, 1.5, 1e300, [], {}, [[]], {"a": {}}, *NASTY_TEXTS))


_HOSTILE_BODIES = (
    b"",
    b"null",
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b'{"a": NaN}',
    b'{"a": 1, "a": 2}',
    b"\xff\xfe",
    b'"\\ud800"',
    b"9" * 10_000,
    b"a=1&b=2",
)


def hostile_pairs(service: str, operation: str, *, seed: int, count: int) -> Iterator[dict[str, str]]:
    """``count`` requests of one operation, each well-formed but for a few parameters; the same for the
    same seed.

    Ids that the caller knows to exist can be mixed in by replacing values afterwards.
    """
    rng = random.Random(f"{seed} {operation}")
    model = get_operation_model(service, operation)
    leaves = list(_leaves(model.input_shape, service, "")) if model.input_shape else []
    least = write_parameters(service, operation, fill_least(model.input_shape))
    for _ in range(count):
        pairs = dict(least)
        for name, shape in rng.sample(leaves, min(len(leaves), rng.randint(0, 4))):
            pairs[name] = _some_value(rng, shape)
        for _twist in range(rng.randint(0, 2)):
            _spoil(rng, pairs)
        yield {**pairs, "Action": operation, "Version": service_model(service).metadata["apiVersion"]}


def _some_value(rng: random.Random, shape: Shape) -> str:
    if getattr(shape, "enum", ()) and rng.random() < 0.5:
        return str(rng.choice(shape.enum))
    if shape.type_name in ("integer", "long") and rng.random() < 0.6:
        return str(rng.choice((-1, 0, 1, 2, 5, 1000, 1001, 65535, 65536, 2**31 - 1, 2**31, 2**63)))
    if shape.type_name == "boolean" and rng.random() < 0.6:
        return rng.choice(("true", "false", "True"))
    return rng.choice(NASTY_TEXTS)


def _spoil(rng: random.Random, pairs: dict[str, str]) -> None:
    names = [name for name in pairs if name not in ("Action", "Version")]
    name = rng.choice(names) if names else "X"
    twist = rng.randrange(7)
    if twist == 0:
        pairs.pop(name, None)
    elif twist == 1:
        pairs[f"{name}.{rng.choice(('0', '1', '-1', '01', '999999999999', 'x', ''))}"] = rng.choice(NASTY_TEXTS)
    elif twist == 2:
        pairs[name.rpartition(".")[0] or "Unheard"] = rng.choice(NASTY_TEXTS)
    elif twist == 3:
        pairs[name.swapcase()] = "1"
    elif twist == 4:
        pairs[".".join(["Deep"] * rng.choice((3, 30, 3000)))] = "1"
    elif twist == 5:
        pairs["N" * rng.choice((10, 2000))] = "1"
    else:
        pairs[name] = rng.choice(NASTY_TEXTS)
