"""A machine's stand-in for network tests: real kernel networking behind a real tap, without booting anything.

Two processes: the *machine* runs where QEMU would (inside the VPC's namespaces, confined, with the tap as
descriptor 3) and only carries frames between that tap and another; the *guest* is a network namespace with that
other tap as its ``eth0``, and runs commands. The guest ends with its machine.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bakehouse.network.namespace import open_tun_node
from bakehouse.network.spec import InterfaceSpec
from bakehouse.network.vpc import VpcNetwork
from bakehouse.paths import StateDirectory
from tests.framework.patience import PATIENCE_S, wait_for

# How long something is tried that should be open, and something that should be closed: the first ends as soon as it
# is, the second always takes that long.
OPENS_S, CLOSED_S = 30.0, 0.7
# The system's own interpreter: machines run under uids that may not enter a virtual environment.
_PYTHON = "/usr/bin/python3"

_GUEST = r"""
import ctypes, fcntl, json, os, socket, struct, subprocess, sys, threading
control_fd, tun_fd, life_fd = map(int, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.getuid(), os.getgid()
assert libc.unshare(0x10000000 | 0x40000000) == 0, os.strerror(ctypes.get_errno())
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file: file.write(text)
tap = os.open(f"/proc/self/fd/{tun_fd}", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"eth0", 0x2 | 0x1000 | 0x4000))
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
sock = socket.socket(fileno=control_fd)
socket.send_fds(sock, [b"x"], [tap]); os.close(tap)
def live_with_machine():
    os.read(life_fd, 1)
    os._exit(0)
threading.Thread(target=live_with_machine, daemon=True).start()
control = sock.makefile("rwb")
for line in iter(control.readline, b""):
    order = json.loads(line)
    try:
        done = subprocess.run(order["argv"], input=order["stdin"], capture_output=True, text=True,
                              timeout=order["timeout"])
        reply = [done.returncode, done.stdout, done.stderr]
    except Exception as error:
        reply = [-1, "", repr(error)]
    control.write(json.dumps(reply).encode() + b"\n"); control.flush()
threading.Event().wait()  # the test died; the machine goes on
"""

_MACHINE = r"""
import os, select
for fd in (3, 4): os.set_blocking(fd, False)
poll = select.poll(); poll.register(3, select.POLLIN); poll.register(4, select.POLLIN)
while True:
    for fd, _ in poll.poll():
        for _ in range(64):
            try:
                frame = os.read(fd, 70000)
            except BlockingIOError:
                break
            try:
                os.write(7 - fd, frame)
            except OSError:
                pass
"""

_DHCP_CLIENT = r"""
import json, os, socket, struct, sys
mac = bytes.fromhex(sys.argv[1])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
s.bind(("", 68)); s.settimeout(30)
def ask(kind, extra=b""):
    xid = os.urandom(4)
    head = struct.pack(">BBBB4sHH16s16s64s128s", 1, 1, 6, 0, xid, 0, 0x8000, b"", mac, b"", b"")
    s.sendto(head + b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + extra + b"\xff", ("255.255.255.255", 67))
    while True:
        data = s.recv(2048)
        if data[4:8] == xid: break
    options, i = {}, 240
    while data[i] != 255:
        options[data[i]] = data[i + 2 : i + 2 + data[i + 1]].hex(); i += 2 + data[i + 1]
    return socket.inet_ntoa(data[16:20]), options
address, _ = ask(1)
address, options = ask(3, bytes([50, 4]) + socket.inet_aton(address))
print(json.dumps([address, options]))
"""

_CONNECT = r"""
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])); print("open")
    s.settimeout(float(sys.argv[3])); s.sendall(b"hello\r\n\r\n"); print(s.recv(100).decode())
except ConnectionRefusedError: print("refused")
except TimeoutError: print("timeout")
except OSError as error: print("error", error)
"""

_ECHO_SERVER = r"""
import socket, sys, threading, time
port = int(sys.argv[1])
t = socket.create_server(("0.0.0.0", port))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", port))
def udp():
    while True:
        data, peer = u.recvfrom(65535); u.sendto(f"{sys.argv[2]} {peer[0]} ".encode() + data, peer)
