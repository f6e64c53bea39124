"""The instance metadata service (169.254.169.254): HTTP for guests, versions 1 and 2.

Invariant: who asks is the peer address inside the VPC, which the firewall pins to the interface; the answer
comes from that instance's metadata alone. Guests are hostile: sizes, time and connections are bounded.
Source: EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import unquote

from bakehouse.guest.metadata_tokens import LONGEST_TTL_S, TokenMint
from bakehouse.guest.metadata_tree import (
    VERSIONS,
    GroupName,
    InstanceMetadata,
    RoleCredentials,
    find,
    listing,
    metadata_tree,
)

__all__ = ["GroupName", "InstanceMetadata", "Lookup", "MetadataServer", "MintCredentials"]

log = logging.getLogger(__name__)

TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105  # a header's name
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_PATH = ["latest", "api", "token"]
_CREDENTIALS_PATH = ["meta-data", "iam", "security-credentials"]
_HEAD_LIMIT = 8 * 1024
_BODY_LIMIT = 1024
_DIGITS_LIMIT = 8
_REQUEST_TIMEOUT_S = 10.0
_FAR = 64
_CONNECTIONS_PER_GUEST = 32
_CONNECTIONS_PER_VPC = 512

# (vpc id, private address) -> what the instance there may know; may block (it runs in a thread).
Lookup = Callable[[str, str], InstanceMetadata | None]
# Instance id -> its keys as its role; None when the role does not trust EC2. Asked only when a guest asks.
MintCredentials = Callable[[str], RoleCredentials | None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One parsed request; header names are lower case."""

    method: str
    path: list[str]
    ends_in_slash: bool
    headers: Mapping[str, str]
    keeps_alive: bool


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One reply; ``hop_limit`` is the IP time to live of its packets, where it is limited."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    hop_limit: int | None = None


_UNAUTHORIZED = Reply(status=HTTPStatus.UNAUTHORIZED)
_NOT_FOUND = Reply(status=HTTPStatus.NOT_FOUND)


