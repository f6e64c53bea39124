"""What the service offers inside a VPC's namespace: DHCP, DNS, the metadata service, and sockets for clients.

Invariant: the sockets belong to the namespace, the code runs here; they outlive an agent that is replaced.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from bakehouse.network.addressing import LINK_LOCAL_RESOLVER, METADATA_ADDRESS, vpc_resolver
from bakehouse.network.agent_client import AgentClient
from bakehouse.network.dhcp import SERVER_PORT, SOCKET_OPTIONS, DhcpServer, Lease
from bakehouse.network.dns import Zone
from bakehouse.network.dns_relay import PORT, DnsServer, Upstreams
from bakehouse.network.spec import VpcSpec

log = logging.getLogger(__name__)

METADATA_PORT = 80
_REUSE = ((socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),)
_BACKLOG = 128

# Serves the metadata service of a VPC on a listening socket until cancelled.
ServeMetadata = Callable[[str, socket.socket], Coroutine[Any, Any, None]]


class NamespaceServices:
    """DHCP, DNS and metadata of one VPC."""

    def __init__(self, dhcp: DhcpServer, dns: DnsServer, metadata: asyncio.Task[None]) -> None:
        self._dhcp, self._dns, self._metadata = dhcp, dns, metadata

    @classmethod
    async def start(
        cls,
        spec: VpcSpec,
        agent: AgentClient,
        *,
        find_lease: Callable[[int], Lease | None],
        zone: Callable[[], Zone],
        upstreams: Upstreams,
        serve_metadata: ServeMetadata,
    ) -> "NamespaceServices":
        """Take sockets from the agent and serve on them."""
        (dhcp,) = await agent.make_sockets("dgram", options=SOCKET_OPTIONS, bind=("", SERVER_PORT))
        (metadata,) = await agent.make_sockets(
            "stream", options=_REUSE, bind=(str(METADATA_ADDRESS), METADATA_PORT), listen=_BACKLOG
        )
        datagrams, listeners = [], []
        for address in (str(vpc_resolver(spec.cidr)), str(LINK_LOCAL_RESOLVER)):
            datagrams += await agent.make_sockets("dgram", bind=(address, PORT))
            listeners += await agent.make_sockets("stream", options=_REUSE, bind=(address, PORT), listen=_BACKLOG)
        dns = DnsServer(datagram_sockets=datagrams, listeners=listeners, zone=zone, upstreams=upstreams)
        task = asyncio.create_task(serve_metadata(spec.vpc_id, metadata))
        task.add_done_callback(_report_end)
        return cls(DhcpServer(dhcp, find_lease), dns, task)

    def close(self) -> None:
        """Stop serving."""
        self._dhcp.close()
        self._dns.close()
        self._metadata.cancel()


class SocketPool:
    """Unbound sockets of the namespace, a few made ahead, so that a new client waits for no agent."""

    def __init__(self, kind: str, find_agent: Callable[[], Awaitable[AgentClient]], *, size: int) -> None:
        self._kind, self._find_agent, self._size = kind, find_agent, size
        self._idle: list[socket.socket] = []
        self._refilling: asyncio.Task[None] | None = None

    async def take(self) -> socket.socket:
        """Return a socket; the caller owns it. NetworkError when no agent can make one."""
        if len(self._idle) <= self._size // 2 and (self._refilling is None or self._refilling.done()):
            self._start_refill()
        while not self._idle:
            assert self._refilling is not None
            if self._refilling.done():
                self._refilling.result()
                self._start_refill()
            await asyncio.shield(self._refilling)
        return self._idle.pop()

    def close(self) -> None:
        """Close what is left."""
        if self._refilling is not None:
            self._refilling.cancel()
        while self._idle:
            self._idle.pop().close()

    def _start_refill(self) -> None:
        self._refilling = asyncio.create_task(self._refill())
        # A failure ahead of time is nobody's; who needs a socket tries again and sees it.
        self._refilling.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _refill(self) -> None:
        agent = await self._find_agent()
        self._idle += await agent.make_sockets(self._kind, count=self._size)


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the metadata service of a VPC ended", exc_info=error)
