"""The HTTP server with the limits that uvicorn's fast parser leaves out.

Invariant: a connection whose request head is endless or never ends is closed, and costs a bounded amount of
memory until then. (Bodies are limited in http.py, where they are read.)
"""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Presigned requests carry all their parameters in the first line.
_MAX_HEAD_BYTES = 256 * 1024
_HEAD_TIMEOUT_S = 20


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with a limit on the size and the duration of what comes before a body."""

    head_timeout_s: float = _HEAD_TIMEOUT_S
    _unparsed_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it is too much."""
        self._unparsed_bytes += len(data)
        if self._unparsed_bytes > _MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Start to wait for the rest of another request's head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._unparsed_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body is there; the app counts those."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def make_server(app: Any, *, host: str, port: int) -> uvicorn.Server:
    """Return a uvicorn server for the app; the caller runs it and has configured logging."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=LimitedProtocol,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=10,
            limit_concurrency=1000,
            ws="none",
        )
    )
