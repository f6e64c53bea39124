"""A disk that is really small: a file system of a few megabytes, and ways to fill it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MIB = 1 << 20
_FILLER = "filler"


class SmallDisk:
    """A mounted file system; ``fill`` leaves little of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def free_bytes(self) -> int:
        """What a writer still gets."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Write a file until this is left; 0: until not a byte goes in."""
        with (self.path / _FILLER).open("ab", buffering=0) as file, suppress(OSError):
            while not leave_bytes or self.free_bytes > leave_bytes:
                file.write(bytes(4096))

    def empty(self) -> None:
        """Delete that file."""
        (self.path / _FILLER).unlink(missing_ok=True)


@contextmanager
def mounted(path: Path, *, size_mib: int) -> Iterator[SmallDisk]:
    """Mount a small file system at ``path`` for the length of the block; for root."""
    path.mkdir(mode=0o711, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0711", "none", path], check=True)
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a process that should be gone and is not must not keep the mount.
        subprocess.run(["umount", "--lazy", path], check=True)
