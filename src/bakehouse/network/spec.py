"""The frozen values the network takes: VPCs, interfaces, groups and their rules.

Invariant: a value that exists is well formed. Every text that ends in an nft or ip command was checked here,
so rendering needs no quoting.
"""

import ipaddress
import re
from dataclasses import dataclass

from bakehouse.errors import PartError

ANY_PROTOCOL = "-1"
# The names EC2 takes beside numbers (API reference, AuthorizeSecurityGroupIngress, IpProtocol).
_PROTOCOL_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}
ICMP, TCP, UDP = 1, 6, 17
_PROTOCOLS_WITH_PORTS = (TCP, UDP)
_LAST_PORT = 65535
_LAST_ICMP_TYPE = 255
_ID = re.compile(r"[a-z]+-[0-9a-f]{8,17}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


class NetworkError(PartError):
    """A VPC's network could not be made, reached or changed."""


@dataclass(frozen=True, kw_only=True)
class VpcSpec:
    """One VPC; its region is part of the names its DNS answers.

    As root, its agent runs as host uid (and gid) ``agent_uid``, which must lie outside
    ``uid_base + 1 .. uid_base + 65535``, the uids of machines; rootless both are None.
    """

    vpc_id: str
    region: str
    cidr: str
    agent_uid: int | None
    uid_base: int | None

    def __post_init__(self) -> None:
        check_id(self.vpc_id)
        ipaddress.IPv4Network(self.cidr)
        if (self.agent_uid is None) != (self.uid_base is None):
            raise NetworkError("agent_uid and uid_base come together or not at all")
        if self.agent_uid is not None and self.uid_base is not None:
            if self.agent_uid == 0:
                raise NetworkError("an agent never runs as root")
            if self.uid_base < self.agent_uid <= self.uid_base + 65535:
                raise NetworkError(f"agent uid {self.agent_uid} is one of the machines' uids")


@dataclass(frozen=True, kw_only=True)
class InterfaceSpec:
    """One network interface. ``hostname`` is its private DNS name's first label, or a full name;
    ``mac`` is lower case with colons; the addresses are IPv4.
    """

    interface_id: str
    vpc_id: str
    mac: str
    private_ip: str
    subnet_cidr: str
    group_ids: tuple[str, ...]
    public_ip: str | None
    hostname: str

    def __post_init__(self) -> None:
        for value in (self.interface_id, self.vpc_id, *self.group_ids):
            check_id(value)
        _check(_MAC, self.mac, "MAC address")
        _check(_HOSTNAME, self.hostname, "hostname")
        subnet = ipaddress.IPv4Network(self.subnet_cidr)
        if ipaddress.IPv4Address(self.private_ip) not in subnet:
            raise NetworkError(f"{self.private_ip} does not lie in {subnet}")
        if self.public_ip is not None:
            ipaddress.IPv4Address(self.public_ip)


@dataclass(frozen=True, kw_only=True)
class RuleSpec:
    """One rule of a group, as EC2 stores it: the far side is ``cidr`` (IPv4 or IPv6) or ``group_id``.

    ``protocol`` is a name, a number or "-1". For TCP and UDP the ports are inclusive, None or -1 meaning
    all; for ICMP ``from_port`` is the type and ``to_port`` the code, -1 or None meaning any.
    """

    protocol: str
    from_port: int | None = None
    to_port: int | None = None
    cidr: str | None = None
    group_id: str | None = None

    def __post_init__(self) -> None:
        if (self.cidr is None) == (self.group_id is None):
            raise NetworkError("a rule names either a CIDR or a group")
        if self.group_id is not None:
            check_id(self.group_id)
        if self.cidr is not None:
            ipaddress.ip_network(self.cidr, strict=False)
        limit = _LAST_ICMP_TYPE if self.protocol_number == ICMP else _LAST_PORT
        for port in (self.from_port, self.to_port):
            if port is not None and not -1 <= port <= limit:
                raise NetworkError(f"{port} is not a port or ICMP type")

    @property
    def protocol_number(self) -> int | None:
        """The IP protocol; None for all."""
        if self.protocol == ANY_PROTOCOL:
            return None
        try:
            number = _PROTOCOL_NUMBERS.get(self.protocol.lower())
            number = int(self.protocol) if number is None else number
        except ValueError:
            raise NetworkError(f"{self.protocol!r} is not a protocol") from None
        if not 0 <= number <= 255:
            raise NetworkError(f"{number} is not a protocol")
        return number

    @property
    def ports(self) -> tuple[int, int]:
        """The first and last port the rule covers (a rule without ports covers all)."""
        if self.protocol_number not in _PROTOCOLS_WITH_PORTS:
            return 0, _LAST_PORT
        first = self.from_port if self.from_port not in (None, -1) else 0
        last = self.to_port if self.to_port not in (None, -1) else _LAST_PORT
        assert first is not None
        assert last is not None
        return first, last

    @property
    def network(self) -> ipaddress.IPv4Network | None:
        """The IPv4 far side; None for a group or an IPv6 range (VPCs here have no IPv6)."""
        if self.cidr is None:
            return None
        network = ipaddress.ip_network(self.cidr, strict=False)
        return network if isinstance(network, ipaddress.IPv4Network) else None


@dataclass(frozen=True, kw_only=True)
class GroupSpec:
    """One security group: what may come in to its members, and what they may send."""

    group_id: str
    ingress: tuple[RuleSpec, ...]
    egress: tuple[RuleSpec, ...]

    def __post_init__(self) -> None:
        check_id(self.group_id)


def check_id(value: str) -> None:
    """Refuse anything but a resource id."""
    _check(_ID, value, "resource id")


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise NetworkError(f"{value!r} is not a {what}")
