"""Render a VPC's whole nft table from plain data.

Invariant: the text replaces the table in one transaction, so no packet ever meets half a rule set, and what
no rule names is dropped. Rules grow with the number of groups, set elements with the number of interfaces.

Shape: ``forward`` sends what a tap emits to ``egress`` (the sender's groups decide), which on a match goes
on to ``ingress`` (the receiver's groups decide). ``pre`` pins each tap to its own MAC and address.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from bakehouse.network.addressing import (
    GATEWAY_ADDRESS,
    LINK_LOCAL_RESOLVER,
    METADATA_ADDRESS,
    NEVER_OUTSIDE,
    UPLINK,
    subnet_router,
    tap_name,
    vpc_resolver,
    vpc_router,
)
from bakehouse.network.exposure import admits_outside
from bakehouse.network.spec import ICMP, TCP, UDP, GroupSpec, InterfaceSpec, RuleSpec

# nft sends a transaction as one netlink message, which an unprivileged user namespace caps at 208 KiB
# (net.core.wmem_default). Measured: about 150 bytes of message per interface over all its sets.
INTERFACES_PER_TRANSACTION = 400


@dataclass(frozen=True, kw_only=True)
class FirewallSpec:
    """All a rendering depends on. ``denied`` are the host's own addresses and networks; ``clients`` is where
    users of public addresses come from.
    """

    vpc_cidr: str
    interfaces: tuple[InterfaceSpec, ...]
    groups: tuple[GroupSpec, ...]
    denied: tuple[IPv4Network, ...]
    clients: IPv4Network


def render(spec: FirewallSpec) -> list[str]:
    """Return the transactions to apply in order; nearly always one.

    The first replaces the table; more of them only add set elements, so that interfaces beyond the limit of
    one message stay closed for an instant rather than open.
    """
    first = spec.interfaces[:INTERFACES_PER_TRANSACTION]
    transactions = [_table(spec, first)]
    for start in range(INTERFACES_PER_TRANSACTION, len(spec.interfaces), INTERFACES_PER_TRANSACTION):
        batch = spec.interfaces[start : start + INTERFACES_PER_TRANSACTION]
        transactions.append(_elements(spec, batch))
    return transactions


def _table(spec: FirewallSpec, interfaces: Sequence[InterfaceSpec]) -> str:
    lines = ["add table inet vpc", "delete table inet vpc", "table inet vpc {"]
    for name, (kind, members) in _sets(spec, interfaces).items():
        lines += _set_lines(name, kind, members)
    lines += _set_lines("denied", "ipv4_addr", _denied(spec), interval=True)
    for group in spec.groups:
        lines += _chain(f"in_{_nft_id(group.group_id)}", _ingress_lines(group, spec.clients))
    lines += _chain("ingress", _ingress_dispatch(spec))
    for group in spec.groups:
        lines += _chain(f"out_{_nft_id(group.group_id)}", _egress_lines(group))
    lines += _chain("egress", _egress_dispatch(spec))
    for name, body in _hooks(spec).items():
        lines += _chain(name, body)
    return "\n".join([*lines, "}"]) + "\n"


def _elements(spec: FirewallSpec, interfaces: Sequence[InterfaceSpec]) -> str:
    return "".join(
        f"add element inet vpc {name} {{ {', '.join(members)} }}\n"
        for name, (_, members) in _sets(spec, interfaces).items()
        if members
    )


def _sets(spec: FirewallSpec, interfaces: Sequence[InterfaceSpec]) -> dict[str, tuple[str, list[str]]]:
    """Each set's type and the elements these interfaces add to it."""
    sets: dict[str, tuple[str, list[str]]] = {}
    for group_id in _group_ids(spec):
        members = [interface for interface in interfaces if group_id in interface.group_ids]
        name = _nft_id(group_id)
        sets[f"members_{name}"] = ("ipv4_addr", [each.private_ip for each in members])
        sets[f"taps_{name}"] = ("ifname", [tap_name(each.interface_id) for each in members])
    sets["pinned"] = (
        "ifname . ether_addr . ipv4_addr",
        [f"{tap_name(each.interface_id)} . {each.mac} . {each.private_ip}" for each in interfaces],
    )
    sets["pinned_macs"] = (
        "ifname . ether_addr",
        [f"{tap_name(each.interface_id)} . {each.mac}" for each in interfaces],
    )
    return sets


def _group_ids(spec: FirewallSpec) -> list[str]:
    """Every group described or referred to: a rule may name one without members here."""
    named = {group.group_id for group in spec.groups}
    for group in spec.groups:
        named |= {rule.group_id for rule in (*group.ingress, *group.egress) if rule.group_id is not None}
    return sorted(named)


def _denied(spec: FirewallSpec) -> list[str]:
    networks = {*NEVER_OUTSIDE, IPv4Network(spec.vpc_cidr), *spec.denied}
    return [str(network) for network in sorted(networks)]


def _ingress_lines(group: GroupSpec, clients: IPv4Network) -> list[str]:
    return [
        f"{source}{match}accept"
        for rule in group.ingress
        if (source := _source(rule, clients)) is not None and (match := _protocol(rule)) is not None
    ]


