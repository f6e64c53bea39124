"""The network's public face: VPCs for synchronous callers.

Invariant: everything that touches a VPC runs on the host loop's thread; these facades only carry calls there.
Nothing of the host's own network is created or changed, except listening sockets on public addresses.
"""

import asyncio
import logging
import resource
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path

from bakehouse.host.loop import HostLoop
from bakehouse.host.spawn import SpawnError
from bakehouse.network.dns_relay import HostResolvers, Upstreams
from bakehouse.network.exposure import client_network
from bakehouse.network.host_addresses import HostAddresses
from bakehouse.network.plumbing import Surroundings, VpcPlumbing, stop_agent
from bakehouse.network.services import ServeMetadata
from bakehouse.network.spec import GroupSpec, InterfaceSpec, NetworkError, VpcSpec
from bakehouse.paths import StateDirectory

log = logging.getLogger(__name__)


class VpcNetwork:
    """One VPC's network. Every method blocks until done, is safe from any thread, and raises NetworkError."""

    def __init__(self, loop: HostLoop, plumbing: VpcPlumbing) -> None:
        self._loop, self._plumbing = loop, plumbing

    @property
    def spec(self) -> VpcSpec:
        """The VPC as it was described."""
        return self._plumbing.spec

    def add_interface(self, interface: InterfaceSpec) -> int:
        """Make a tap for a machine about to start; return its descriptor.

        The tap lives as long as a copy of the descriptor: give it to the machine, then close it. Again for
        the same interface (after its machine ended) makes a new tap.
        """
        return self._loop.call(self._plumbing.add_interface(interface))

    def adopt_interface(self, interface: InterfaceSpec) -> None:
        """Serve an interface whose machine runs already."""
        self._loop.call(self._plumbing.describe(groups=None, interfaces=[interface]))

    def restore(self, groups: Sequence[GroupSpec], interfaces: Sequence[InterfaceSpec]) -> None:
        """Groups and running machines' interfaces at once: after a restart, so that no rule is missing
        in between.
        """
        self._loop.call(self._plumbing.describe(groups=groups, interfaces=interfaces))

    def update_interface(self, interface: InterfaceSpec) -> None:
        """Take on another set of groups, public address or hostname."""
        self._loop.call(self._plumbing.describe(groups=None, interfaces=[interface]))

    def remove_interface(self, interface_id: str) -> None:
        """Forget an interface: its rules, its connections, its public address. Idempotent."""
        self._loop.call(self._plumbing.remove_interface(interface_id))

    def set_groups(self, groups: Sequence[GroupSpec]) -> None:
        """Take on all of the VPC's groups, atomically; connections that exist go on."""
        self._loop.call(self._plumbing.describe(groups=groups, interfaces=[]))

    def interface_ids(self) -> list[str]:
        """The interfaces that are described: of machines that run or are being started."""

        async def read() -> list[str]:
            return sorted(self._plumbing.interfaces)

        return self._loop.call(read())

    def spawn(self, argv: Sequence[str], *, fds: Sequence[int], uid: int | None, log: Path) -> int:
        """Start a program inside the VPC's namespaces (see host.spawn.Spawner); SpawnError when it fails."""
        try:
            return self._loop.call(self._plumbing.spawn(argv, fds=fds, uid=uid, log_path=log))
        except NetworkError as error:
            raise SpawnError(str(error)) from error

    def find_answering(self, interface_ids: Collection[str]) -> set[str]:
        """Ask the guests behind these interfaces by ARP, as EC2's instance status check does; who answered.

        A machine that hangs or has not configured its network yet does not.
        """
        return self._loop.call(self._plumbing.find_answering(interface_ids))

    def endpoints(self, interface_id: str) -> Mapping[int, int]:
        """The open TCP ports of an interface's public address -> the host port that leads to each.

        They differ where the port could not be had: below 1024 without the right to it, or taken by a
        program of the host that listens on all addresses.
        """

        async def read() -> dict[int, int]:
            return self._plumbing.endpoints(interface_id)

        return self._loop.call(read())


class VpcNetworks:
    """All VPCs of this host."""

    def __init__(
        self,
        loop: HostLoop,
        state: StateDirectory,
        *,
        public_network: IPv4Network,
        serve_metadata: ServeMetadata,
        upstreams: Upstreams | None = None,
    ) -> None:
        self._loop = loop
        self._networks: dict[str, VpcPlumbing] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._refreshes: set[asyncio.Task[None]] = set()
        _raise_descriptor_limit()
        self._host = loop.call(self._watch_host())
        self._around = Surroundings(
            state=state,
            clients=client_network(public_network),
            upstreams=upstreams or HostResolvers(),
            host_networks=lambda: (*self._host.networks, public_network),
            serve_metadata=serve_metadata,
        )

    def ensure(
        self,
        spec: VpcSpec,
        *,
        member_pids: Sequence[int] = (),
    ) -> VpcNetwork:
        """Bring up a VPC's network, or find it again.

        ``member_pids`` are the running machines of the VPC (checked by the caller to be ours): while one
        lives, its namespaces are joined when the agent is gone. Idempotent.
        """
        return VpcNetwork(self._loop, self._loop.call(self._ensure(spec, member_pids), timeout_s=120))

    def get(self, vpc_id: str) -> VpcNetwork:
        """A VPC that ``ensure`` brought up; NetworkError otherwise."""
        plumbing = self._networks.get(vpc_id)
        if plumbing is None:
            raise NetworkError(f"{vpc_id} is not up")
        return VpcNetwork(self._loop, plumbing)

    def vpc_ids(self) -> list[str]:
        """The VPCs that are up."""
        return sorted(self._networks)

    def shut_down(self, vpc_id: str) -> None:
        """End a VPC's agent and uplink, found again or left by an earlier service. Idempotent.

        For a VPC without machines: with the last process the namespace goes.
        """
        self._loop.call(self._shut_down(vpc_id))

    def close(self) -> None:
        """Stop serving. Agents, uplinks and machines live on, to be found by the next ``ensure``."""
        self._loop.call(self._close())

    async def _watch_host(self) -> HostAddresses:
        host = HostAddresses(self._host_changed)
        await host.start()
        return host

    async def _ensure(self, spec: VpcSpec, member_pids: Sequence[int]) -> VpcPlumbing:
        async with self._locks.setdefault(spec.vpc_id, asyncio.Lock()):
            plumbing = self._networks.get(spec.vpc_id)
            if plumbing is None:
                plumbing = VpcPlumbing(spec, self._around)
                await plumbing.open(member_pids)
                self._networks[spec.vpc_id] = plumbing
            return plumbing

    async def _shut_down(self, vpc_id: str) -> None:
        async with self._locks.setdefault(vpc_id, asyncio.Lock()):
            plumbing = self._networks.pop(vpc_id, None)
            if plumbing is None:
                await stop_agent(self._around.state, vpc_id)
            else:
                await plumbing.close(is_final=True)

    async def _close(self) -> None:
        self._host.close()
        for plumbing in self._networks.values():
            await plumbing.close()
        self._networks.clear()

    def _host_changed(self) -> None:
        for plumbing in self._networks.values():
            task = asyncio.get_running_loop().create_task(plumbing.refresh_firewall())
            self._refreshes.add(task)
            task.add_done_callback(self._refreshed)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the firewall could not follow the host's addresses", exc_info=error)


def _raise_descriptor_limit() -> None:
    """Listeners and connections take many descriptors; the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
