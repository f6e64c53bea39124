"""DHCP for the guests of a VPC: every interface is told its one address, for ever.

Invariant: who asks is known from the device the packet came in by, never from what the packet says; a packet
that is not a well-formed request of that interface is dropped, and never raises.
Sources: RFC 2131, RFC 2132; VPC User Guide, "DHCP option sets".
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from bakehouse.network.addressing import TAP_MTU, subnet_router, vpc_resolver
from bakehouse.network.names import private_domain
from bakehouse.network.spec import InterfaceSpec

SERVER_PORT, CLIENT_PORT = 67, 68
# EC2's lease time.
LEASE_S = 3600
_MAGIC = b"\x63\x82\x53\x63"
# op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, magic
_HEADER = struct.Struct(">BBBB4sHH4s4s4s4s16s64s128s4s")
_REQUEST, _REPLY = 1, 2
_ETHERNET = 1
_BROADCAST_FLAG = 0x8000
_MINIMUM_LENGTH = 300
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=I4s4s")
_BATCH = 32


class _Option(IntEnum):
    SUBNET_MASK = 1
    ROUTER = 3
    RESOLVER = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    INTERFACE_MTU = 26
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    MESSAGE_TYPE = 53
    SERVER_IDENTIFIER = 54
    END = 255


class _Message(IntEnum):
    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    ACK = 5
    NAK = 6
    INFORM = 8


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What an interface is told. ``domain`` is also the search domain."""

    mac: bytes
    address: IPv4Address
    netmask: IPv4Address
    router: IPv4Address
    resolver: IPv4Address
    hostname: str
    domain: str
    mtu: int = TAP_MTU

    @classmethod
    def of(cls, interface: InterfaceSpec, *, vpc_cidr: str, region: str) -> "Lease":
        """The lease of an interface."""
        return cls(
            mac=bytes.fromhex(interface.mac.replace(":", "")),
            address=IPv4Address(interface.private_ip),
            netmask=ipaddress.IPv4Network(interface.subnet_cidr).netmask,
            router=subnet_router(interface.subnet_cidr),
            resolver=vpc_resolver(vpc_cidr),
            hostname=interface.hostname.partition(".")[0],
            domain=private_domain(region),
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A packet to send back; to the broadcast address when the client cannot take a unicast yet."""

    packet: bytes
    target: str


@dataclass(frozen=True, kw_only=True)
class _Query:
    message: int
    transaction: bytes
    flags: int
    client_address: bytes
    hardware: bytes
    options: dict[int, bytes]


def answer(packet: bytes, lease: Lease) -> Answer | None:
    """Answer one packet that came from the lease's interface; None to stay silent."""
    query = _parse(packet)
    if query is None or query.hardware[:6] != lease.mac:
        return None
    server = query.options.get(_Option.SERVER_IDENTIFIER)
    if server is not None and server != lease.router.packed:
        return None
    if query.message == _Message.DISCOVER:
        return _compose(query, lease, _Message.OFFER)
    if query.message == _Message.INFORM:
        return _compose(query, lease, _Message.ACK)
    if query.message == _Message.REQUEST:
        wanted = query.options.get(_Option.REQUESTED_ADDRESS, query.client_address)
        return _compose(query, lease, _Message.ACK if wanted == lease.address.packed else _Message.NAK)
    return None


def _parse(packet: bytes) -> _Query | None:
    if len(packet) < _HEADER.size:
        return None
    fields = _HEADER.unpack_from(packet)
    operation, kind, length, _, transaction, _, flags, client_address, *_ = fields
    if (operation, kind, length, fields[-1]) != (_REQUEST, _ETHERNET, 6, _MAGIC):
        return None
    options = _parse_options(packet[_HEADER.size :])
    message = options.get(_Option.MESSAGE_TYPE, b"")
    if len(message) != 1:
        return None
    return _Query(
        message=message[0],
        transaction=transaction,
        flags=flags,
        client_address=client_address,
        hardware=fields[11],
        options=options,
    )


def _parse_options(data: bytes) -> dict[int, bytes]:
    """Read options up to the end mark or the first that is cut short; repeated ones are joined (RFC 3396)."""
    options: dict[int, bytes] = {}
    position = 0
    while position + 1 < len(data) and data[position] != _Option.END:
        if data[position] == 0:
            position += 1
            continue
        code, length = data[position], data[position + 1]
        value = data[position + 2 : position + 2 + length]
        if len(value) < length:
            break
        options[code] = options.get(code, b"") + value
        position += 2 + length
    return options


def _compose(query: _Query, lease: Lease, message: _Message) -> Answer:
    is_refusal = message == _Message.NAK
    is_inform = query.message == _Message.INFORM
    options = [(_Option.MESSAGE_TYPE, bytes([message])), (_Option.SERVER_IDENTIFIER, lease.router.packed)]
    if not is_refusal:
        options += _lease_options(lease, with_time=not is_inform)
    given = bytes(4) if is_refusal or is_inform else lease.address.packed
    header = _HEADER.pack(
        *(_REPLY, _ETHERNET, 6, 0, query.transaction, 0, query.flags),
        *(bytes(4) if is_refusal else query.client_address, given, bytes(4), bytes(4)),
        *(query.hardware, bytes(64), bytes(128), _MAGIC),
    )
    body = b"".join(bytes([code, len(value)]) + value for code, value in options)
    packet = (header + body + bytes([_Option.END])).ljust(_MINIMUM_LENGTH, b"\0")
    must_broadcast = is_refusal or bool(query.flags & _BROADCAST_FLAG)
    return Answer(packet=packet, target="255.255.255.255" if must_broadcast else str(lease.address))


def _lease_options(lease: Lease, *, with_time: bool) -> list[tuple[_Option, bytes]]:
    time = [(_Option.LEASE_TIME, struct.pack(">I", LEASE_S))] if with_time else []
    return [
        *time,
        (_Option.SUBNET_MASK, lease.netmask.packed),
        (_Option.ROUTER, lease.router.packed),
        (_Option.RESOLVER, lease.resolver.packed),
        (_Option.HOST_NAME, lease.hostname.encode()[:255]),
        (_Option.DOMAIN_NAME, lease.domain.encode()[:255]),
        (_Option.INTERFACE_MTU, struct.pack(">H", lease.mtu)),
    ]


# --- on a socket ------------------------------------------------------------------------------------------

SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    (socket.SOL_SOCKET, socket.SO_BROADCAST, 1),
    (socket.IPPROTO_IP, _IP_PKTINFO, 1),
)


