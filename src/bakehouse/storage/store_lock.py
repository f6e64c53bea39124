"""Who may use the block store now: many writers, or one collector.

Invariant: while somebody writes blocks, no collector deletes any. The lock is flock(2) on one file, so a
killed process lets go of it, and it holds between processes of one host.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bakehouse.storage.errors import StoreBusy

_POLL_S = 0.05


class StoreLock:
    """The lock of one block store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def writing(self, *, timeout_s: float = 60) -> Iterator[None]:
        """Keep the collector out; other writers may come in. StoreBusy after ``timeout_s``."""
        with self._held(fcntl.LOCK_SH, timeout_s):
            yield

    @contextmanager
    def collecting(self, *, timeout_s: float = 0) -> Iterator[None]:
        """Keep everybody else out. StoreBusy after ``timeout_s``."""
        with self._held(fcntl.LOCK_EX, timeout_s):
            yield

    @contextmanager
    def _held(self, kind: int, timeout_s: float) -> Iterator[None]:
        # A descriptor of its own per holder: flock ties the lock to the open file, not to the process.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + timeout_s
            while not _try_lock(descriptor, kind):
                if time.monotonic() >= deadline:
                    raise StoreBusy("the block store is being written to or collected; try again later")
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
