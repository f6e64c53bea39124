"""Start long-lived programs that outlive us, without capabilities and under an identity of their own.

Invariant: after ``exec_confined`` the program holds no capability and can never gain one. This module needs
the standard library only and is cheap to import: VPC agents and the trampoline below load nothing else.
"""

import ctypes
import fcntl
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Protocol

_FIRST_FD = 3
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_SETPCAP = 8
_CAPABILITY_VERSION_3 = 0x20080522
# noroot and no_cap_ambient_raise, each locked: uid 0 (of a user namespace) is then an ordinary uid.
_SECUREBITS = 0b11 | 0b11 << 6
_REPORT_LIMIT = 4096


class SpawnError(OSError):
    """A confined program could not be started; the message says which step failed."""


class Spawner(Protocol):
    """Start ``argv`` detached and confined; return its host pid.

    ``fds`` arrive in the child as 3, 4, 5 ... in order. stdin is /dev/null; stdout and stderr are appended
    to ``log``, which the child opens under its new identity. ``uid`` (also the gid) is a host uid; None
    keeps ours. Raises SpawnError, or OSError from a remote spawner.
    """

    def __call__(self, argv: Sequence[str], *, fds: Sequence[int], uid: int | None, log: Path) -> int:
        """Start the program."""


def spawn_on_host(argv: Sequence[str], *, fds: Sequence[int], uid: int | None, log: Path) -> int:
    """Spawn in the host's own namespaces, through a fresh interpreter (forking a threaded process is unsafe).

    The child stays ours to reap (``reap``) for as long as we live. A service that is root must give a uid.
    """
    if uid is None and os.geteuid() == 0:
        raise SpawnError("a program started by root needs a uid of its own")
    if shutil.which(argv[0]) is None:
        raise SpawnError(f"{argv[0]}: not found")
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(report_read, "rb") as report:
        try:
            pid = _spawn_trampoline(argv, fds=[*fds, report_write], uid=uid, log=log)
        finally:
            os.close(report_write)
        message = report.read(_REPORT_LIMIT)  # end of file: exec closed the write end, the program runs
    if message:
        os.waitpid(pid, 0)
        raise SpawnError(message.decode(errors="replace"))
    return pid


def _spawn_trampoline(argv: Sequence[str], *, fds: Sequence[int], uid: int | None, log: Path) -> int:
    """Run this file as a program with ``fds`` as 3, 4 ...; the last one is the report pipe."""
    order = json.dumps({"uid": uid, "log": str(log), "fds": len(fds)})
    words = [sys.executable, "-I", "-S", __file__, order, *argv]
    # Copies above the target range: a dup2 must not overwrite a descriptor that is still to be moved.
    high = [_duplicate_above(fd, _FIRST_FD + len(fds)) for fd in fds]
    try:
        moves = [(os.POSIX_SPAWN_DUP2, fd, _FIRST_FD + n) for n, fd in enumerate(high)]
        return os.posix_spawn(sys.executable, words, os.environ, file_actions=moves)
    finally:
        for fd in high:
            os.close(fd)


def reap(pid: int) -> int | None:
    """Collect an ended child: its exit code (negative: the signal); None if it runs or is not ours."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if done else None


def exec_confined(argv: Sequence[str], *, fds: Sequence[int], uid: int | None, log: Path) -> NoReturn:
    """Become ``argv``, confined; call it in a forked, single-threaded child.

    ``uid`` is a uid of our own user namespace. Descriptors other than 0, 1, 2 and ``fds`` do not pass the
    exec. Raises OSError when a step fails; the caller must then end the child.
    """
    _start_session()
    _place_descriptors(fds)
    _give_up_privileges(uid)
    _verify_confinement(uid)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # guest memory never reaches a core file
    _open_standard_streams(log)
    os.chdir("/")
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    os.execvpe(argv[0], list(argv), environment)  # noqa: S606  # never a shell


def _start_session() -> None:
    if os.getpid() != os.getsid(0):
        os.setsid()
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _duplicate_above(fd: int, floor: int) -> int:
    """A close-on-exec copy of ``fd`` numbered ``floor`` or higher."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor)


def _place_descriptors(fds: Sequence[int]) -> None:
    """Move ``fds`` to 3, 4 ... and mark every other descriptor close-on-exec."""
    end = _FIRST_FD + len(fds)
    high = [_duplicate_above(fd, end) for fd in fds]
    for number, fd in enumerate(high):
        os.dup2(fd, _FIRST_FD + number, inheritable=True)
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) >= end:
            with suppress(OSError):  # the listing's own descriptor is closed by now
                os.set_inheritable(int(entry.name), False)


def _give_up_privileges(uid: int | None) -> None:
    """Empty the capability sets, bounding set included, and take on ``uid``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if _status("CapEff") >> _CAP_SETPCAP & 1:
        for capability in range(_last_capability() + 1):
            _check(libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "drop a capability from the bounding set")
        _check(libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS, 0, 0, 0), "lock the secure bits")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(libc.capset(header, (ctypes.c_uint32 * 6)()), "give up capabilities")
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")


def _verify_confinement(uid: int | None) -> None:
    if _status("CapEff") | _status("CapPrm") | _status("CapInh") or _status("NoNewPrivs") != 1:
        raise SpawnError("capabilities are left after giving them up")
    if uid is not None and (os.getresuid() + os.getresgid() != (uid,) * 6 or os.getgroups()):
        raise SpawnError(f"could not become uid {uid}")


def _open_standard_streams(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _status(field: str) -> int:
    """One hexadecimal field of our own /proc status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1], 16)
    raise SpawnError(f"the kernel does not report {field}")


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise SpawnError(number, f"could not {what}: {os.strerror(number)}")


def _trampoline(order_text: str, argv: Sequence[str]) -> NoReturn:
    """The program half of ``spawn_on_host``: confine, exec, or report why not."""
    order = json.loads(order_text)
    last = _FIRST_FD + order["fds"] - 1
    report = _duplicate_above(last, last + 1)
    os.close(last)
    try:
        exec_confined(argv, fds=range(_FIRST_FD, last), uid=order["uid"], log=Path(order["log"]))
    except OSError as error:
        os.write(report, f"{argv[0]}: {error}".encode()[:_REPORT_LIMIT])
    os._exit(127)


if __name__ == "__main__":
    _trampoline(sys.argv[1], sys.argv[2:])
