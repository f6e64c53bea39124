"""Does a guest's network stack answer? EC2's own reachability check: an ARP question to the interface.

Invariant: an answer counts for an interface only if it came by that interface's tap, from its MAC and for its
address. Guests are hostile: what is read is bounded, and anything else is passed over.
Source: EC2 User Guide, "Status checks for Amazon EC2 instances", instance status checks.
"""

import asyncio
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address

from bakehouse.network.addressing import ROUTER_MAC, subnet_router, tap_name
from bakehouse.network.spec import InterfaceSpec

ETHERTYPE = 0x0806
# destination, source, type; hardware, protocol, their lengths, operation; sender's MAC and IP, target's.
_FRAME = struct.Struct(">6s6sH HHBBH 6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_ETHERNET, _IPV4 = 1, 0x0800
_BROADCAST = b"\xff" * 6
_FRAME_LIMIT = 2048
_FRAMES_PER_TURN = 64


def question(interface: InterfaceSpec) -> bytes:
    """The frame in which the subnet's router asks who has the interface's address."""
    router, mac = subnet_router(interface.subnet_cidr).packed, _packed(ROUTER_MAC)
    head = (_BROADCAST, mac, ETHERTYPE, _ETHERNET, _IPV4, 6, 4, _REQUEST)
    return _FRAME.pack(*head, mac, router, bytes(6), IPv4Address(interface.private_ip).packed)


def is_answer(frame: bytes, interface: InterfaceSpec) -> bool:
    """Tell whether a frame that came by the interface's tap is its guest's answer."""
    if len(frame) < _FRAME.size:
        return False
    fields = _FRAME.unpack_from(frame)
    wanted = (ETHERTYPE, _ETHERNET, _IPV4, 6, 4, _REPLY, _packed(interface.mac))
    return fields[2:9] == wanted and fields[9] == IPv4Address(interface.private_ip).packed


async def find_answering(packets: socket.socket, interfaces: Iterable[InterfaceSpec], *, wait_s: float) -> set[str]:
    """Ask all at once through a packet socket of the namespace; the ids of those that answered in time."""
    asked = {tap_name(interface.interface_id): interface for interface in interfaces}
    for tap, interface in asked.items():
        with suppress(OSError):  # its machine has just ended, or takes no packets
            packets.sendto(question(interface), (tap, ETHERTYPE))
    answered: set[str] = set()
    done = asyncio.Event()

    def read() -> None:
        for _ in range(_FRAMES_PER_TURN):  # a flood must not hold up the loop
            try:
                frame, (tap, *_) = packets.recvfrom(_FRAME_LIMIT)
            except OSError:
                return
            interface = asked.get(tap)
            if interface is not None and is_answer(frame, interface):
                answered.add(interface.interface_id)
            if len(answered) == len(asked):
                done.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(packets, read)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), wait_s)
    finally:
        loop.remove_reader(packets)
    return answered


def _packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
