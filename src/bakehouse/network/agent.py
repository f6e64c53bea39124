"""The agent of one VPC: it lives in the VPC's user and network namespace and acts there for the service.

Started as a program with one JSON order (``AgentOrder``), it forks: the child drops to the agent's uid, makes
or joins the namespaces and answers requests on an inherited listening socket; the parent, which still has
the service's rights, writes the child's uid maps, prints its pid and ends. So the agent is nobody's child and
outlives the service.

Protocol: SOCK_SEQPACKET, one JSON request per packet, one JSON reply per request in order; descriptors travel
by SCM_RIGHTS beside either. A reply holds ``error`` (and perhaps ``errno``) or ``result``.

Invariant: outside its namespaces the agent holds no capability. Standard library only: it stays small.
"""

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bakehouse.host.spawn import exec_confined
from bakehouse.network.conntrack import flush_connections

REQUEST_LIMIT = 128 * 1024
DESCRIPTOR_LIMIT = 64
_OUTPUT_LIMIT = 16 * 1024
_PROGRAM_TIMEOUT_S = 30
_CLIENT_TIMEOUT_S = 10
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x2, 0x1000, 0x4000
_SYSCTL_ROOT = "/proc/sys/net/"
_MACHINE_UIDS = 65535
_ETHERTYPE_ARP = 0x0806
# Packet sockets hear ARP only.
_SOCKET_KINDS = {
    "stream": (socket.AF_INET, socket.SOCK_STREAM, 0),
    "dgram": (socket.AF_INET, socket.SOCK_DGRAM, 0),
    "arp": (socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE_ARP)),
}

