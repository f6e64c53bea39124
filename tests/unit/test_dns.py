"""DNS messages: which we answer, and how."""

import random
import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from bakehouse.network.dns import (
    ResponseCode,
    Zone,
    answer_locally,
    failure,
    is_reply_to,
    parse_query,
    with_transaction,
)
from bakehouse.network.dns_relay import HostResolvers

ZONE = Zone(
    vpc=IPv4Network("172.31.0.0/16"),
    region="us-east-1",
    public={IPv4Address("127.66.0.5"): IPv4Address("172.31.0.10")},
)


def query(name: str, kind: int = 1, *, number: int = 7) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)


def local(name: str, kind: int = 1, zone: Zone = ZONE) -> bytes | None:
    question = parse_query(query(name, kind))
    assert question is not None
    return answer_locally(question, zone)


def code(reply: bytes | None) -> int:
    assert reply is not None
    return int.from_bytes(reply[2:4], "big") & 15


def count(reply: bytes | None) -> int:
    assert reply is not None
    return int.from_bytes(reply[6:8], "big")


@pytest.mark.parametrize("name", ["ip-172-31-0-10.ec2.internal", "IP-172-31-0-10.EC2.Internal"])
def test_a_private_name_is_its_address(name: str) -> None:
    reply = local(name)
    assert reply is not None
    assert reply[-4:] == bytes([172, 31, 0, 10])
    assert (code(reply), count(reply)) == (0, 1)


def test_a_public_name_is_the_private_address_inside_the_vpc() -> None:
    reply = local("ec2-127-66-0-5.compute-1.amazonaws.com")
    assert reply is not None
    assert reply[-4:] == bytes([172, 31, 0, 10])


def test_names_follow_the_region() -> None:
    zone = Zone(vpc=ZONE.vpc, region="eu-west-1", public=ZONE.public)
    assert count(local("ip-172-31-0-10.eu-west-1.compute.internal", zone=zone)) == 1
    assert local("ip-172-31-0-10.ec2.internal", zone=zone) is None
    assert count(local("ec2-127-66-0-5.eu-west-1.compute.amazonaws.com", zone=zone)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "ip-10-0-0-1.ec2.internal",
        "ip-172-31-0-999.ec2.internal",
        "nothing.ec2.internal",
        "ec2-127-66-0-6.compute-1.amazonaws.com",
    ],
)
def test_names_that_would_be_ours_but_are_not_do_not_exist(name: str) -> None:
    assert code(local(name)) == ResponseCode.NAME_ERROR


def test_another_type_of_a_name_of_ours_is_an_empty_answer() -> None:
    reply = local("ip-172-31-0-10.ec2.internal", 28)
    assert (code(reply), count(reply)) == (0, 0)


def test_an_address_of_the_vpc_has_its_private_name() -> None:
    reply = local("10.0.31.172.in-addr.arpa", 12)
    assert reply is not None
    assert reply.endswith(b"\x0fip-172-31-0-10\x03ec2\x08internal\0".replace(b"\x0f", b"\x0e"))


@pytest.mark.parametrize("name", ["deb.debian.org", "1.0.0.10.in-addr.arpa", "amazonaws.com", "xec2.internal"])
def test_the_rest_is_for_the_world(name: str) -> None:
    assert local(name) is None


def test_a_reply_is_believed_only_with_its_number_and_question() -> None:
    question = parse_query(query("deb.debian.org"))
    assert question is not None
    reply = failure(question, ResponseCode.OK)
    assert is_reply_to(reply, question, 7)
    assert not is_reply_to(reply, question, 8)
    assert not is_reply_to(query("deb.debian.org"), question, 7)
    other = parse_query(query("evil.example"))
    assert other is not None
    assert not is_reply_to(failure(other, ResponseCode.OK), question, 7)
    assert parse_query(reply) is None
    assert with_transaction(reply, 0x0102)[:2] == b"\x01\x02"


def test_hostile_messages_never_raise() -> None:
    rng = random.Random(2)
    good = query("ip-172-31-0-10.ec2.internal")
    for _ in range(5000):
        data = bytearray(good[: rng.randrange(len(good) + 1)])
        for _ in range(rng.randrange(5)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        question = parse_query(bytes(data))
        if question is not None:
            answer_locally(question, ZONE)
            is_reply_to(bytes(data), question, 7)


def test_the_hosts_resolvers_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    resolvers = HostResolvers(path)
    assert resolvers() == ()
    path.write_text("# comment\nsearch x\nnameserver 192.0.2.1\nnameserver\n")
    assert resolvers() == ("192.0.2.1",)
    path.unlink()
    path.write_text("nameserver 192.0.2.7\nnameserver ::1\n")
    assert resolvers() == ("192.0.2.7", "::1")
