"""The one door to external programs: an argument list, never a shell; a time limit, always."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakehouse.errors import PartError


class CommandFailed(PartError):
    """A program exited non-zero, could not be started, or ran out of time."""

    def __init__(self, argv: Sequence[str], reason: str, stderr: str = "") -> None:
        tail = stderr.strip()[-2000:]
        super().__init__(f"{argv[0]}: {reason}" + (f": {tail}" if tail else ""))
        self.argv = list(argv)
        self.stderr = stderr


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a finished program said."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The unprivileged identity a program runs under when the service is root."""

    uid: int
    gid: int


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    timeout_s: float = 60,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    credentials: Credentials | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a program to its end; raise CommandFailed when it fails (unless ``check`` is off).

    ``credentials`` drops to that uid and gid with no supplementary groups before exec.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=_with_all_programs(environment),
            cwd=directory,
            pass_fds=pass_fds,
            user=credentials.uid if credentials else None,
            group=credentials.gid if credentials else None,
            extra_groups=[] if credentials else None,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(words, f"did not finish within {timeout_s:g} s") from error
    except OSError as error:
        raise CommandFailed(words, f"could not be started ({error.strerror})") from error
    if check and done.returncode != 0:
        raise CommandFailed(words, f"exit code {done.returncode}", done.stderr)
    return Completed(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def _with_all_programs(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment, with more; an ordinary user's PATH lacks the directories of nft and mkfs on Debian."""
    merged = {**os.environ, **(environment or {})}
    return {**merged, "PATH": merged.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}


def start_detached(argv: Sequence[str | Path], *, log: Path) -> subprocess.Popen[bytes]:
    """Start a program that outlives us, in a session of its own; its output is appended to ``log`` (0600)."""
    words = [str(word) for word in argv]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as output:
        try:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                env=_with_all_programs(),
            )
        except OSError as error:
            raise CommandFailed(words, f"could not be started ({error.strerror})") from error


@contextmanager
def start_program(argv: Sequence[str | Path], *, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside us for the length of a ``with`` block; it is ended on the way out."""
    words = [str(word) for word in argv]
    with log.open("ab") if log else Path(os.devnull).open("ab") as output:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_with_all_programs()
            )
        except OSError as error:
            raise CommandFailed(words, f"could not be started ({error.strerror})") from error
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