Reply = tuple[Any, list[int]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request: its JSON values and the descriptors that came along (ours until it is answered)."""

    values: dict[str, Any]
    fds: list[int]


# --- start ------------------------------------------------------------------------------------------------


def main() -> None:
    """Run the order in argv[1]; print the agent's pid, or the reason why there is none, and exit."""
    order = json.loads(sys.argv[1])
    up_read, up_write = os.pipe()
    down_read, down_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(up_read)
        os.close(down_write)
        _become_agent(order, up_write, down_read)
    os.close(up_write)
    os.close(down_read)
    answer = os.read(up_read, 4096)
    if answer == b"unshared":
        _write_maps(order, pid)
        os.write(down_write, b"mapped")
        answer = os.read(up_read, 4096)
    if answer != b"ready":
        sys.exit(answer.decode(errors="replace") or "the agent died while starting")
    print(pid)  # noqa: T201  # our one output, read by the service


def _become_agent(order: dict[str, Any], up: int, down: int) -> NoReturn:
    """The child's half: report each step on ``up``, then serve for ever."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for stream in (1, 2):
            os.dup2(order["log_fd"], stream)
        os.chdir("/")
        _drop_identity(order["agent_uid"])
        _enter_namespaces(order, up, down)
        agent = Agent(order)
        os.write(up, b"ready")
        os.close(up)
        os.close(down)
    except BaseException as error:  # whatever it is, the service must read it
        os.write(up, f"{type(error).__name__}: {error}".encode()[:4000])
        os._exit(1)
    agent.serve()


def _drop_identity(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _check(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)


def _enter_namespaces(order: dict[str, Any], up: int, down: int) -> None:
    if order["join"]:
        user_fd, net_fd = order["join"]
        _check(_libc().setns(user_fd, _CLONE_NEWUSER), "join the user namespace")
        _check(_libc().setns(net_fd, _CLONE_NEWNET), "join the network namespace")
        os.close(user_fd)
        os.close(net_fd)
        return
    _check(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET), "make a user and network namespace")
    os.write(up, b"unshared")
    if os.read(down, 16) != b"mapped":
        raise OSError("the uid maps were not written")


def _write_maps(order: dict[str, Any], pid: int) -> None:
    """Map the namespace's uids: 0 to the agent, 1..65535 (as root) to the machines' own."""
    process = Path(f"/proc/{pid}")
    agent_uid, uid_base = order["agent_uid"], order["uid_base"]
    if agent_uid is None:
        (process / "setgroups").write_text("deny")
        (process / "uid_map").write_text(f"0 {os.geteuid()} 1\n")
        (process / "gid_map").write_text(f"0 {os.getegid()} 1\n")
        return
    maps = f"0 {agent_uid} 1\n1 {uid_base + 1} {_MACHINE_UIDS}\n"
    (process / "uid_map").write_text(maps)
    (process / "gid_map").write_text(maps)


# --- serve ------------------------------------------------------------------------------------------------


class Agent:
    """Answers requests, one at a time; holds what must live exactly as long as it does."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._listener = socket.socket(fileno=order["listen_fd"])
        self._listener.setblocking(False)
        self._tun = f"/proc/self/fd/{order['tun_fd']}"
        self._uid_base: int | None = order["uid_base"]
        self._held: dict[str, tuple[int, Any]] = {}
        self._clients: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._operations: dict[str, Callable[[Request], Reply]] = {
            "status": self._status,
            "run": self._run,
            "sysctl": self._sysctl,
            "tap": self._tap,
            "sockets": self._sockets,
            "spawn": self._spawn,
            "hold": self._hold,
            "forget": self._forget,
            "flush": self._flush,
            "stop": self._stop,
        }

    def serve(self) -> NoReturn:
        """Answer for ever; children that ended are reaped at once."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll.register(wake_read, select.POLLIN)
        self._poll.register(self._listener, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == wake_read:
                    os.read(wake_read, 512)
                    _reap_children()
                elif fd == self._listener.fileno():
                    self._accept()
                else:
                    self._answer(self._clients[fd])

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.settimeout(_CLIENT_TIMEOUT_S)
        self._clients[client.fileno()] = client
        self._poll.register(client, select.POLLIN)

    def _drop(self, client: socket.socket) -> None:
        self._poll.unregister(client)
        del self._clients[client.fileno()]
        client.close()

    def _answer(self, client: socket.socket) -> None:
        fds: list[int] = []
        out: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(client, REQUEST_LIMIT, DESCRIPTOR_LIMIT)
            if not data:
                self._drop(client)
                return
            reply, out = self._perform(data, fds)
            socket.send_fds(client, [json.dumps(reply).encode()], out)
        except OSError:  # the service went away in the middle
            if client.fileno() in self._clients:
                self._drop(client)
        finally:
            for fd in (*fds, *out):
                os.close(fd)

    def _perform(self, data: bytes, fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        try:
            request = Request(values=json.loads(data), fds=fds)
            result, out = self._operations[request.values["op"]](request)
        except Exception as error:  # a bad request must not end the VPC
            return {"error": f"{type(error).__name__}: {error}", "errno": getattr(error, "errno", None)}, []
        return {"result": result}, out

    # --- operations ---------------------------------------------------------------------------------------

    def _status(self, _request: Request) -> Reply:
        """Our pid, the devices of the namespace with their indexes, and what we hold."""
        devices = {name: index for index, name in socket.if_nameindex()}
        held = {label: {"note": note, "is_alive": not _is_broken(fd)} for label, (fd, note) in self._held.items()}
        return {"pid": os.getpid(), "devices": devices, "held": held}, []

    def _run(self, request: Request) -> Reply:
        """Run ip or nft; the descriptor that came along is its standard input."""
        program, *words = request.values["argv"]
        if program not in ("ip", "nft"):
            raise PermissionError(f"{program} is not among the programs an agent runs")
        done = subprocess.run(
            [program, *words],
            stdin=request.fds[0],
            capture_output=True,
            timeout=_PROGRAM_TIMEOUT_S,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
        output, errors = (text[:_OUTPUT_LIMIT].decode(errors="replace") for text in (done.stdout, done.stderr))
        return {"exit_code": done.returncode, "stdout": output, "stderr": errors}, []

    def _sysctl(self, request: Request) -> Reply:
        """Write files below /proc/sys/net, in order."""
        for name, value in request.values["values"]:
            if ".." in name:
                raise PermissionError(name)
            Path(_SYSCTL_ROOT + name).write_text(value)
        return None, []

    def _tap(self, request: Request) -> Reply:
        """Make a tap device; its descriptor goes back and alone keeps it alive."""
        fd = os.open(self._tun, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", request.values["name"].encode(), flags))
            return {"index": socket.if_nametoindex(request.values["name"])}, [fd]
        except OSError:
            os.close(fd)
            raise

    def _sockets(self, request: Request) -> Reply:
        """Make ``count`` sockets that belong to the namespace, set, bound and listening as asked."""
        family, kind, protocol = _SOCKET_KINDS[request.values["kind"]]
        made: list[int] = []
        try:
            for _ in range(min(request.values.get("count", 1), DESCRIPTOR_LIMIT)):
                new = socket.socket(family, kind, protocol)
                made.append(new.detach())
                view = socket.socket(fileno=os.dup(made[-1]))
                with view:
                    for level, option, value in request.values.get("options", ()):
                        view.setsockopt(level, option, value)
                    if request.values.get("bind"):
                        view.bind(tuple(request.values["bind"]))
                    if request.values.get("listen"):
                        view.listen(request.values["listen"])
        except OSError:
            for fd in made:
                os.close(fd)
            raise
        return None, made

    def _spawn(self, request: Request) -> Reply:
        """Start a confined program in the namespaces; ``uid`` is a host uid."""
        uid = request.values["uid"]
        if uid is not None:
            if self._uid_base is None or not 0 < uid - self._uid_base <= _MACHINE_UIDS:
                raise PermissionError(f"uid {uid} is not a machine's")
            uid -= self._uid_base
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _run_confined(request, uid, report_write)
        os.close(report_write)
        with os.fdopen(report_read, "rb") as report:
            message = report.read(4096)
        if message:
            raise OSError(message.decode(errors="replace"))
        return {"pid": pid}, []

    def _hold(self, request: Request) -> Reply:
        """Keep a descriptor for as long as we live: what waits on its other end ends with us."""
        self._forget(request)
        self._held[request.values["label"]] = (os.dup(request.fds[0]), request.values["note"])
        return None, []

    def _forget(self, request: Request) -> Reply:
        if held := self._held.pop(request.values["label"], None):
            os.close(held[0])
        return None, []

    def _flush(self, request: Request) -> Reply:
        return {"count": flush_connections(request.values["address"])}, []

    def _stop(self, _request: Request) -> NoReturn:
        os._exit(0)


def _run_confined(request: Request, uid: int | None, report: int) -> NoReturn:
    """In a forked child: become the program, or say why not."""
    try:
        signal.set_wakeup_fd(-1)
        # Out of the way of the program's own descriptors, 3 and on.
        report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, 3 + DESCRIPTOR_LIMIT)
        exec_confined(request.values["argv"], fds=request.fds, uid=uid, log=Path(request.values["log"]))
    except BaseException as error:  # nothing may return into the agent's loop
        os.write(report, f"{request.values['argv'][0]}: {error}".encode()[:4096])
    os._exit(127)


def _reap_children() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _is_broken(fd: int) -> bool:
    """Tell whether the other end of a held descriptor is gone."""
    probe = select.poll()
    probe.register(fd, 0)
    return bool(probe.poll(0))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"could not {what}: {os.strerror(number)}")
