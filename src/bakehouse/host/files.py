"""Files that are whole or absent, whatever instant the process dies at."""

import os
from pathlib import Path
from typing import IO


def write_atomically(path: Path, data: bytes | str, *, mode: int = 0o600) -> None:
    """Replace ``path`` in one rename, durable before it becomes visible."""
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def open_private(path: Path) -> IO[bytes]:
    """Open ``path`` to read and write, created if it is not there; nobody else may open it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "r+b")


def make_private_directory(path: Path, *, owner: int | None = None) -> None:
    """Create ``path`` (and parents) with mode 0700; give it to ``owner`` when we are root."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    if owner is not None and os.geteuid() == 0:
        os.chown(path, owner, owner)


def make_passable_directory(path: Path) -> None:
    """Create ``path``: ours alone to list and write, but others may pass to what belongs to them below it.

    They can pass through its parents too if those had to be created.
    """
    for parent in reversed(path.parents):
        if not parent.exists():
            make_passable_directory(parent)
    path.mkdir(exist_ok=True)
    path.chmod(0o711)
