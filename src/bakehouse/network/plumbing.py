"""One VPC at work: its agent, uplink, firewall, services and public addresses. For the loop's thread only.

Invariant: what is described (interfaces, groups) is kept here and rendered whole on each change, so the
namespace can always be brought back in step; an agent or uplink that dies is replaced, machines untouched.
"""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from bakehouse.errors import PartError
from bakehouse.network.addressing import tap_name
from bakehouse.network.agent_client import AgentClient, AgentRefusedError, AgentStatus
from bakehouse.network.arp import find_answering
from bakehouse.network.backoff import Backoff
from bakehouse.network.dhcp import Lease
from bakehouse.network.dns import Zone
from bakehouse.network.dns_relay import Upstreams
from bakehouse.network.firewall import TABLES, FirewallSpec, render
from bakehouse.network.links import (
    FORWARDING,
    NAMESPACE_SETTINGS,
    interface_commands,
    interface_settings,
    namespace_commands,
    removal_commands,
)
from bakehouse.network.namespace import (
    NamespaceHandles,
    find_member_namespaces,
    open_namespaces,
    start_agent,
)
from bakehouse.network.public_addresses import PublicAddresses
from bakehouse.network.services import NamespaceServices, ServeMetadata, SocketPool
from bakehouse.network.spec import GroupSpec, InterfaceSpec, NetworkError, VpcSpec
from bakehouse.network.uplink_keeper import UplinkKeeper
from bakehouse.paths import StateDirectory

log = logging.getLogger(__name__)

_IP_BATCH = ("ip", "-batch", "-")
_IP_BATCH_ALL = ("ip", "-force", "-batch", "-")
_NFT = ("nft", "-f", "-")
_AGENT_WAIT_S = 30.0
_TAP_TRIES = 40
_TAP_PAUSE_S = 0.05
_ARP_WAIT_S = 1.0
_POOLED_STREAMS, _POOLED_DATAGRAMS = 16, 4


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a VPC needs from the host's side."""

    state: StateDirectory
    clients: IPv4Network
    upstreams: Upstreams
    host_networks: Callable[[], tuple[IPv4Network, ...]]
    serve_metadata: ServeMetadata


