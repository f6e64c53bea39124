"""Forget the connections of an address, over the kernel's own netlink protocol.

Invariant: after ``flush_connections`` no tracked connection of the address is left in our network namespace,
so the next owner of the address inherits none. Standard library only: the VPC agent runs this.
Source: linux/netfilter/nfnetlink_conntrack.h, linux/netlink.h.
"""

import os
import socket
import struct
from collections.abc import Iterator

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_ORIGINAL, _REPLY, _ZONE, _ID = 1, 2, 18, 12
_TUPLE_IP, _V4_SOURCE, _V4_TARGET = 1, 1, 2
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")


def flush_connections(address: str) -> int:
    """Delete every tracked IPv4 connection with ``address`` at either end; return how many there were."""
    wanted = socket.inet_aton(address)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        entries = [entry for entry in _dump(netlink) if _mentions(entry, wanted)]
        return sum(_delete(netlink, entry) for entry in entries)


def _dump(netlink: socket.socket) -> Iterator[dict[int, bytes]]:
    netlink.send(_message(_GET, _REQUEST | _DUMP, b""))
    while True:
        for kind, body in _messages(netlink.recv(1 << 18)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                _raise(body)
            yield _attributes(body[_GENERIC.size :])


def _delete(netlink: socket.socket, entry: dict[int, bytes]) -> bool:
    """Delete one entry by its original direction; False when it ended meanwhile."""
    body = b"".join(
        _attribute(kind, entry[kind], nested=kind == _ORIGINAL) for kind in (_ORIGINAL, _ZONE, _ID) if kind in entry
    )
    netlink.send(_message(_DELETE, _REQUEST | _ACK, body))
    for kind, reply in _messages(netlink.recv(1 << 16)):
        if kind == _ERROR:
            code: int = struct.unpack_from("=i", reply)[0]
            if code not in (0, -2):  # ENOENT
                _raise(reply)
            return code == 0
    return False


def _mentions(entry: dict[int, bytes], address: bytes) -> bool:
    for direction in (_ORIGINAL, _REPLY):
        ends = _attributes(_attributes(entry.get(direction, b"")).get(_TUPLE_IP, b""))
        if address in (ends.get(_V4_SOURCE), ends.get(_V4_TARGET)):
            return True
    return False


def _message(kind: int, flags: int, attributes: bytes) -> bytes:
    body = _GENERIC.pack(socket.AF_INET, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _attribute(kind: int, value: bytes, *, nested: bool) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    padding = b"\0" * (_aligned(length) - length)
    return _ATTRIBUTE.pack(length, kind | (0x8000 if nested else 0)) + value + padding


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _raise(error_body: bytes) -> None:
    number = -struct.unpack_from("=i", error_body)[0]
    if number:
        raise OSError(number, f"conntrack: {os.strerror(number)}")
