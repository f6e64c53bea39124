"""The program that becomes a VPC's slirp4netns: prepare, confine, exec; report to the service on stdout.

Invariant: slirp4netns runs without capabilities on the host and sees the tun device it was given, in a mount
namespace of its own where the system's device is closed to it. Standard library only.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from bakehouse.host.spawn import exec_confined
from bakehouse.network.addressing import UPLINK, UPLINK_MTU

_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18
_TUN = b"/dev/net/tun"
_READY = b"1"


def main() -> None:
    """Carry out the order in argv[1]; print slirp4netns' pid once it is up, or exit saying why not."""
    order = json.loads(sys.argv[1])
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        _become_uplink(order, ready_write)
    os.close(ready_write)
    answer = os.read(ready_read, 4096)
    if answer != _READY:
        sys.exit(answer.decode(errors="replace") or "slirp4netns ended at once")
    print(pid)  # noqa: T201  # our one output, read by the service


def _become_uplink(order: dict[str, Any], ready: int) -> NoReturn:
    try:
        if order["tun"] is not None:
            _show_tun(order["tun"])
        # The log lies in a directory of the new uid's that cannot be reached by a path from the root.
        os.chdir(order["directory"])
        exec_confined(_argv(order["cidr"]), fds=[ready, *order["fds"]], uid=order["uid"], log=Path(order["log"]))
    except BaseException as error:  # whatever it is, the service must read it
        os.write(ready, f"slirp4netns: {error}".encode()[:4096])
    os._exit(1)


def _argv(cidr: str) -> list[str]:
    """slirp4netns' words; its descriptors are 3 ready, 4 exit, 5 user and 6 network namespace."""
    return [
        "slirp4netns",
        "--configure",
        f"--mtu={UPLINK_MTU}",
        f"--cidr={cidr}",
        "--disable-host-loopback",
        "--disable-dns",
        "--enable-seccomp",
        "--ready-fd=3",
        "--exit-fd=4",
        "--userns-path=/proc/self/fd/5",
        "--netns-type=path",
        "/proc/self/fd/6",
        UPLINK,
    ]


def _show_tun(path: str) -> None:
    """Put the given device over /dev/net/tun, for this process and its children only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.unshare(_CLONE_NEWNS)
        or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        or libc.mount(path.encode(), _TUN, None, _MS_BIND, None)
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"could not show the tun device: {os.strerror(number)}")