class DhcpServer:
    """Answers on one namespace's socket (bound to port 67, with SOCKET_OPTIONS) until closed.

    ``find_lease`` maps the index of the device a packet came in by to its lease. A reply goes out by the same
    device: the route and the permanent neighbour make a unicast work before the guest has its address.
    """

    def __init__(self, server: socket.socket, find_lease: Callable[[int], Lease | None]) -> None:
        self._socket = server
        self._find_lease = find_lease
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(server, self._readable)

    def close(self) -> None:
        """Stop answering."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(_BATCH):  # one guest's flood must not hold up the loop
            try:
                packet, ancillary, _, _ = self._socket.recvmsg(2048, 256)
            except OSError:
                return
            for level, kind, data in ancillary:
                if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= _PKTINFO.size:
                    self._answer(packet, _PKTINFO.unpack_from(data)[0])

    def _answer(self, packet: bytes, device: int) -> None:
        lease = self._find_lease(device)
        reply = answer(packet, lease) if lease is not None else None
        if reply is None or lease is None:
            return
        info = _PKTINFO.pack(device, lease.router.packed, bytes(4))
        with suppress(OSError):  # the device just went away, or its queue is full: the guest asks again
            self._socket.sendmsg(
                [reply.packet], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, (reply.target, CLIENT_PORT)
            )