threading.Thread(target=udp, daemon=True).start()
def talk(c, peer):
    with c:
        while data := c.recv(65536): c.sendall(f"{sys.argv[2]} {peer[0]} ".encode() + data)
while True:
    c, peer = t.accept(); threading.Thread(target=talk, args=(c, peer), daemon=True).start()
"""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command in the guest said."""

    exit_code: int
    stdout: str
    stderr: str


class FakeGuest:
    """One fake machine on an interface of a VPC."""

    def __init__(self, network: VpcNetwork, state: StateDirectory, interface: InterfaceSpec, uid: int | None) -> None:
        self.interface = interface
        self._socket, theirs = socket.socketpair()
        life_read, life_write = os.pipe()
        with theirs, open_tun_node(state, is_root=uid is not None) as tun_fd:
            fds = (theirs.fileno(), tun_fd, life_read)
            argv = [_PYTHON, "-I", "-S", "-c", _GUEST, *map(str, fds)]
            self._guest = subprocess.Popen(argv, pass_fds=fds, start_new_session=True)
        os.close(life_read)
        self._socket.settimeout(300)
        _, (far_tap,), _, _ = socket.recv_fds(self._socket, 1, 1)
        tap = network.add_interface(interface)
        argv = [_PYTHON, "-I", "-S", "-c", _MACHINE]
        try:
            self.pid = network.spawn(argv, fds=[tap, far_tap, life_write], uid=uid, log=Path(os.devnull))
        finally:
            for fd in (tap, far_tap, life_write):
                os.close(fd)
        self._control = self._socket.makefile("rwb")
        self.check("ip", "link", "set", "eth0", "address", interface.mac, "mtu", "9001", "up")

    def run(self, *argv: str, stdin: str = "", timeout_s: float = 120) -> Said:
        """Run a program in the guest."""
        self._control.write(json.dumps({"argv": argv, "stdin": stdin, "timeout": timeout_s}).encode() + b"\n")
        self._control.flush()
        code, out, err = json.loads(self._control.readline())
        return Said(exit_code=code, stdout=out, stderr=err)

    def check(self, *argv: str, stdin: str = "") -> str:
        """Run a program that must succeed; return what it printed."""
        said = self.run(*argv, stdin=stdin)
        assert said.exit_code == 0, said
        return said.stdout.strip()

    def python(self, code: str, *words: str) -> str:
        """Run Python code in the guest; return what it printed."""
        return self.check(_PYTHON, "-c", code, *words)

    def dhcp(self) -> tuple[str, dict[str, str]]:
        """Ask for the address as a client does; (address, options as hexadecimal text)."""
        address, options = json.loads(self.python(_DHCP_CLIENT, self.interface.mac.replace(":", "")))
        return address, options

    def configure(self, *, router: str = "172.31.0.1", prefix: int = 20) -> None:
        """Take the address by hand."""
        self.check("ip", "addr", "add", f"{self.interface.private_ip}/{prefix}", "dev", "eth0")
        self.check("ip", "route", "add", "default", "via", router)

    def connect(self, address: str, port: int, *, timeout_s: float = OPENS_S) -> str:
        """Try a TCP connection: 'open ...' with the greeting, 'refused', 'timeout' or 'error ...'."""
        return self.python(_CONNECT, address, str(port), str(timeout_s))

    def serve_echo(self, port: int, name: str) -> None:
        """Serve TCP and UDP echo on a port, prefixed with ``name`` and the peer's address."""
        launcher = (
            "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True,"
            "stdin=-3, stdout=-3, stderr=-3)"
        )
        self.python(launcher, _PYTHON, "-c", _ECHO_SERVER, str(port), name)
        wait_for(lambda: self.connect("127.0.0.1", port).startswith("open"), f"{name} at {port}")

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        wait_gone(self.pid)
        self._guest.wait(PATIENCE_S)
        self._control.close()
        self._socket.close()


def wait_gone(pid: int) -> None:
    """Wait until a process ended (a zombie counts as ended)."""
    wait_for(lambda: not is_running(pid), f"the end of process {pid}", pause_s=0.01)


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def echo_server_argv(port: int, name: str) -> Sequence[str]:
    """The echo server as a program for a namespace of the test's own."""
    return [sys.executable, "-c", _ECHO_SERVER, str(port), name]
