"""Listen on one address, beside programs of the host that listen on all addresses (an sshd, say).

Invariant: a port somebody listens on at exactly our address is never taken over. Linux refuses a port at one
address while another program listens on it at 0.0.0.0, though connections would go to the more exact one. A
socket in repair mode (TCP_REPAIR, for which the service needs CAP_NET_ADMIN) is exempt; what it accepts is put
back to normal.
"""

import errno
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

_BACKLOG = 256
_TCP_REPAIR = 19
_REPAIR_ON, _REPAIR_OFF_SILENTLY = 1, -1
_LISTENING = "0A"
_SOCKETS = Path("/proc/net/tcp")


def open_listener(address: str, port: int) -> socket.socket:
    """Listen, non-blocking; OSError (EADDRINUSE, EACCES, EADDRNOTAVAIL ...) when that cannot be."""
    try:
        return _listen(address, port, is_exempt=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or _is_taken_exactly(address, port):
            raise
        with suppress(PermissionError):
            return _listen(address, port, is_exempt=True)
        raise


def accept(listener: socket.socket) -> tuple[socket.socket, IPv4Address]:
    """Accept one connection, non-blocking; OSError when there is none or it cannot be had."""
    client, peer = listener.accept()
    try:
        client.setblocking(False)
        if listener.getsockopt(socket.IPPROTO_TCP, _TCP_REPAIR):
            client.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_OFF_SILENTLY)
    except OSError:
        client.close()
        raise
    return client, IPv4Address(peer[0])


def _listen(address: str, port: int, *, is_exempt: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_exempt:
            listener.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_ON)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_taken_exactly(address: str, port: int) -> bool:
    """Tell whether somebody listens on the port at this very address."""
    (number,) = struct.unpack("=I", socket.inet_aton(address))
    wanted = f"{number:08X}:{port:04X}"
    for line in _SOCKETS.read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == wanted and words[3] == _LISTENING:
            return True
    return False
