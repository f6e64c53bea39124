"""A real PostgreSQL server of the test's own: fresh, on a Unix socket only, gone with the block.

The server refuses to be root; as root it runs under the user that Debian's package makes.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = Path("/usr/lib/postgresql")
_OWNER = "postgres"
_SUPERUSER = "bakehouse"
_TIMEOUT_S = 120


@dataclass(frozen=True, kw_only=True)
class PostgresqlServer:
    """A running server; everybody on this host may connect without a password."""

    socket_directory: Path

    def new_database(self, name: str) -> str:
        """Make an empty database; its URL."""
        _run([_program("createdb"), f"--host={self.socket_directory}", f"--username={_SUPERUSER}", name])
        return f"postgresql+psycopg://{_SUPERUSER}@/{name}?host={self.socket_directory}"


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server for the length of the block."""
    directory = Path(tempfile.mkdtemp(prefix="bh-pg-", dir="/tmp"))
    directory.chmod(0o711)
    data = directory / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(data, _OWNER, _OWNER)
        shutil.chown(directory, _OWNER, _OWNER)
    words = [f"--pgdata={data}", f"--username={_SUPERUSER}", "--auth=trust", "--no-sync"]
    _run([_program("initdb"), *words, "--encoding=UTF8", "--locale=C.UTF-8"], own=True)
    options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off -c max_connections=100"
    _run([_program("pg_ctl"), "start", "--wait", f"--pgdata={data}", f"--log={directory}/log", "-o", options], own=True)
    try:
        yield PostgresqlServer(socket_directory=directory)
    finally:
        _run([_program("pg_ctl"), "stop", "--wait", f"--pgdata={data}", "--mode=immediate"], own=True)
        shutil.rmtree(directory)


def _program(name: str) -> str:
    """The newest installed version's; they are not on the path."""
    found = sorted(_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    assert found, f"{name} is missing: requirements/debian-test.txt names the package"
    return str(found[-1])


def _run(words: list[str], *, own: bool = False) -> None:
    user = _OWNER if own and os.geteuid() == 0 else None
    with tempfile.TemporaryFile() as output:  # no pipe: the server would keep it open
        done = subprocess.run(
            words,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=_TIMEOUT_S,
            check=False,
        )
        output.seek(0)
        assert done.returncode == 0, output.read().decode(errors="replace")