class VpcPlumbing:
    """Built by ``open``; every method may be called again with the same effect."""

    def __init__(self, spec: VpcSpec, around: Surroundings) -> None:
        self.spec, self._around = spec, around
        self.interfaces: dict[str, InterfaceSpec] = {}
        self.groups: dict[str, GroupSpec] = {}
        self._devices: dict[int, str] = {}
        self._agent: AgentClient | None = None
        self._agent_ready = asyncio.Event()
        self._namespaces: NamespaceHandles | None = None
        self._services: NamespaceServices | None = None
        self._streams = SocketPool("stream", self._get_agent, size=_POOLED_STREAMS)
        self._datagrams = SocketPool("dgram", self._get_agent, size=_POOLED_DATAGRAMS)
        self._public = PublicAddresses(
            clients=around.clients, make_stream=self._streams.take, make_datagram=self._datagrams.take
        )
        self._changing = asyncio.Lock()
        self._applying = asyncio.Lock()
        self._wanted_version = self._applied_version = 0
        self._table: str | None = None
        self._uplink = UplinkKeeper(spec, around.state, get_agent=self._get_agent, has_agent=self._agent_ready.is_set)
        self._repair: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._is_closed = False
        self._zone = self._make_zone()

    # --- life ---------------------------------------------------------------------------------------------

    async def open(self, member_pids: Sequence[int]) -> None:
        """Adopt the running agent, else join a living member's namespaces, else make new ones."""
        agent, is_new = await self._find_or_start_agent(member_pids)
        try:
            status = await agent.status()
            self._namespaces = open_namespaces(status.pid)
            await self._take_on(agent)
            await agent.sysctl(NAMESPACE_SETTINGS)
            await agent.run(_IP_BATCH, namespace_commands(self.spec))
            self._table = await _find_table(agent)
            if self._table is None:
                await self._apply_firewall()
            await agent.sysctl(FORWARDING)
            self._services = await self._start_services(agent)
            await self._uplink.ensure(self._namespaces)
        except BaseException:
            await self.close(is_final=is_new)
            raise

    async def close(self, *, is_final: bool = False) -> None:
        """Let go: agent, machines and uplink live on, unless ``is_final``."""
        self._is_closed = True
        if self._repair is not None:
            self._repair.cancel()
        self._uplink.close()
        self._public.close()
        self._streams.close()
        self._datagrams.close()
        if self._services is not None:
            self._services.close()
        if self._agent is not None:
            self._agent.close()
        if self._namespaces is not None:
            self._namespaces.close()
            self._namespaces = None
        if is_final:
            await stop_agent(self._around.state, self.spec.vpc_id)

    async def _find_or_start_agent(self, member_pids: Sequence[int]) -> tuple[AgentClient, bool]:
        """The agent, and whether the namespace is new. Never a new namespace while a member lives."""
        members = find_member_namespaces(member_pids)
        try:
            agent = await self._connect_running(members)
            if agent is not None:
                return agent, False
            await asyncio.to_thread(start_agent, self.spec, self._around.state, join=members)
        finally:
            if members is not None:
                members.close()
        path = self._around.state.vpc(self.spec.vpc_id).agent_socket
        return await AgentClient.connect(path), members is None

    async def _connect_running(self, members: NamespaceHandles | None) -> AgentClient | None:
        """The agent that runs already; one that sits in other namespaces than the machines is ended."""
        path = self._around.state.vpc(self.spec.vpc_id).agent_socket
        try:
            agent = await AgentClient.connect(path)
        except OSError:
            return None
        status = await agent.status()
        if members is None or _is_in(status.pid, members):
            return agent
        log.warning("%s: its agent is not where its machines are; replacing it", self.spec.vpc_id)
        await agent.stop()
        agent.close()
        return None

    async def _take_on(self, agent: AgentClient) -> AgentStatus:
        status = await agent.status()
        self._devices = {index: name for name, index in status.devices.items() if name.startswith("tap")}
        agent.on_gone = self._agent_gone
        self._agent = agent
        self._agent_ready.set()
        return status

    async def _get_agent(self) -> AgentClient:
        try:
            await asyncio.wait_for(self._agent_ready.wait(), _AGENT_WAIT_S)
        except TimeoutError:
            raise NetworkError(f"{self.spec.vpc_id} has no agent") from None
        assert self._agent is not None
        return self._agent

    async def _start_services(self, agent: AgentClient) -> NamespaceServices:
        return await NamespaceServices.start(
            self.spec,
            agent,
            find_lease=self._find_lease,
            zone=lambda: self._zone,
            upstreams=self._around.upstreams,
            serve_metadata=self._around.serve_metadata,
        )

    # --- repair -------------------------------------------------------------------------------------------

    def _agent_gone(self) -> None:
        self._agent_ready.clear()
        if not self._is_closed and (self._repair is None or self._repair.done()):
            log.warning("%s: its agent died; starting another in the same namespaces", self.spec.vpc_id)
            self._repair = asyncio.get_running_loop().create_task(self._replace_agent())

    async def _replace_agent(self) -> None:
        """Have an agent again, and all that stood on the old one; tried until it is done."""
        is_done = False
        while not is_done:
            await self._backoff.wait()
            try:
                await self._try_to_replace_agent()
            except (PartError, OSError):
                log.exception("%s: its agent could not be replaced", self.spec.vpc_id)
            else:
                is_done = self._agent_ready.is_set()  # it may have died just now, too
        self._backoff.note_success()

    async def _try_to_replace_agent(self) -> None:
        assert self._namespaces is not None
        if not self._agent_ready.is_set():
            # One that an earlier try started, but did not get to talk to, is the one.
            agent = await self._connect_running(self._namespaces)
            if agent is None:
                await asyncio.to_thread(start_agent, self.spec, self._around.state, join=self._namespaces)
                agent = await AgentClient.connect(self._around.state.vpc(self.spec.vpc_id).agent_socket)
            await self._take_on(agent)
        await self._apply_firewall()
        await self._uplink.ensure(self._namespaces)

    # --- what is described --------------------------------------------------------------------------------

    async def describe(self, *, groups: Sequence[GroupSpec] | None, interfaces: Sequence[InterfaceSpec]) -> None:
        """Take on groups (all the VPC's, or None to keep them) and interfaces whose machines run already."""
        async with self._changing:
            if groups is not None:
                self.groups = {group.group_id: group for group in groups}
            for interface in interfaces:
                self._check(interface)
                self.interfaces[interface.interface_id] = interface
            if self.interfaces or not self._has_inherited_rules():
                await self._settle()

    async def add_interface(self, interface: InterfaceSpec) -> int:
        """Make the tap of a machine about to start and open the way to it; return the tap's descriptor."""
        async with self._changing:
            self._check(interface)
            agent = await self._get_agent()
            tap_fd, index = await self._make_tap(agent, tap_name(interface.interface_id))
            try:
                self._devices[index] = tap_name(interface.interface_id)
                self.interfaces[interface.interface_id] = interface
                await agent.sysctl(interface_settings(interface))
                await agent.run(_IP_BATCH, interface_commands(interface))
                await self._settle()
            except BaseException:
                os.close(tap_fd)
                self.interfaces.pop(interface.interface_id, None)
                raise
            return tap_fd

    async def remove_interface(self, interface_id: str) -> None:
        """Take an interface away: its rules, tap, connections and public address."""
        async with self._changing:
            interface = self.interfaces.pop(interface_id, None)
            if interface is None:
                return
            await self._settle()
            agent = await self._get_agent()
            await agent.run(_IP_BATCH_ALL, removal_commands(interface), is_checked=False)
            await agent.flush(interface.private_ip)

    async def spawn(self, argv: Sequence[str], *, fds: Sequence[int], uid: int | None, log_path: Path) -> int:
        """Start a program in the namespaces, confined; return its pid."""
        agent = await self._get_agent()
        return await agent.spawn(argv, fds=fds, uid=uid, log=log_path)

    async def refresh_firewall(self) -> None:
        """Render again, because the host's addresses changed; not before machines found again are known."""
        if not self._has_inherited_rules():
            await self._apply_firewall()

    async def find_answering(self, interface_ids: Collection[str]) -> set[str]:
        """Those of these interfaces whose guest answers ARP now."""
        asked = [self.interfaces[interface_id] for interface_id in interface_ids if interface_id in self.interfaces]
        if not asked:
            return set()
        (packets,) = await (await self._get_agent()).make_sockets("arp")
        with packets:
            return await find_answering(packets, asked, wait_s=_ARP_WAIT_S)

    def endpoints(self, interface_id: str) -> dict[int, int]:
        """See PublicAddresses.endpoints."""
        return self._public.endpoints(interface_id)

    def _has_inherited_rules(self) -> bool:
        """Tell whether an earlier service's rules are in force: better than none while no machine is known."""
        return self._table is not None and not self._applied_version

    def _check(self, interface: InterfaceSpec) -> None:
        if interface.vpc_id != self.spec.vpc_id:
            raise NetworkError(f"{interface.interface_id} belongs to {interface.vpc_id}")
        for other in self.interfaces.values():
            if other.interface_id != interface.interface_id and other.private_ip == interface.private_ip:
                raise NetworkError(f"{interface.private_ip} is {other.interface_id}'s")

    async def _make_tap(self, agent: AgentClient, name: str) -> tuple[int, int]:
        """Make a tap; an ended machine's may take a moment to go away."""
        for _ in range(_TAP_TRIES):
            try:
                return await agent.make_tap(name)
            except AgentRefusedError as error:
                if error.errno != errno.EBUSY:
                    raise
                await asyncio.sleep(_TAP_PAUSE_S)
        raise NetworkError(f"{name} is in use by another machine")

    async def _settle(self) -> None:
        """Bring firewall, names and public addresses in step with what is described."""
        self._zone = self._make_zone()
        await self._apply_firewall()
        self._public.follow(self.interfaces, self.groups)

    async def _apply_firewall(self) -> None:
        """Replace the rules; callers that come while one replacement runs share the next."""
        self._wanted_version += 1
        wanted = self._wanted_version
        async with self._applying:
            if self._applied_version >= wanted:
                return
            covered = self._wanted_version
            agent = await self._get_agent()
            table = next(name for name in TABLES if name != self._table)
            for transaction in render(self._firewall_spec(), table=table):
                await agent.run(_NFT, transaction)
            self._table = table
            self._applied_version = covered

    def _firewall_spec(self) -> FirewallSpec:
        return FirewallSpec(
            vpc_cidr=self.spec.cidr,
            interfaces=tuple(self.interfaces.values()),
            groups=tuple(self.groups.values()),
            denied=self._around.host_networks(),
            clients=self._around.clients,
        )

    def _find_lease(self, device: int) -> Lease | None:
        name = self._devices.get(device)
        for interface in self.interfaces.values():
            if tap_name(interface.interface_id) == name:
                return Lease.of(interface, vpc_cidr=self.spec.cidr, region=self.spec.region)
        return None

    def _make_zone(self) -> Zone:
        public = {
            IPv4Address(each.public_ip): IPv4Address(each.private_ip)
            for each in self.interfaces.values()
            if each.public_ip is not None
        }
        return Zone(vpc=IPv4Network(self.spec.cidr), region=self.spec.region, public=public)


async def stop_agent(state: StateDirectory, vpc_id: str) -> None:
    """End a VPC's agent, if one runs; its uplink ends with it."""
    path = state.vpc(vpc_id).agent_socket
    try:
        agent = await AgentClient.connect(path)
    except OSError:
        pass
    else:
        with contextlib.suppress(NetworkError):
            await agent.stop()
        agent.close()
    path.unlink(missing_ok=True)


async def _find_table(agent: AgentClient) -> str | None:
    """The table an earlier service left in force; None in a new namespace, or if it died just before."""
    for table in TABLES:
        words = ["nft", "list", "chain", "inet", table, "forward"]
        if "hook forward" in await agent.run(words, "", is_checked=False):
            return table
    return None


def _is_in(pid: int, namespaces: NamespaceHandles) -> bool:
    own = open_namespaces(pid)
    try:
        return os.fstat(own.net_fd).st_ino == os.fstat(namespaces.net_fd).st_ino
    finally:
        own.close()
