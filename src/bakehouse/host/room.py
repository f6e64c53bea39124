"""Room on a disk: bulk writes stop a little before it is full.

Blocks and bases could be written anywhere else or later; a guest that cannot write stands still. So the last
of a disk is left to guests.
"""

import errno
import os
from pathlib import Path

_LEFT_SHARE = 50
_LEFT_BYTES_AT_MOST = 512 << 20


def require_room(path: Path, size_bytes: int) -> None:
    """Raise OSError (ENOSPC) when, once written, the disk of ``path`` had under 2% (and 512 MiB) left for us."""
    disk = os.statvfs(path)
    left_bytes = disk.f_bavail * disk.f_frsize - size_bytes
    if left_bytes < min(disk.f_blocks * disk.f_frsize // _LEFT_SHARE, _LEFT_BYTES_AT_MOST):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
