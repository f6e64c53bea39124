"""A host with real VPC networks for tests: state, host loop, networks, fake guests; all cleaned up."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

from bakehouse.errors import PartError
from bakehouse.guest.metadata import InstanceMetadata, Lookup, MetadataServer
from bakehouse.host.loop import HostLoop
from bakehouse.network.spec import GroupSpec, InterfaceSpec, RuleSpec, VpcSpec
from bakehouse.network.vpc import VpcNetwork, VpcNetworks
from bakehouse.paths import StateDirectory
from tests.framework.fake_guest import FakeGuest, is_running

# Its own part of the loopback range, so that tests meet no service that runs.
PUBLIC = IPv4Network("127.201.0.0/16")


def _may_give_uids() -> bool:
    """Root of a user namespace has no uids to give."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split()[-1] == "4294967295"


UID_BASE = 1_950_000_000 if _may_give_uids() else None
GROUP = "sg-000000000000000aa"
OTHER_GROUP = "sg-000000000000000bb"
EVERYTHING = RuleSpec(protocol="-1", cidr="0.0.0.0/0")


def nothing_known(_vpc_id: str, _address: str) -> InstanceMetadata | None:
    """A metadata lookup without instances."""
    return None


class VpcHost:
    """One service's networks. ``restart`` drops them as kill -9 would and starts again on the same state."""

    def __init__(self, root: Path, *, lookup: Lookup = nothing_known) -> None:
        self.state = StateDirectory(root=root)
        self.lookup = lookup
        self.vpc_ids: set[str] = set()
        self.guests: list[FakeGuest] = []
        self._start()

    def _start(self) -> None:
        self.loop = HostLoop()
        self.networks = VpcNetworks(
            self.loop,
            self.state,
            public_network=PUBLIC,
            serve_metadata=MetadataServer(self.lookup, lambda _: None).serve,
        )

    def vpc(self, number: int = 1, *, pids: Sequence[int] = (), cidr: str = "172.31.0.0/16") -> VpcNetwork:
        """Bring up a VPC."""
        vpc_id = f"vpc-000000000000000{number:02x}"
        self.vpc_ids.add(vpc_id)
        uid = None if UID_BASE is None else UID_BASE + 65536 + number
        spec = VpcSpec(vpc_id=vpc_id, region="us-east-1", cidr=cidr, agent_uid=uid, uid_base=UID_BASE)
        return self.networks.ensure(spec, member_pids=pids)

    def guest(self, network: VpcNetwork, interface: InterfaceSpec) -> FakeGuest:
        """Start a fake machine and give it its address."""
        uid = None if UID_BASE is None else UID_BASE + 1 + len(self.guests)
        guest = FakeGuest(network, self.state, interface, uid)
        self.guests.append(guest)
        guest.configure()
        return guest

    def restart(self) -> None:
        """Let go of everything and start again."""
        self.networks.close()
        self.loop.close()
        self._start()

    def close(self) -> None:
        """End guests, agents and the service."""
        for guest in self.guests:
            guest.kill()
        for vpc_id in self.vpc_ids:
            with suppress(PartError):
                self.networks.shut_down(vpc_id)
        self.networks.close()
        self.loop.close()


@contextmanager
def vpc_host(*, lookup: Lookup = nothing_known) -> Iterator[VpcHost]:
    """A VpcHost in a short temporary directory that unprivileged processes may pass."""
    root = Path(tempfile.mkdtemp(prefix="bh-", dir="/tmp"))
    root.chmod(0o711)
    host = VpcHost(root, lookup=lookup)
    try:
        yield host
    finally:
        host.close()
        shutil.rmtree(root)


def interface(
    number: int, *groups: str, vpc: int = 1, public: bool = True, subnet: str = "172.31.0.0/20"
) -> InterfaceSpec:
    """An interface at 172.31.0.``number``."""
    return InterfaceSpec(
        interface_id=f"eni-0000000000{vpc:02x}{number:05x}",
        vpc_id=f"vpc-000000000000000{vpc:02x}",
        mac=f"02:00:00:00:{vpc:02x}:{number:02x}",
        private_ip=f"172.31.0.{number}",
        subnet_cidr=subnet,
        group_ids=groups or (GROUP,),
        public_ip=f"127.201.{vpc}.{number}" if public else None,
        hostname=f"ip-172-31-0-{number}",
    )


def group(*ingress: RuleSpec, egress: Sequence[RuleSpec] = (EVERYTHING,), group_id: str = GROUP) -> GroupSpec:
    """A group; by default everything may go out."""
    return GroupSpec(group_id=group_id, ingress=ingress, egress=tuple(egress))


def tcp(first: int, last: int | None = None, *, cidr: str = "0.0.0.0/0") -> RuleSpec:
    """A TCP rule."""
    return RuleSpec(protocol="tcp", from_port=first, to_port=last or first, cidr=cidr)


def udp(port: int, *, cidr: str = "0.0.0.0/0") -> RuleSpec:
    """A UDP rule."""
    return RuleSpec(protocol="udp", from_port=port, to_port=port, cidr=cidr)


def from_group(protocol: str = "-1", port: int | None = None, *, group_id: str = GROUP) -> RuleSpec:
    """A rule that names a group."""
    return RuleSpec(protocol=protocol, from_port=port, to_port=port, group_id=group_id)


def network_namespace(pid: int) -> int:
    """The inode of a process's network namespace."""
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def agents_in(namespace: int) -> list[int]:
    """Pids of living agents in a namespace."""
    return [pid for pid in _running("bakehouse.network.agent") if _is_in(pid, namespace)]


def uplinks_of(namespace: int) -> list[int]:
    """Pids of living uplinks that serve a namespace; they run on the host and hold it open."""
    return [pid for pid in _running("slirp4netns") if _holds(pid, namespace)]


def _is_in(pid: int, namespace: int) -> bool:
    with suppress(OSError):  # another user's
        return network_namespace(pid) == namespace
    return False


def _holds(pid: int, namespace: int) -> bool:
    with suppress(OSError):
        return any(str(fd.readlink()) == f"net:[{namespace}]" for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _running(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if is_running(pid)]
