"""DHCP packets in and out."""

import random
import socket
import struct

import pytest

from bakehouse.network.dhcp import Answer, Lease, answer
from bakehouse.network.spec import InterfaceSpec

MAC = bytes.fromhex("02000000000a")
LEASE = Lease.of(
    InterfaceSpec(
        interface_id="eni-00000000000000001",
        vpc_id="vpc-00000000000000001",
        mac="02:00:00:00:00:0a",
        private_ip="172.31.16.10",
        subnet_cidr="172.31.16.0/20",
        group_ids=(),
        public_ip=None,
        hostname="ip-172-31-16-10.ec2.internal",
    ),
    vpc_cidr="172.31.0.0/16",
    region="us-east-1",
)
ROUTER = bytes([172, 31, 16, 1])


def packet(kind: int, options: bytes = b"", *, mac: bytes = MAC, flags: int = 0, client: str = "0.0.0.0") -> bytes:
    head = struct.pack(
        ">BBBB4sHH4s12s16s64s128s",
        1,
        1,
        6,
        0,
        b"abcd",
        0,
        flags,
        socket.inet_aton(client),
        b"",
        mac,
        b"",
        b"",
    )
    return head + b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + options + b"\xff"


def options(reply: Answer) -> dict[int, bytes]:
    data, found, position = reply.packet, {}, 240
    while data[position] != 255:
        length = data[position + 1]
        found[data[position]] = data[position + 2 : position + 2 + length]
        position += 2 + length
    return found


def ask(data: bytes) -> Answer:
    reply = answer(data, LEASE)
    assert reply is not None
    return reply


def test_a_discover_is_offered_the_interfaces_address_and_settings() -> None:
    reply = ask(packet(1))
    assert reply.packet[0] == 2
    assert reply.packet[4:8] == b"abcd"
    assert socket.inet_ntoa(reply.packet[16:20]) == "172.31.16.10"
    assert reply.target == "172.31.16.10"
    assert len(reply.packet) >= 300
    assert options(reply) == {
        53: b"\x02",
        54: ROUTER,
        51: struct.pack(">I", 3600),
        1: bytes([255, 255, 240, 0]),
        3: ROUTER,
        6: bytes([172, 31, 0, 2]),
        12: b"ip-172-31-16-10",
        15: b"ec2.internal",
        26: struct.pack(">H", 9001),
    }


def test_a_request_for_that_address_is_acknowledged_and_for_another_refused() -> None:
    assert options(ask(packet(3, bytes([50, 4, 172, 31, 16, 10]))))[53] == b"\x05"
    refused = ask(packet(3, bytes([50, 4, 172, 31, 16, 11])))
    assert options(refused)[53] == b"\x06"
    assert refused.target == "255.255.255.255"
    assert refused.packet[16:20] == bytes(4)


def test_a_renewal_names_its_address_in_the_header() -> None:
    assert options(ask(packet(3, client="172.31.16.10")))[53] == b"\x05"


def test_an_inform_gets_the_settings_but_no_lease() -> None:
    reply = ask(packet(8, client="172.31.16.10"))
    assert reply.packet[16:20] == bytes(4)
    assert 51 not in options(reply)


def test_a_client_that_asks_for_a_broadcast_gets_one() -> None:
    assert ask(packet(1, flags=0x8000)).target == "255.255.255.255"


def test_a_request_meant_for_another_server_is_left_alone() -> None:
    assert answer(packet(3, bytes([54, 4, 10, 0, 0, 1])), LEASE) is None


def test_another_hardware_address_on_the_interface_gets_no_answer() -> None:
    assert answer(packet(1, mac=bytes.fromhex("0200000000bb")), LEASE) is None


@pytest.mark.parametrize("kind", [0, 2, 4, 5, 6, 7, 9, 255])
def test_messages_that_need_no_answer_get_none(kind: int) -> None:
    assert answer(packet(kind), LEASE) is None


def test_hostile_packets_never_raise() -> None:
    rng = random.Random(1)
    good = packet(3, bytes([50, 4, 172, 31, 16, 10]))
    for _ in range(3000):
        data = bytearray(good[: rng.randrange(len(good) + 1)])
        for _ in range(rng.randrange(6)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        answer(bytes(data), LEASE)
    answer(good[:-1] + bytes([12, 255]), LEASE)
    answer(good[:-1] + bytes([53]), LEASE)
