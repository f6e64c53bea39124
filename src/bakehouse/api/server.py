"""The HTTP server with the limits that uvicorn's fast parser leaves out.

Invariant: a connection whose request head is endless or never ends is closed, and costs a bounded amount of
memory until then. (Bodies are limited in http.py, where they are read.) There are only so many connections, and a
new one takes the place of the one that waits for its client the longest: whoever holds connections open keeps
nobody else out.
"""

import asyncio
import itertools
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Presigned requests carry all their parameters in the first line.
_MAX_HEAD_BYTES = 256 * 1024
_HEAD_TIMEOUT_S = 20
_MAX_CONNECTIONS = 1000


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with a limit on the size and the duration of what comes before a body.

    And on the number of connections.
    """

    head_timeout_s: float = _HEAD_TIMEOUT_S
    max_connections: int = _MAX_CONNECTIONS
    _unparsed_bytes = 0
    _moments = itertools.count()
    _waiting_since = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._await_client()
        self._await_head()
        if len(self.connections) > self.max_connections:
            self._close_longest_waiting()

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
        self._await_client()
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

    def on_response_complete(self) -> None:
        """Start to wait for the client to read the reply and to send another request."""
        self._await_client()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _waits_for_client(self) -> bool:
        """Whether there is no request that was read in full and not answered yet."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _await_client(self) -> None:
        # A loop's clock may stand still while several connections are made.
        self._waiting_since = next(self._moments)

    def _close_longest_waiting(self) -> None:
        waiting = [
            one
            for one in self.connections
            if isinstance(one, LimitedProtocol) and one._waits_for_client and not one.transport.is_closing()
        ]
        # One of them is this one. A connection that is merely closed stays until its client has read everything.
        min(waiting, key=lambda one: one._waiting_since).transport.abort()

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
            # Who asks is who is connected: such a header can be written by anybody, and policies ask for the address.
            proxy_headers=False,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=10,
            ws="none",
        )
    )
