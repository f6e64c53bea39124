"""What of an interface the outside may reach through its public address: pure functions over rules.

Invariant: a client is admitted exactly when a CIDR rule of one of the interface's groups covers its own
address, the protocol and the port. Rules that name a group never admit the outside.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from bakehouse.network.spec import TCP, GroupSpec, InterfaceSpec, RuleSpec

LOOPBACK = IPv4Network("127.0.0.0/8")
EVERYWHERE = IPv4Network("0.0.0.0/0")

# A listener costs a descriptor and 4 KB, so of a wide range only ports somebody uses are opened.
_WIDE_RANGE = 256
PORT_LIMIT = 1500
_FIRST_UNPRIVILEGED = 1024
_KNOWN_TCP_PORTS = (
    *(1080, 1194, 1433, 1521, 1883, 2049, 2181, 2375, 2376, 2379, 2380, 3000, 3001, 3128, 3260, 3268, 3306),
    *(3389, 4000, 4200, 4222, 4369, 4443, 4444, 4646, 5000, 5001, 5044, 5060, 5173, 5201, 5222, 5432, 5601),
    *(5671, 5672, 5900, 5901, 5984, 5985, 5986, 6000, 6379, 6443, 6667, 7000, 7001, 7077, 7474, 7687, 8000),
    *(8001, 8008, 8009, 8080, 8081, 8082, 8083, 8086, 8088, 8089, 8090, 8096, 8123, 8125, 8139, 8181, 8200),
    *(8300, 8301, 8400, 8443, 8500, 8501, 8600, 8786, 8834, 8883, 8888, 8899, 9000, 9001, 9042, 9043, 9080),
    *(9090, 9091, 9092, 9093, 9100, 9200, 9300, 9411, 9418, 9443, 9600, 9999, 10000, 10250, 10255, 11211),
    *(15672, 16443, 25565, 27015, 27017, 27018, 28017, 32400, 50000, 50051, 50070, 61616),
)
_KNOWN_UDP_PORTS = (53, 67, 69, 123, 161, 162, 443, 500, 514, 1194, 1812, 3478, 4500, 4789, 5060, 8125, 51820)


@dataclass(frozen=True, kw_only=True)
class OpenPorts:
    """The ports to listen on; ``is_capped`` when the rules allow more than are opened."""

    ports: frozenset[int]
    is_capped: bool


def client_network(public_network: IPv4Network) -> IPv4Network:
    """Where clients of public addresses can come from: loopback addresses are reached from loopback only."""
    return LOOPBACK if public_network.subnet_of(LOOPBACK) else EVERYWHERE


def admits_outside(rule: RuleSpec, clients: IPv4Network) -> bool:
    """Tell whether some client out there could match this ingress rule."""
    return rule.network is not None and rule.network.overlaps(clients)


def is_admitted(rules: Iterable[RuleSpec], protocol: int, port: int, client: IPv4Address) -> bool:
    """Tell whether a client's packet to this port may come in."""
    return any(rule.network is not None and client in rule.network and _covers(rule, protocol, port) for rule in rules)


def ingress_rules(interface: InterfaceSpec, groups: Mapping[str, GroupSpec]) -> tuple[RuleSpec, ...]:
    """All ingress rules that hold for an interface; a group nobody described has none."""
    return tuple(rule for group_id in interface.group_ids if group_id in groups for rule in groups[group_id].ingress)


def open_ports(rules: Iterable[RuleSpec], protocol: int, clients: IPv4Network) -> OpenPorts:
    """Choose the ports to listen on for ``protocol`` (TCP or UDP).

    Ranges up to 256 ports are opened whole; of wider ones the well-known ports; PORT_LIMIT in all.
    """
    exact: set[int] = set()
    likely: set[int] = set()
    is_capped = False
    for rule in rules:
        if not admits_outside(rule, clients) or rule.protocol_number not in (None, protocol):
            continue
        first, last = max(1, rule.ports[0]), rule.ports[1]
        if last - first < _WIDE_RANGE:
            exact.update(range(first, last + 1))
        else:
            is_capped = True
            likely.update(port for port in _likely_ports(protocol) if first <= port <= last)
    room = max(0, PORT_LIMIT - len(exact))
    extra = sorted(likely - exact)[:room]
    is_capped = is_capped or len(exact) > PORT_LIMIT
    return OpenPorts(ports=frozenset(sorted(exact)[:PORT_LIMIT] + extra), is_capped=is_capped)


def _likely_ports(protocol: int) -> Iterable[int]:
    if protocol == TCP:
        return (*range(1, _FIRST_UNPRIVILEGED), *_KNOWN_TCP_PORTS)
    return _KNOWN_UDP_PORTS


def _covers(rule: RuleSpec, protocol: int, port: int) -> bool:
    if rule.protocol_number not in (None, protocol):
        return False
    first, last = rule.ports
    return first <= port <= last
