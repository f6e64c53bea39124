"""The nft text a VPC's rules become."""

from ipaddress import IPv4Network

import pytest

from bakehouse.network.exposure import EVERYWHERE, LOOPBACK
from bakehouse.network.firewall import FirewallSpec, render
from bakehouse.network.spec import GroupSpec, InterfaceSpec, NetworkError, RuleSpec, VpcSpec

WEB = "sg-000000000000000aa"
DB = "sg-000000000000000bb"
WEB_NAME = "sg_000000000000000aa"
ANYWHERE = RuleSpec(protocol="-1", cidr="0.0.0.0/0")


def interface(number: int, *groups: str) -> InterfaceSpec:
    return InterfaceSpec(
        interface_id=f"eni-0000000000000{number:04x}",
        vpc_id="vpc-00000000000000001",
        mac=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
        private_ip=f"172.31.{number >> 8}.{number & 255}",
        subnet_cidr="172.31.0.0/20",
        group_ids=groups,
        public_ip=None,
        hostname="host",
    )


def spec(
    *groups: GroupSpec, interfaces: tuple[InterfaceSpec, ...] = (), clients: IPv4Network = LOOPBACK
) -> FirewallSpec:
    return FirewallSpec(
        vpc_cidr="172.31.0.0/16",
        interfaces=interfaces,
        groups=groups,
        denied=(IPv4Network("192.0.2.2/32"),),
        clients=clients,
    )


def ingress(*rules: RuleSpec, clients: IPv4Network = LOOPBACK) -> list[str]:
    """The lines of one group's ingress chain."""
    group = GroupSpec(group_id=WEB, ingress=rules, egress=())
    return chain(rendered(spec(group, interfaces=(interface(10, WEB),), clients=clients)), f"in_{WEB_NAME}")


def rendered(what: FirewallSpec) -> str:
    return "".join(render(what, table="vpc_a"))


def chain(text: str, name: str) -> list[str]:
    start = f"add rule inet vpc_a {name} "
    return [line.removeprefix(start).strip() for line in text.splitlines() if line.startswith(start)]


GOLDEN = """\
add table inet vpc_a
delete table inet vpc_a
add table inet vpc_a
add set inet vpc_a members_sg_000000000000000bb { type ipv4_addr; }
add set inet vpc_a taps_sg_000000000000000aa { type ifname; }
add element inet vpc_a taps_sg_000000000000000aa { tap00000000000a }
add set inet vpc_a pinned { type ifname . ether_addr . ipv4_addr; }
add element inet vpc_a pinned { tap00000000000a . 02:00:00:00:00:0a . 172.31.0.10 }
add set inet vpc_a pinned_macs { type ifname . ether_addr; }
add element inet vpc_a pinned_macs { tap00000000000a . 02:00:00:00:00:0a }
add set inet vpc_a denied { type ipv4_addr; flags interval; auto-merge; }
add element inet vpc_a denied { 0.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16/32, \
169.254.0.0/16, 172.31.0.0/16, 192.0.2.2/32, 198.51.100.1/32, 224.0.0.0/3 }
add chain inet vpc_a in_sg_000000000000000aa
add chain inet vpc_a ingress
add chain inet vpc_a out_sg_000000000000000aa
add chain inet vpc_a egress
add rule inet vpc_a in_sg_000000000000000aa tcp dport 80 accept
add rule inet vpc_a in_sg_000000000000000aa ip saddr @members_sg_000000000000000bb udp dport 53-54 \
accept
add rule inet vpc_a ingress oifname uplink0 ip daddr @denied reject with icmp type admin-prohibited
add rule inet vpc_a ingress oifname uplink0 accept
add rule inet vpc_a ingress oifname @taps_sg_000000000000000aa jump in_sg_000000000000000aa
add rule inet vpc_a ingress drop
add rule inet vpc_a out_sg_000000000000000aa goto ingress
add rule inet vpc_a egress iifname @taps_sg_000000000000000aa jump out_sg_000000000000000aa
add rule inet vpc_a egress drop
add chain inet vpc_a pre { type filter hook prerouting priority raw; policy drop; }
add rule inet vpc_a pre iifname { lo, uplink0 } accept
add rule inet vpc_a pre iifname . ether saddr . ip saddr @pinned accept
add rule inet vpc_a pre iifname . ether saddr @pinned_macs ip saddr 0.0.0.0 ip daddr \
255.255.255.255 udp sport 68 udp dport 67 accept
add chain inet vpc_a forward { type filter hook forward priority filter; policy drop; }
add rule inet vpc_a forward ct state established,related accept
add rule inet vpc_a forward ct state invalid drop
add rule inet vpc_a forward iifname "tap*" goto egress
add chain inet vpc_a input { type filter hook input priority filter; policy drop; }
add rule inet vpc_a input iifname lo accept
add rule inet vpc_a input ct state established,related accept
add rule inet vpc_a input iifname "tap*" udp sport 68 udp dport 67 accept
add rule inet vpc_a input iifname "tap*" ip daddr { 172.31.0.2, 169.254.169.253 } meta l4proto { \
tcp, udp } th dport 53 accept
add rule inet vpc_a input iifname "tap*" ip daddr 169.254.169.254 tcp dport 80 accept
add rule inet vpc_a input iifname "tap*" ip daddr { 172.31.0.1 } icmp type echo-request accept
add rule inet vpc_a input iifname "tap*" reject with icmp type admin-prohibited
add chain inet vpc_a output { type filter hook output priority filter; policy drop; }
add rule inet vpc_a output oifname lo accept
add rule inet vpc_a output ct state established,related accept
add rule inet vpc_a output oifname "tap*" udp sport 67 udp dport 68 accept
add rule inet vpc_a output oifname "tap*" ip saddr 198.51.100.1 goto ingress
add rule inet vpc_a output oifname "tap*" icmp type { destination-unreachable, time-exceeded } \
accept
add rule inet vpc_a output reject with icmp type admin-prohibited
add chain inet vpc_a post { type nat hook postrouting priority srcnat; }
add rule inet vpc_a post oifname uplink0 masquerade
add table inet vpc_b
delete table inet vpc_b
"""