class MetadataServer:
    """Answers for all instances of this host."""

    def __init__(self, lookup: Lookup, mint_credentials: MintCredentials) -> None:
        self._lookup = lookup
        self._mint_credentials = mint_credentials
        self._tokens = TokenMint()

    async def serve(self, vpc_id: str, listener: socket.socket) -> None:
        """Serve one VPC on its listening socket until cancelled; closes the socket."""
        connections: Counter[str] = Counter()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = writer.get_extra_info("peername")
            guest = peer[0] if peer else ""
            crowded = connections[guest] >= _CONNECTIONS_PER_GUEST
            if not guest or crowded or connections.total() >= _CONNECTIONS_PER_VPC:
                writer.transport.abort()
                return
            connections[guest] += 1
            try:
                await self._converse(vpc_id, guest, reader, writer)
            finally:
                connections[guest] -= 1
                if not connections[guest]:
                    del connections[guest]

        server = await asyncio.start_server(converse, sock=listener, limit=_HEAD_LIMIT)
        async with server:
            await server.serve_forever()

    def answer(self, vpc_id: str, guest: str, request: Request) -> Reply:
        """Answer one request of the instance at address ``guest``; may block in the lookup."""
        about = self._lookup(vpc_id, guest)
        if about is None:
            return Reply(status=HTTPStatus.NOT_FOUND)
        if not about.is_enabled:
            return Reply(status=HTTPStatus.FORBIDDEN)
        if request.method == "PUT":
            return self._issue_token(about, request)
        if request.method not in ("GET", "HEAD"):
            return Reply(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD, PUT"})
        if not self._may_read(about, request):
            return _UNAUTHORIZED
        return _read(self._with_credentials(about, request), request)

    def _with_credentials(self, about: InstanceMetadata, request: Request) -> InstanceMetadata:
        """Keys are made for the question that asks for them, and for no other."""
        profile = about.profile
        if profile is None or profile.role_name is None or request.ends_in_slash:
            return about
        if request.path[1:] != [*_CREDENTIALS_PATH, profile.role_name]:
            return about
        credentials = self._mint_credentials(about.instance_id)
        return replace(about, profile=replace(profile, credentials=credentials))

    def _may_read(self, about: InstanceMetadata, request: Request) -> bool:
        token = request.headers.get(TOKEN_HEADER)
        if token is None:
            return not about.requires_token
        return self._tokens.is_good(token, about.instance_id)

    def _issue_token(self, about: InstanceMetadata, request: Request) -> Reply:
        if request.path != _TOKEN_PATH:
            return Reply(status=HTTPStatus.NOT_FOUND)
        if "x-forwarded-for" in request.headers:  # an open proxy in the guest must not fetch tokens
            return Reply(status=HTTPStatus.FORBIDDEN)
        ttl_s = _number(request.headers.get(TTL_HEADER, ""))
        if ttl_s is None or not 1 <= ttl_s <= LONGEST_TTL_S:
            return Reply(status=HTTPStatus.BAD_REQUEST)
        return Reply(
            status=HTTPStatus.OK,
            body=self._tokens.issue(about.instance_id, ttl_s).encode(),
            headers={"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": str(ttl_s)},
            hop_limit=about.hop_limit,
        )

    async def _converse(
        self, vpc_id: str, guest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            keeps_alive = True
            while keeps_alive:
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    request = await _read_request(reader)
                if request is None:
                    reply, keeps_alive = Reply(status=HTTPStatus.BAD_REQUEST), False
                else:
                    reply = await self._answer_safely(vpc_id, guest, request)
                    keeps_alive = request.keeps_alive
                is_head = request is not None and request.method == "HEAD"
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    await _write_reply(writer, reply, keeps_alive=keeps_alive, is_head=is_head)
        except (OSError, TimeoutError, EOFError):
            return
        finally:
            writer.close()

    async def _answer_safely(self, vpc_id: str, guest: str, request: Request) -> Reply:
        try:
            return await asyncio.to_thread(self.answer, vpc_id, guest, request)
        except Exception:
            log.exception("metadata for %s in %s failed", guest, vpc_id)
            return Reply(status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _read(about: InstanceMetadata, request: Request) -> Reply:
    """Answer a GET that is allowed."""
    if not request.path:
        return _text("\n".join((*VERSIONS, "latest")))
    version, *path = request.path
    if version != "latest" and version not in VERSIONS:
        return _NOT_FOUND
    if not path:
        names = ["dynamic", "meta-data", *(["user-data"] if about.user_data is not None else [])]
        return _text("\n".join(names))
    if path == ["user-data"] and about.user_data is not None:
        return Reply(status=HTTPStatus.OK, body=about.user_data, content_type="application/octet-stream")
    node = find(metadata_tree(about), path)
    if node is None or (isinstance(node, str) and request.ends_in_slash):
        return _NOT_FOUND
    return _text(node if isinstance(node, str) else listing(node, path))


def _text(body: str) -> Reply:
    return Reply(status=HTTPStatus.OK, body=body.encode())


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; None when it is malformed or too large, EOFError when there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None
    except asyncio.IncompleteReadError as error:
        raise EOFError from error
    request = parse_head(head)
    if request is None or "transfer-encoding" in request.headers:
        return None
    length = _number(request.headers.get("content-length", "0"))
    if length is None or length > _BODY_LIMIT:
        return None
    await reader.readexactly(length)
    return request


def _number(text: str) -> int | None:
    """A header's number; None when it is none, or longer than any that is wanted here."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_LIMIT else None


def parse_head(head: bytes) -> Request | None:
    """Parse a request line and headers (ends in a blank line); None when malformed."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers[name.lower()] = value.strip()
    target = unquote(words[1].partition("?")[0])
    connection = headers.get("connection", "").lower()
    return Request(
        method=words[0],
        path=[part for part in target.split("/") if part],
        ends_in_slash=target.endswith("/"),
        headers=headers,
        keeps_alive=connection != "close" if words[2] == "HTTP/1.1" else connection == "keep-alive",
    )


async def _write_reply(writer: asyncio.StreamWriter, reply: Reply, *, keeps_alive: bool, is_head: bool) -> None:
    hop_limit = _FAR if reply.hop_limit is None else max(1, min(_FAR, reply.hop_limit))
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
    lines = [
        f"HTTP/1.1 {reply.status.value} {reply.status.phrase}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        f"Connection: {'keep-alive' if keeps_alive else 'close'}",
        "Server: EC2ws",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if is_head else reply.body))
    await writer.drain()
