"""Public addresses over TCP: listeners on the host, connections carried into the VPC.

Invariant: a listener exists exactly for the ports some rule opens to clients there can be, so the host's
kernel refuses the others; and each connection is checked against its client's own address. Inside the VPC it
arrives from the gateway address and passes the firewall again.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address

from bakehouse.network.addressing import GATEWAY_ADDRESS
from bakehouse.network.exposure import is_admitted
from bakehouse.network.listening import accept, open_listener
from bakehouse.network.spec import TCP, NetworkError, RuleSpec
from bakehouse.network.splice import join_sockets, reset

log = logging.getLogger(__name__)

CONNECTION_LIMIT = 1000
_ACCEPT_BATCH = 16
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESOURCE_PAUSE_S = 0.5
# A guest that is still starting answers none of the first SYNs; asking anew beats the kernel's back-off.
_DIAL_TIMEOUTS_S = (1.0, 2.0, 3.0, 4.0)
_IP_BIND_ADDRESS_NO_PORT = 24
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)
# Where a port cannot be had (no right to a low one, or taken by a program of the host), this much higher.
FALLBACK_OFFSET = 10000

MakeSocket = Callable[[], Awaitable[socket.socket]]


class TcpForwarder:
    """One public address; follows the rules it is given."""

    def __init__(self, *, public_ip: str, private_ip: str, make_socket: MakeSocket) -> None:
        self._public_ip, self._private_ip = public_ip, private_ip
        self._make_socket = make_socket
        self._loop = asyncio.get_running_loop()
        self._rules: Sequence[RuleSpec] = ()
        self._listeners: dict[int, socket.socket] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._is_full = False

    @property
    def endpoints(self) -> dict[int, int]:
        """Open port -> the host port that leads to it; they differ only where the fallback was needed."""
        return {port: listener.getsockname()[1] for port, listener in self._listeners.items()}

    def follow(self, rules: Sequence[RuleSpec], ports: frozenset[int]) -> None:
        """Take on new rules: open and close listeners. Connections that exist go on, as in EC2."""
        self._rules = rules
        for port in set(self._listeners) - ports:
            listener = self._listeners.pop(port)
            self._loop.remove_reader(listener)
            listener.close()
        for port in sorted(ports - set(self._listeners)):
            listener_or_none = self._listen(port, ports)
            if listener_or_none is not None:
                self._listeners[port] = listener_or_none
                self._resume(port)

    def close(self) -> None:
        """Close the listeners and every connection."""
        self.follow((), frozenset())
        for task in self._connections:
            task.cancel()

    def _listen(self, port: int, wanted: frozenset[int]) -> socket.socket | None:
        try:
            return open_listener(self._public_ip, port)
        except OSError as error:
            fallback = port + FALLBACK_OFFSET
            may_fall_back = error.errno in (errno.EACCES, errno.EADDRINUSE) and fallback not in wanted
            if may_fall_back and fallback < 1 << 16:
                with suppress(OSError):
                    listener = open_listener(self._public_ip, fallback)
                    log.warning(
                        "%s: port %d cannot be had (%s); port %d leads to it instead",
                        *(self._public_ip, port, error.strerror, fallback),
                    )
                    return listener
            log.warning("%s: cannot listen on port %d: %s", self._public_ip, port, error.strerror)
            return None

    def _resume(self, port: int) -> None:
        self._loop.add_reader(self._listeners[port], self._acceptable, port)

    def _acceptable(self, port: int) -> None:
        listener = self._listeners.get(port)
        for _ in range(_ACCEPT_BATCH):
            if listener is None or self._pause_when_full():
                return
            try:
                client, address = accept(listener)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:  # the queue keeps the rest for a while
                    self._pause()
                    self._loop.call_later(_RESOURCE_PAUSE_S, self._resume_all)
                return
            task = self._loop.create_task(self._carry(client, address, port))
            self._connections.add(task)
            task.add_done_callback(self._ended)

    def _pause_when_full(self) -> bool:
        """Leave further clients in the listeners' queues while the limit is reached."""
        if len(self._connections) < CONNECTION_LIMIT:
            return False
        self._pause()
        return True

    def _pause(self) -> None:
        self._is_full = True
        for listener in self._listeners.values():
            self._loop.remove_reader(listener)

    def _resume_all(self) -> None:
        if self._is_full:
            self._is_full = False
            for port in self._listeners:
                self._resume(port)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection to %s failed", self._public_ip, exc_info=error)
        self._resume_all()

    async def _carry(self, client: socket.socket, address: IPv4Address, port: int) -> None:
        with client:
            if not is_admitted(self._rules, TCP, port, address):
                reset(client)
                return
            try:
                for option in _KEEPALIVE:
                    client.setsockopt(*option)
                guest = await self._dial(port)
            except (OSError, TimeoutError, NetworkError):
                reset(client)
                return
            with guest:
                await join_sockets(client, guest)

    async def _dial(self, port: int) -> socket.socket:
        for timeout_s in _DIAL_TIMEOUTS_S:
            guest = await self._make_socket()
            try:
                for option in (*_KEEPALIVE, (socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)):
                    guest.setsockopt(*option)
                guest.bind((str(GATEWAY_ADDRESS), 0))
                async with asyncio.timeout(timeout_s):
                    await self._loop.sock_connect(guest, (self._private_ip, port))
            except TimeoutError:
                guest.close()
            except BaseException:
                guest.close()
                raise
            else:
                return guest
        raise TimeoutError