def test_a_small_vpc_renders_to_this_text() -> None:
    web = GroupSpec(
        group_id=WEB,
        ingress=(
            RuleSpec(protocol="tcp", from_port=80, to_port=80, cidr="0.0.0.0/0"),
            RuleSpec(protocol="udp", from_port=53, to_port=54, group_id=DB),
        ),
        egress=(ANYWHERE,),
    )
    assert render(spec(web, interfaces=(interface(10, WEB),)), table="vpc_a") == [GOLDEN]


def test_without_groups_nothing_is_accepted_in_either_direction() -> None:
    text = rendered(spec(interfaces=(interface(10),)))
    assert chain(text, "egress") == ["drop"]
    assert chain(text, "ingress")[-1] == "drop"


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (RuleSpec(protocol="-1", cidr="0.0.0.0/0"), "accept"),
        (RuleSpec(protocol="-1", group_id=WEB), "ip saddr @members_sg_000000000000000aa accept"),
        (RuleSpec(protocol="6", from_port=1, to_port=1, cidr="0.0.0.0/0"), "tcp dport 1 accept"),
        (RuleSpec(protocol="tcp", cidr="0.0.0.0/0"), "meta l4proto tcp accept"),
        (RuleSpec(protocol="tcp", from_port=0, to_port=65535, cidr="0.0.0.0/0"), "meta l4proto tcp accept"),
        (RuleSpec(protocol="17", from_port=1, to_port=9, cidr="0.0.0.0/0"), "udp dport 1-9 accept"),
        (RuleSpec(protocol="icmp", from_port=-1, to_port=-1, cidr="0.0.0.0/0"), "ip protocol 1 accept"),
        (RuleSpec(protocol="icmp", from_port=8, to_port=-1, cidr="0.0.0.0/0"), "icmp type 8 accept"),
        (RuleSpec(protocol="1", from_port=3, to_port=4, cidr="0.0.0.0/0"), "icmp type 3 icmp code 4 accept"),
        (RuleSpec(protocol="50", cidr="10.0.0.0/8"), "ip saddr 10.0.0.0/8 ip protocol 50 accept"),
        (RuleSpec(protocol="-1", cidr="10.1.2.3/8"), "ip saddr 10.0.0.0/8 accept"),
    ],
)
def test_a_rule_becomes_one_line(rule: RuleSpec, line: str) -> None:
    assert ingress(rule) == [line]


