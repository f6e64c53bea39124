"""HTTP around the gateway: reading a body within limits, a bounded thread pool, and the app.

Invariant: a slow, huge or vanished client costs a bounded amount of memory and never a worker thread, nor does it
keep a request that was read in full from being answered.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from bakehouse import errors
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.protocol.form import MAX_BODY_BYTES
from bakehouse.api.protocol.interface import Reply
from bakehouse.errors import ApiError

_THREADS = 16
# Requests read but not yet answered; beyond them a client is told to come back.
_MAX_WAITING = 256
# Of all the bodies that are being read.
_MAX_READ_BYTES = 64 << 20
_BODY_TIMEOUT_S = 20
_UNREAD_BODY = (408, 413, 503)
_WELCOME = """This is Bakehouse, a self-hosted service that speaks the EC2 API.
Point an AWS client at this address: export AWS_ENDPOINT_URL=http://HOST:PORT, with a key of yours.
"""


class Answers(Protocol):
    """What the app needs of the gateway."""

    def answer(self, request: HttpRequest) -> Reply:
        """Answer one request; runs in a worker thread."""
        ...

    def refuse(self, error: ApiError, head: HttpRequest) -> Reply:
        """Make the reply to a request whose body was not read."""
        ...


class _Bodies:
    """Reads bodies. When they take too much memory together, the one that takes the longest is given up."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # The bytes read so far, by the time limit; the first began first.
        self._sizes: dict[asyncio.Timeout, int] = {}

    async def read(self, request: Request) -> bytes:
        """The whole body; TimeoutError, RequestEntityTooLarge."""
        stated = request.headers.get("content-length", "0")
        if stated.isdigit() and int(stated) > MAX_BODY_BYTES:
            raise errors.request_entity_too_large(MAX_BODY_BYTES)
        body = bytearray()
        async with asyncio.timeout(self._timeout_s) as limit:
            self._sizes[limit] = 0
            try:
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise errors.request_entity_too_large(MAX_BODY_BYTES)
                    self._sizes[limit] = len(body)
                    self._make_room()
            finally:
                self._sizes.pop(limit, None)
        return bytes(body)

    def _make_room(self) -> None:
        while sum(self._sizes.values()) > _MAX_READ_BYTES:
            longest = next(iter(self._sizes))
            del self._sizes[longest]
            if not longest.expired():
                longest.reschedule(asyncio.get_running_loop().time())


class _Endpoint:
    def __init__(self, gateway: Answers, body_timeout_s: float) -> None:
        self._gateway = gateway
        self._bodies = _Bodies(body_timeout_s)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="request")
        self._waiting = 0

    async def answer(self, request: Request) -> Response:
        """Answer an API request; a browser that only looks gets a line of text."""
        if _is_browser(request):
            return PlainTextResponse(_WELCOME)
        try:
            return _respond(await self._answer(request))
        except ClientDisconnect:
            return Response(status_code=400)

    async def _answer(self, request: Request) -> Reply:
        head = _make_request(request, b"")
        try:
            body = await self._bodies.read(request)
        except TimeoutError:
            return self._gateway.refuse(errors.request_timeout(), head)
        except ApiError as error:
            return self._gateway.refuse(error, head)
        if self._waiting >= _MAX_WAITING:
            return self._gateway.refuse(errors.service_unavailable("Too many requests are waiting; try again."), head)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._gateway.answer, replace(head, body=body))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for the requests that are being answered."""
        self._threads.shutdown(wait=True)


def _is_browser(request: Request) -> bool:
    is_looking = request.method in ("GET", "HEAD") and request.url.path == "/"
    return is_looking and not request.url.query and "authorization" not in request.headers


def _make_request(request: Request, body: bytes) -> HttpRequest:
    scope = request.scope
    return HttpRequest(
        method=scope["method"],
        raw_path=scope.get("raw_path") or b"/",
        query=scope["query_string"],
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]),
        body=body,
        source_ip=scope["client"][0] if scope.get("client") else "",
        is_secure=scope.get("scheme") == "https",
    )


def _respond(reply: Reply) -> Response:
    headers = {"x-amzn-requestid": reply.request_id, "cache-control": "no-cache, no-store", **dict(reply.headers)}
    if reply.status in _UNREAD_BODY:
        # What is left of a body that was not read would be taken for the next request.
        headers["connection"] = "close"
    return Response(reply.body, reply.status, headers=headers, media_type=reply.content_type)


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


def create_app(
    gateway: Answers,
    *,
    more_routes: Sequence[BaseRoute] = (),
    on_stop: Callable[[], None] | None = None,
    body_timeout_s: float = _BODY_TIMEOUT_S,
) -> Starlette:
    """Return the ASGI app: ``/health``, ``more_routes`` (the console's files), and the API at every other path."""
    endpoint = _Endpoint(gateway, body_timeout_s)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(endpoint.close)
        if on_stop is not None:
            await asyncio.to_thread(on_stop)

    routes: list[BaseRoute] = [
        Route("/health", _health),
        *more_routes,
        # Services with paths of their own answer beside those that have none.
        Route("/{path:path}", endpoint.answer, methods=["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
