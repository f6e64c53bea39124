"""What of an interface clients of its public address may reach."""

from ipaddress import IPv4Address, IPv4Network

from bakehouse.network.exposure import (
    EVERYWHERE,
    LOOPBACK,
    PORT_LIMIT,
    client_network,
    is_admitted,
    open_ports,
)
from bakehouse.network.spec import TCP, UDP, RuleSpec

LOCAL = IPv4Address("127.0.0.1")


def tcp(first: int, last: int, cidr: str = "0.0.0.0/0") -> RuleSpec:
    return RuleSpec(protocol="tcp", from_port=first, to_port=last, cidr=cidr)


def test_the_ports_of_rules_that_hold_clients_are_open() -> None:
    rules = [tcp(22, 22), tcp(8000, 8002, "127.0.0.0/8"), tcp(9, 9, "10.0.0.0/8")]
    assert open_ports(rules, TCP, LOOPBACK).ports == {22, 8000, 8001, 8002}
    assert open_ports(rules, TCP, EVERYWHERE).ports == {9, 22, 8000, 8001, 8002}


def test_rules_of_other_protocols_groups_and_ipv6_open_nothing() -> None:
    rules = [
        RuleSpec(protocol="udp", from_port=53, to_port=53, cidr="0.0.0.0/0"),
        RuleSpec(protocol="tcp", from_port=1, to_port=1, group_id="sg-000000000000000aa"),
        RuleSpec(protocol="tcp", from_port=2, to_port=2, cidr="::/0"),
        RuleSpec(protocol="icmp", from_port=-1, to_port=-1, cidr="0.0.0.0/0"),
    ]
    assert open_ports(rules, TCP, EVERYWHERE).ports == frozenset()
    assert open_ports(rules, UDP, EVERYWHERE).ports == {53}


def test_of_all_traffic_the_usual_ports_are_open_and_it_is_said() -> None:
    chosen = open_ports([RuleSpec(protocol="-1", cidr="0.0.0.0/0"), tcp(34567, 34567)], TCP, LOOPBACK)
    assert chosen.is_capped
    assert {22, 80, 443, 1023, 8080, 34567} <= chosen.ports
    assert len(chosen.ports) <= PORT_LIMIT
    assert not open_ports([tcp(22, 22)], TCP, LOOPBACK).is_capped


def test_a_client_is_admitted_by_its_own_address_only() -> None:
    rules = [tcp(22, 22, "203.0.113.7/32"), tcp(80, 90, "127.0.0.0/8")]
    assert is_admitted(rules, TCP, 85, LOCAL)
    assert not is_admitted(rules, TCP, 22, LOCAL)
    assert is_admitted(rules, TCP, 22, IPv4Address("203.0.113.7"))
    assert not is_admitted(rules, UDP, 85, LOCAL)
    assert not is_admitted(rules, TCP, 91, LOCAL)


def test_loopback_addresses_have_loopback_clients_only() -> None:
    assert client_network(IPv4Network("127.66.0.0/16")) == LOOPBACK
    assert client_network(IPv4Network("192.168.5.0/24")) == EVERYWHERE
