"""Find, watch and end QEMU processes we may not have started ourselves; read files that they own.

Invariant: a process or a file counts as a machine's only if the kernel says that it carries the machine's own
uid; what a QEMU writes into its directory (pid file, links) is a hint, never a fact.
"""

import ctypes
import os
import select
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bakehouse.host.spawn import reap
from bakehouse.hypervisor.spec import MachineError

_PID_FILE_LIMIT = 32
_COMMAND_LINE_LIMIT = 1 << 17
_FALLOC_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02


def find_process(pid_file: Path, *, uid: int | None) -> int | None:
    """The pid of the QEMU started with ``-pidfile pid_file``, or None; falls back on a scan of /proc."""
    hinted = _read_pid(pid_file, uid=uid)
    if hinted is not None and _is_qemu_of(hinted, pid_file, uid=uid):
        return hinted
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _is_qemu_of(int(entry.name), pid_file, uid=uid):
            return int(entry.name)
    return None


def find_processes_under(directory: Path) -> list[int]:
    """Every process with a pid file below ``directory`` on its command line."""
    prefix = f"{directory}/"
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if (_pid_file_argument(pid) or "").startswith(prefix)]


def has_ended(pidfd: int) -> bool:
    """Tell whether the process behind ``pidfd`` is gone (or a zombie)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def kill_and_wait(pid: int, *, pid_file: Path, uid: int | None, timeout_s: float = 10) -> None:
    """SIGKILL the QEMU ``pid`` if it still is the one of ``pid_file``, and wait for its end.

    Raises MachineError when the kernel does not let it go within ``timeout_s``.
    """
    with open_process(pid) as pidfd:
        if pidfd is None or not _is_qemu_of(pid, pid_file, uid=uid):
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not wait_for_end(pidfd, timeout_s=timeout_s):
            raise MachineError(f"process {pid} did not end when killed")
    reap(pid)


@contextmanager
def open_process(pid: int) -> Iterator[int | None]:
    """A pidfd for the length of the block; None when there is no such process."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def wait_for_end(pidfd: int, *, timeout_s: float) -> bool:
    """Wait until the process is gone; False when it is not within ``timeout_s``."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def read_tail(path: Path, *, limit_bytes: int, uid: int | None) -> bytes:
    """The last ``limit_bytes`` of a file that a machine may write to; empty when there is none.

    Links, pipes and files of another owner are not followed: a hostile QEMU may put them there.
    """
    try:
        descriptor = _open_owned(path, os.O_RDONLY, uid=uid)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit_bytes))
        return file.read(limit_bytes)


def give_back_head(path: Path, *, keep_bytes: int, uid: int | None) -> None:
    """Free the space of all but the last ``keep_bytes`` of a log; offsets stay as they are."""
    try:
        descriptor = _open_owned(path, os.O_WRONLY, uid=uid)
    except OSError:
        return
    try:
        status = os.fstat(descriptor)
        length = status.st_size - keep_bytes
        if length > 0 and status.st_blocks * 512 > 2 * keep_bytes:
            libc = ctypes.CDLL(None, use_errno=True)
            offset = ctypes.c_int64(0)
            libc.fallocate(descriptor, _FALLOC_KEEP_SIZE_AND_PUNCH_HOLE, offset, ctypes.c_int64(length))
    finally:
        os.close(descriptor)


def _open_owned(path: Path, flags: int, *, uid: int | None) -> int:
    """Open a regular file of ``uid`` (None: ours); OSError for anything else."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != (os.geteuid() if uid is None else uid):
        os.close(descriptor)
        raise PermissionError(f"{path} is not a file of the machine")
    return descriptor


def _read_pid(pid_file: Path, *, uid: int | None) -> int | None:
    text = read_tail(pid_file, limit_bytes=_PID_FILE_LIMIT, uid=uid).strip()
    return int(text) if text.isdigit() else None


def _is_qemu_of(pid: int, pid_file: Path, *, uid: int | None) -> bool:
    if _pid_file_argument(pid) != str(pid_file):
        return False
    return uid is None or _real_uid(pid) == uid


def _pid_file_argument(pid: int) -> str | None:
    """The word after ``-pidfile`` on a process's command line."""
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb") as file:
            words = file.read(_COMMAND_LINE_LIMIT).split(b"\0")
    except OSError:
        return None
    if b"-pidfile" not in words[:-1]:
        return None
    return os.fsdecode(words[words.index(b"-pidfile") + 1])


def _real_uid(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), None)