def _egress_lines(group: GroupSpec) -> list[str]:
    return [
        f"{target}{match}goto ingress"
        for rule in group.egress
        if (target := _far_side(rule, "daddr")) is not None and (match := _protocol(rule)) is not None
    ]


def _source(rule: RuleSpec, clients: IPv4Network) -> str | None:
    """The source a rule admits. Clients of public addresses arrive as the gateway: the forwarder has checked
    their own address already, so a CIDR that holds such clients admits the gateway too.
    """
    if admits_outside(rule, clients) and rule.network is not None and rule.network.prefixlen:
        return f"ip saddr {{ {rule.network}, {GATEWAY_ADDRESS} }} "
    return _far_side(rule, "saddr")


def _far_side(rule: RuleSpec, side: str) -> str | None:
    """A match on the other end's address; None when no IPv4 packet can match."""
    if rule.group_id is not None:
        return f"ip {side} @members_{_nft_id(rule.group_id)} "
    if rule.network is None:
        return None
    return f"ip {side} {rule.network} " if rule.network.prefixlen else ""


def _protocol(rule: RuleSpec) -> str | None:
    """A match on protocol, ports and ICMP type; None when the rule covers nothing."""
    number = rule.protocol_number
    if number is None:
        return ""
    if number in (TCP, UDP):
        first, last = rule.ports
        if first > last:
            return None
        name = "tcp" if number == TCP else "udp"
        if (first, last) == (0, 65535):
            return f"meta l4proto {name} "
        return f"{name} dport {first if first == last else f'{first}-{last}'} "
    if number == ICMP and rule.from_port not in (None, -1):
        code = "" if rule.to_port in (None, -1) else f"icmp code {rule.to_port} "
        return f"icmp type {rule.from_port} {code}"
    return f"ip protocol {number} "


def _ingress_dispatch(spec: FirewallSpec) -> list[str]:
    return [
        f"oifname {UPLINK} ip daddr @denied reject with icmp type admin-prohibited",
        f"oifname {UPLINK} accept",
        *(
            f"oifname @taps_{_nft_id(group.group_id)} jump in_{_nft_id(group.group_id)}"
            for group in spec.groups
        ),
        "drop",
    ]


def _egress_dispatch(spec: FirewallSpec) -> list[str]:
    jumps = (
        f"iifname @taps_{_nft_id(group.group_id)} jump out_{_nft_id(group.group_id)}" for group in spec.groups
    )
    return [*jumps, "drop"]


def _hooks(spec: FirewallSpec) -> dict[str, list[str]]:
    resolvers = f"{{ {vpc_resolver(spec.vpc_cidr)}, {LINK_LOCAL_RESOLVER} }}"
    routers = f"{{ {', '.join(str(router) for router in _routers(spec))} }}"
    return {
        "pre": [
            "type filter hook prerouting priority raw; policy drop;",
            f"iifname {{ lo, {UPLINK} }} accept",
            "iifname . ether saddr . ip saddr @pinned accept",
            (
                "iifname . ether saddr @pinned_macs ip saddr 0.0.0.0 ip daddr 255.255.255.255"
                " udp sport 68 udp dport 67 accept"
            ),
        ],
        "forward": [
            "type filter hook forward priority filter; policy drop;",
            "ct state established,related accept",
            "ct state invalid drop",
            'iifname "tap*" goto egress',
        ],
        "input": [
            "type filter hook input priority filter; policy drop;",
            "iifname lo accept",
            "ct state established,related accept",
            'iifname "tap*" udp sport 68 udp dport 67 accept',
            f'iifname "tap*" ip daddr {resolvers} meta l4proto {{ tcp, udp }} th dport 53 accept',
            f'iifname "tap*" ip daddr {METADATA_ADDRESS} tcp dport 80 accept',
            f'iifname "tap*" ip daddr {routers} icmp type echo-request accept',
            'iifname "tap*" reject with icmp type admin-prohibited',
        ],
        "output": [
            "type filter hook output priority filter; policy drop;",
            "oifname lo accept",
            "ct state established,related accept",
            'oifname "tap*" udp sport 67 udp dport 68 accept',
            f'oifname "tap*" ip saddr {GATEWAY_ADDRESS} goto ingress',
            'oifname "tap*" icmp type { destination-unreachable, time-exceeded } accept',
            "reject with icmp type admin-prohibited",
        ],
        "post": [
            "type nat hook postrouting priority srcnat;",
            f"oifname {UPLINK} masquerade",
        ],
    }


def _routers(spec: FirewallSpec) -> list[IPv4Address]:
    subnets = {subnet_router(interface.subnet_cidr) for interface in spec.interfaces}
    return sorted({vpc_router(spec.vpc_cidr), *subnets})


def _chain(name: str, body: Iterable[str]) -> list[str]:
    return [f"  chain {name} {{", *(f"    {line}" for line in body), "  }"]


def _set_lines(name: str, kind: str, members: Sequence[str], *, interval: bool = False) -> list[str]:
    lines = [f"  set {name} {{", f"    type {kind}"]
    if interval:
        lines += ["    flags interval", "    auto-merge"]
    if members:
        lines.append(f"    elements = {{ {', '.join(members)} }}")
    return [*lines, "  }"]


def _nft_id(group_id: str) -> str:
    return group_id.replace("-", "_")
