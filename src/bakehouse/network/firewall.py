"""Render a VPC's rules for nft from plain data.

Invariant: a new rule set takes over from the old one in one step, however large it is, so no packet ever meets
half of one; and what no rule names is dropped. Rules grow with the groups in use, set elements with interfaces.

Two tables take turns. The new one is filled, over several transactions if need be, while it has no hooks and so
sees no packet; the last transaction hooks it in and deletes the other.

Shape: ``forward`` sends what a tap emits to ``egress`` (the sender's groups decide), which on a match goes on to
``ingress`` (the receiver's groups decide). ``pre`` pins each tap to its own MAC and address.
"""

from collections.abc import Iterator, Sequence
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

TABLES = ("vpc_a", "vpc_b")

# nft sends a transaction as one netlink message, which an unprivileged user namespace caps at 208 KiB
# (net.core.wmem_default); these are the measured costs of statements, rounded up.
_TRANSACTION_BYTES = 150_000
_RULE_BYTES, _ELEMENT_BYTES, _OTHER_BYTES = 700, 150, 300
_ELEMENTS_PER_STATEMENT = 100


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


@dataclass(frozen=True, kw_only=True)
class _Statement:
    text: str
    cost_bytes: int


def render(spec: FirewallSpec, *, table: str) -> list[str]:
    """Return the transactions that build ``table`` and let it take over, to be applied in order."""
    other = next(name for name in TABLES if name != table)
    transactions: list[str] = []
    lines = [f"add table inet {table}", f"delete table inet {table}", f"add table inet {table}"]
    size = 0
    for statement in _body(spec, table):
        if size + statement.cost_bytes > _TRANSACTION_BYTES:
            transactions.append(_transaction(lines))
            lines, size = [], 0
        lines.append(statement.text)
        size += statement.cost_bytes
    hooks = [f"add {line}" for line in _hook_lines(spec, table)]
    take_over = [*hooks, f"add table inet {other}", f"delete table inet {other}"]
    return [*transactions, _transaction([*lines, *take_over])]


def _transaction(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _body(spec: FirewallSpec, table: str) -> Iterator[_Statement]:
    """Everything but the hooks: sets with their elements, then chains, then rules."""
    sets = _sets(spec)
    for name, (kind, members) in sets.items():
        yield _Statement(text=f"add set inet {table} {name} {{ {kind}; }}", cost_bytes=_OTHER_BYTES)
        for start in range(0, len(members), _ELEMENTS_PER_STATEMENT):
            batch = members[start : start + _ELEMENTS_PER_STATEMENT]
            text = f"add element inet {table} {name} {{ {', '.join(batch)} }}"
            yield _Statement(text=text, cost_bytes=_ELEMENT_BYTES * len(batch))
    chains = _chains(spec)
    for name in chains:
        yield _Statement(text=f"add chain inet {table} {name}", cost_bytes=_OTHER_BYTES)
    for name, rules in chains.items():
        for rule in rules:
            cost_bytes = _RULE_BYTES + (_OTHER_BYTES if "{" in rule else 0)
            yield _Statement(text=f"add rule inet {table} {name} {rule}", cost_bytes=cost_bytes)


def _chains(spec: FirewallSpec) -> dict[str, list[str]]:
    chains: dict[str, list[str]] = {}
    for group in _groups_in_use(spec):
        chains[f"in_{_nft_id(group.group_id)}"] = _ingress_lines(group, spec.clients)
    chains["ingress"] = _ingress_dispatch(spec)
    for group in _groups_in_use(spec):
        chains[f"out_{_nft_id(group.group_id)}"] = _egress_lines(group)
    chains["egress"] = _egress_dispatch(spec)
    return chains


def _groups_in_use(spec: FirewallSpec) -> list[GroupSpec]:
    used = {group_id for interface in spec.interfaces for group_id in interface.group_ids}
    return [group for group in spec.groups if group.group_id in used]


def _sets(spec: FirewallSpec) -> dict[str, tuple[str, list[str]]]:
    """Each set's type (with its flags) and its elements."""
    sets: dict[str, tuple[str, list[str]]] = {}
    for group_id in _referenced_ids(spec):
        members = [each.private_ip for each in spec.interfaces if group_id in each.group_ids]
        sets[f"members_{_nft_id(group_id)}"] = ("type ipv4_addr", members)
    for group in _groups_in_use(spec):
        taps = [tap_name(each.interface_id) for each in spec.interfaces if group.group_id in each.group_ids]
        sets[f"taps_{_nft_id(group.group_id)}"] = ("type ifname", taps)
    sets["pinned"] = (
        "type ifname . ether_addr . ipv4_addr",
        [f"{tap_name(each.interface_id)} . {each.mac} . {each.private_ip}" for each in spec.interfaces],
    )
    sets["pinned_macs"] = (
        "type ifname . ether_addr",
        [f"{tap_name(each.interface_id)} . {each.mac}" for each in spec.interfaces],
    )
    sets["denied"] = ("type ipv4_addr; flags interval; auto-merge", _denied(spec))
    return sets


def _referenced_ids(spec: FirewallSpec) -> list[str]:
    """Every group a rule in use refers to, with members here or none."""
    rules = (rule for group in _groups_in_use(spec) for rule in (*group.ingress, *group.egress))
    return sorted({rule.group_id for rule in rules if rule.group_id is not None})


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
            for group in _groups_in_use(spec)
        ),
        "drop",
    ]


def _egress_dispatch(spec: FirewallSpec) -> list[str]:
    jumps = (
        f"iifname @taps_{_nft_id(group.group_id)} jump out_{_nft_id(group.group_id)}" for group in _groups_in_use(spec)
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


def _hook_lines(spec: FirewallSpec, table: str) -> Iterator[str]:
    for name, (hook, *rules) in _hooks(spec).items():
        yield f"chain inet {table} {name} {{ {hook} }}"
        for rule in rules:
            yield f"rule inet {table} {name} {rule}"


def _nft_id(group_id: str) -> str:
    return group_id.replace("-", "_")
