"""Start a VPC's agent, in new namespaces or in those a living member is in.

Invariant: nothing of the host's network is touched, and what the agent needs from the host (its socket, its
log, the tun device, namespace handles) reaches it as open descriptors: an agent without rights needs no path.
"""

import json
import os
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import bakehouse
from bakehouse.host.files import make_private_directory
from bakehouse.host.run import CommandFailed, run
from bakehouse.network.spec import NetworkError, VpcSpec
from bakehouse.paths import StateDirectory

SYSTEM_TUN = Path("/dev/net/tun")
_TUN_NUMBER = os.makedev(10, 200)
_START_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class NamespaceHandles:
    """Open descriptors of a user and a network namespace; they keep the namespaces alive."""

    user_fd: int
    net_fd: int

    def close(self) -> None:
        """Let go of the namespaces."""
        os.close(self.user_fd)
        os.close(self.net_fd)


def program(module: str, order: object) -> list[str]:
    """The argument list that runs ``main`` of one of our modules with the standard library alone.

    Not ``-m``: that would run the site's start-up files, and needs a search path in the environment.
    """
    source = str(Path(bakehouse.__file__).parent.parent)
    script = f"import sys; sys.path.insert(0, {source!r}); from {module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", script, json.dumps(order)]


def start_agent(spec: VpcSpec, state: StateDirectory, *, join: NamespaceHandles | None) -> int:
    """Start the agent and return its pid; it listens on the VPC's agent socket by then.

    With ``join`` it enters those namespaces, else it makes new ones. Blocks for about 0.1 s.
    """
    directory = state.vpc(spec.vpc_id)
    make_private_directory(directory.root)
    with ExitStack() as stack:
        listener = stack.enter_context(_listening_socket(directory.agent_socket))
        tun_fd = stack.enter_context(open_tun_node(state, is_root=spec.agent_uid is not None))
        log_fd = stack.enter_context(_descriptor(directory.agent_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
        joined = [join.user_fd, join.net_fd] if join else []
        order = {
            "listen_fd": listener.fileno(),
            "tun_fd": tun_fd,
            "log_fd": log_fd,
            "agent_uid": spec.agent_uid,
            "uid_base": spec.uid_base,
            "join": joined,
        }
        try:
            done = run(
                program("bakehouse.network.agent", order),
                pass_fds=[listener.fileno(), tun_fd, log_fd, *joined],
                timeout_s=_START_TIMEOUT_S,
            )
        except CommandFailed as error:
            raise NetworkError(f"the agent of {spec.vpc_id} did not start: {error}") from error
    return int(done.stdout)


def open_namespaces(pid: int) -> NamespaceHandles:
    """Open the namespaces of a living process; NetworkError when it is gone or not ours."""
    handles: list[int] = []
    try:
        handles.append(os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
        handles.append(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        for fd in handles:
            os.close(fd)
        raise NetworkError(f"cannot open the namespaces of process {pid}: {error.strerror}") from error
    return NamespaceHandles(user_fd=handles[0], net_fd=handles[1])


def find_member_namespaces(pids: Sequence[int]) -> NamespaceHandles | None:
    """The namespaces of the first of these processes that lives and has left the host's own."""
    host_network = Path("/proc/self/ns/net").stat().st_ino
    for pid in pids:
        try:
            handles = open_namespaces(pid)
        except NetworkError:
            continue
        if os.fstat(handles.net_fd).st_ino != host_network:
            return handles
        handles.close()
    return None


@contextmanager
def open_tun_node(state: StateDirectory, *, is_root: bool) -> Iterator[int]:
    """Give a path descriptor of the tun device that an unprivileged process can reopen through /proc."""
    path = find_tun_node(state, is_root=is_root)
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise NetworkError(f"{path}: {error.strerror}; machines need a tun device for their network") from error
    try:
        yield fd
    finally:
        os.close(fd)


def find_tun_node(state: StateDirectory, *, is_root: bool) -> Path:
    """The tun device an unprivileged process of ours can use.

    Where the system's own is closed to others (mode 0600) and we are root, it is a node of our own in
    the state directory, which nobody else can enter.
    """
    if not is_root or _is_open_to_all(SYSTEM_TUN):
        return SYSTEM_TUN
    _make_tun_node(state.tun_device)
    return state.tun_device


def _is_open_to_all(path: Path) -> bool:
    try:
        return path.stat().st_mode & 0o006 == 0o006
    except OSError:
        return False


def _make_tun_node(path: Path) -> None:
    """Make our own device node, mode 0666; its directory is what protects it."""
    make_private_directory(path.parent)
    try:
        existing = path.lstat()
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISCHR(existing.st_mode) and existing.st_rdev == _TUN_NUMBER:
            return
        path.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        os.mknod(temporary, stat.S_IFCHR | 0o600, _TUN_NUMBER)
        temporary.chmod(0o666)
        temporary.replace(path)
    except OSError as error:
        raise NetworkError(f"cannot make a tun device node in {path.parent}: {error.strerror}") from error


@contextmanager
def _listening_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at ``path``, mode 0600, in place of whatever a dead agent left there."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
        yield listener


@contextmanager
def _descriptor(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
