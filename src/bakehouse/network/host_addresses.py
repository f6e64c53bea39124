"""The host's own addresses, kept current: what guests must not reach through the uplink.

Invariant: every address the host's kernel would take as local (its ``local`` routing table: assigned
addresses, whole local prefixes, broadcast addresses) is in the list, within milliseconds of its appearing.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Network

from bakehouse.host.run import CommandFailed, run

log = logging.getLogger(__name__)

_ADDRESS_GROUP, _ROUTE_GROUP = 0x10, 0x40  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE
_SETTLING_S = 0.02
_LOCAL_KINDS = ("local", "broadcast", "anycast")


def read_host_networks() -> tuple[IPv4Network, ...]:
    """Ask the kernel's local table. Blocks for some milliseconds; CommandFailed when ip cannot be run."""
    done = run(["ip", "-4", "-json", "route", "show", "table", "local"], timeout_s=10)
    routes = json.loads(done.stdout or "[]")
    networks = {IPv4Network(route["dst"]) for route in routes if route.get("type") in _LOCAL_KINDS}
    return tuple(sorted(networks))


class HostAddresses:
    """Watches the host's addresses and calls ``on_change`` on the loop when the list became another."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self.networks: tuple[IPv4Network, ...] = ()
        self._refreshing: asyncio.Task[None] | None = None
        self._is_stale = False
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._netlink.setblocking(False)
        self._netlink.bind((0, _ADDRESS_GROUP | _ROUTE_GROUP))
        self._loop.add_reader(self._netlink, self._changed)

    async def start(self) -> None:
        """Read the list for the first time."""
        self.networks = await asyncio.to_thread(read_host_networks)

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._netlink.fileno() < 0:
            return
        self._loop.remove_reader(self._netlink)
        self._netlink.close()
        if self._refreshing is not None:
            self._refreshing.cancel()

    def _changed(self) -> None:
        with suppress(OSError):  # ENOBUFS, too, only means that something changed
            while self._netlink.recv(65536):
                pass
        self._is_stale = True
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._loop.create_task(self._refresh())

    async def _refresh(self) -> None:
        while self._is_stale:
            self._is_stale = False
            try:
                networks = await asyncio.to_thread(read_host_networks)
            except CommandFailed:
                log.exception("the host's addresses could not be read")
                await asyncio.sleep(1)
                self._is_stale = True
                continue
            if networks != self.networks:
                self.networks = networks
                self._on_change()
            await asyncio.sleep(_SETTLING_S)
