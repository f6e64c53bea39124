"""Public addresses over UDP: one host socket per open port, one socket in the VPC per client.

Invariant: as with TCP, a client is checked against the rules by its own address; flows are bounded in number
and end after a silent minute.
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from bakehouse.network.addressing import GATEWAY_ADDRESS
from bakehouse.network.exposure import is_admitted
from bakehouse.network.forwarder import MakeSocket
from bakehouse.network.spec import UDP, NetworkError, RuleSpec

log = logging.getLogger(__name__)

FLOW_LIMIT = 256
IDLE_TIMEOUT_S = 60
_WAITING_LIMIT = 64
_LARGEST = 65535
_BATCH = 32

Client = tuple[str, int]


@dataclass
class _Flow:
    """One client's packets to one port. Until the guest's socket is there, packets wait."""

    port: int
    client: Client
    guest: socket.socket | None = None
    waiting: list[bytes] = field(default_factory=list)
    last_used: float = field(default_factory=time.monotonic)


class UdpForwarder:
    """One public address; follows the rules it is given."""

    def __init__(self, *, public_ip: str, private_ip: str, make_socket: MakeSocket) -> None:
        self._public_ip, self._private_ip = public_ip, private_ip
        self._make_socket = make_socket
        self._loop = asyncio.get_running_loop()
        self._rules: Sequence[RuleSpec] = ()
        self._servers: dict[int, socket.socket] = {}
        self._flows: dict[tuple[int, Client], _Flow] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def follow(self, rules: Sequence[RuleSpec], ports: frozenset[int]) -> None:
        """Take on new rules: open and close ports; flows to closed ports end."""
        self._rules = rules
        for port in set(self._servers) - ports:
            server = self._servers.pop(port)
            self._loop.remove_reader(server)
            server.close()
        for flow in [flow for flow in self._flows.values() if flow.port not in ports]:
            self._end(flow)
        for port in sorted(ports - set(self._servers)):
            self._open(port)

    def close(self) -> None:
        """Close everything."""
        self.follow((), frozenset())
        for task in self._opening:
            task.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _open(self, port: int) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            server.setblocking(False)
            server.bind((self._public_ip, port))
        except OSError as error:
            server.close()
            # Programs that serve UDP on all addresses are common, and no client falls back for us.
            level = logging.INFO if error.errno == errno.EADDRINUSE else logging.WARNING
            log.log(level, "%s: cannot serve UDP port %d: %s", self._public_ip, port, error.strerror)
            return
        self._servers[port] = server
        self._loop.add_reader(server, self._from_client, port)

    def _from_client(self, port: int) -> None:
        server = self._servers[port]
        for _ in range(_BATCH):
            try:
                packet, client = server.recvfrom(_LARGEST)
            except OSError:
                return
            if not is_admitted(self._rules, UDP, port, IPv4Address(client[0])):
                continue
            flow = self._flows.get((port, client)) or self._begin(port, client)
            if flow is None:
                continue
            flow.last_used = time.monotonic()
            if flow.guest is None:
                if len(flow.waiting) < _WAITING_LIMIT:
                    flow.waiting.append(packet)
            else:
                self._to_guest(flow, packet)

    def _begin(self, port: int, client: Client) -> _Flow | None:
        if len(self._flows) >= FLOW_LIMIT:
            return None
        flow = _Flow(port=port, client=client)
        self._flows[port, client] = flow
        task = self._loop.create_task(self._connect(flow))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(IDLE_TIMEOUT_S / 2, self._sweep)
        return flow

    async def _connect(self, flow: _Flow) -> None:
        try:
            guest = await self._make_socket()
        except (OSError, NetworkError):
            self._end(flow)
            return
        if self._flows.get((flow.port, flow.client)) is not flow:
            guest.close()
            return
        flow.guest = guest
        try:
            guest.bind((str(GATEWAY_ADDRESS), 0))
            guest.connect((self._private_ip, flow.port))
        except OSError:
            self._end(flow)
            return
        self._loop.add_reader(guest, self._from_guest, flow)
        for packet in flow.waiting:
            self._to_guest(flow, packet)
        flow.waiting.clear()

    def _to_guest(self, flow: _Flow, packet: bytes) -> None:
        if flow.guest is not None:
            with suppress(OSError):  # a port unreachable of the guest, or a full queue: UDP may lose
                flow.guest.send(packet)

    def _from_guest(self, flow: _Flow) -> None:
        server = self._servers.get(flow.port)
        for _ in range(_BATCH):
            if flow.guest is None or server is None:
                return
            try:
                packet = flow.guest.recv(_LARGEST)
            except OSError:
                return
            flow.last_used = time.monotonic()
            with suppress(OSError):
                server.sendto(packet, flow.client)

    def _sweep(self) -> None:
        oldest = time.monotonic() - IDLE_TIMEOUT_S
        for flow in [flow for flow in self._flows.values() if flow.last_used < oldest]:
            self._end(flow)
        self._sweeper = self._loop.call_later(IDLE_TIMEOUT_S / 2, self._sweep) if self._flows else None

    def _end(self, flow: _Flow) -> None:
        self._flows.pop((flow.port, flow.client), None)
        if flow.guest is not None:
            self._loop.remove_reader(flow.guest)
            flow.guest.close()
            flow.guest = None