def test_a_rule_for_an_ipv6_range_becomes_nothing() -> None:
    assert ingress(RuleSpec(protocol="-1", cidr="::/0")) == []


def test_a_rule_for_loopback_clients_admits_the_gateway_too() -> None:
    rule = RuleSpec(protocol="tcp", from_port=22, to_port=22, cidr="127.0.0.1/32")
    assert ingress(rule) == ["ip saddr { 127.0.0.1/32, 198.51.100.1 } tcp dport 22 accept"]


def test_a_rule_for_others_admits_no_gateway_where_only_loopback_clients_exist() -> None:
    rule = RuleSpec(protocol="tcp", from_port=22, to_port=22, cidr="10.0.0.0/8")
    assert ingress(rule) == ["ip saddr 10.0.0.0/8 tcp dport 22 accept"]
    assert ingress(rule, clients=EVERYWHERE) == ["ip saddr { 10.0.0.0/8, 198.51.100.1 } tcp dport 22 accept"]


def test_an_egress_rule_limits_the_far_side() -> None:
    rules = (RuleSpec(protocol="tcp", from_port=443, to_port=443, cidr="10.0.0.0/8"),)
    group = GroupSpec(group_id=WEB, ingress=(), egress=rules)
    text = rendered(spec(group, interfaces=(interface(10, WEB),)))
    assert chain(text, "out_sg_000000000000000aa") == ["ip daddr 10.0.0.0/8 tcp dport 443 goto ingress"]


def test_groups_without_members_cost_nothing_but_what_others_refer_to() -> None:
    web = GroupSpec(group_id=WEB, ingress=(RuleSpec(protocol="-1", group_id=DB),), egress=())
    idle = GroupSpec(group_id=DB, ingress=(ANYWHERE,) * 50, egress=())
    text = rendered(spec(web, idle, interfaces=(interface(10, WEB),)))
    assert "add set inet vpc_a members_sg_000000000000000bb { type ipv4_addr; }" in text
    assert "in_sg_000000000000000bb" not in text


def test_a_large_vpc_is_built_out_of_sight_and_takes_over_at_the_end() -> None:
    many = tuple(interface(number, WEB) for number in range(10, 1500))
    first, *others = render(spec(GroupSpec(group_id=WEB, ingress=(), egress=()), interfaces=many), table="vpc_b")
    assert others
    hooked = [index for index, text in enumerate([first, *others]) if " hook " in text]
    assert hooked == [len(others)]
    assert others[-1].endswith("add table inet vpc_a\ndelete table inet vpc_a\n")
    together = "".join([first, *others])
    assert all(f" {each.private_ip}," in together or f" {each.private_ip} " in together for each in many)


@pytest.mark.parametrize(
    "change",
    [
        {"mac": "02:00:00:00:00:0a; flush ruleset"},
        {"mac": "02:00:00:00:00:0A"},
        {"group_ids": ("sg-1 } accept",)},
        {"private_ip": "10.0.0.1"},
        {"interface_id": "eni-../../x"},
        {"hostname": "a b"},
    ],
)
def test_a_value_that_could_break_out_of_the_text_is_refused(change: dict[str, object]) -> None:
    good: dict[str, object] = {
        "interface_id": "eni-00000000000000001",
        "vpc_id": "vpc-00000000000000001",
        "mac": "02:00:00:00:00:0a",
        "private_ip": "172.31.0.10",
        "subnet_cidr": "172.31.0.0/20",
        "group_ids": (WEB,),
        "public_ip": None,
        "hostname": "host",
    }
    with pytest.raises(NetworkError):
        InterfaceSpec(**{**good, **change})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("protocol", ["tcp; drop", "256", "-2", ""])
def test_an_unknown_protocol_is_refused(protocol: str) -> None:
    with pytest.raises(NetworkError):
        RuleSpec(protocol=protocol, cidr="0.0.0.0/0")


def test_an_agent_never_gets_a_machines_uid_or_roots() -> None:
    for uid in (0, 1001, 66535):
        with pytest.raises(NetworkError):
            VpcSpec(
                vpc_id="vpc-00000000000000001", region="us-east-1", cidr="172.31.0.0/16", agent_uid=uid, uid_base=1000
            )
