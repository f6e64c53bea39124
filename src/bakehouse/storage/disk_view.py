"""A point-in-time view of a machine's disk, served over NBD, as a source for ingest.

Invariant: an extent is called unchanged only when the server's dirty bitmap, or the depth at which the
overlay allocates it, says that it equals the parent's; whatever is in doubt is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from bakehouse.storage.digest import BLOCK_SIZE
from bakehouse.storage.errors import SourceError
from bakehouse.storage.extents import Extent
from bakehouse.storage.manifest import MAX_SIZE_BYTES
from bakehouse.storage.nbd import MAX_STATUS_BYTES, NbdConnection
from bakehouse.storage.workers import WORKERS

ALLOCATION = "base:allocation"
ALLOCATION_DEPTH = "qemu:allocation-depth"
_DIRTY_BITMAP_PREFIX = "qemu:dirty-bitmap:"

# NBD_STATE_ZERO of base:allocation; NBD_STATE_DIRTY of qemu:dirty-bitmap.
_READS_AS_ZERO = 2
_DIRTY = 1


@dataclass(frozen=True, kw_only=True)
class DiskView:
    """Where a frozen disk is served, and how its server tells what changed.

    ``dirty_context`` (qemu:dirty-bitmap:NAME) is what changed since the parent snapshot; without it
    ``base_depth`` is the allocation depth from which data comes from the base the parent was hydrated to.
    Without both nothing is called unchanged. ``server_uid`` is whose process must be listening: the socket
    lies in a directory its machine may write to.
    """

    socket: Path
    export_name: str
    size_bytes: int
    dirty_context: str | None = None
    base_depth: int | None = None
    server_uid: int | None = None


class DiskViewSource:
    """An open view; a context manager. Each worker reads over a connection of its own."""

    def __init__(self, view: DiskView) -> None:
        if view.dirty_context is not None and not view.dirty_context.startswith(_DIRTY_BITMAP_PREFIX):
            raise ValueError(f"{view.dirty_context} is not a dirty bitmap's context")
        self._view = view
        self._contexts = [ALLOCATION]
        if view.dirty_context is not None:
            self._contexts.append(view.dirty_context)
        elif view.base_depth is not None:
            self._contexts.append(ALLOCATION_DEPTH)
        self._idle: SimpleQueue[NbdConnection] = SimpleQueue()
        for _ in range(WORKERS):
            try:
                self._idle.put(self._connect())
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; no read may be running."""
        while not self._idle.empty():
            self._idle.get().close()

    @property
    def size_bytes(self) -> int:
        """The disk's size."""
        return self._view.size_bytes

    def extents(self) -> Iterator[Extent]:
        """What changed since the parent, and what is zero, as the server tells it."""
        connection = self._idle.get()
        try:
            offset = 0
            requests_left = self.size_bytes // BLOCK_SIZE + 1000
            while offset < self.size_bytes:
                if requests_left == 0:
                    raise SourceError(f"{self._view.export_name}: the server describes its disk crumb by crumb")
                requests_left -= 1
                answers = connection.block_status(offset, min(self.size_bytes - offset, MAX_STATUS_BYTES))
                for extent in self._merged(answers, self.size_bytes - offset):
                    yield extent
                    offset += extent.length
        finally:
            self._idle.put(connection)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset``; SourceError."""
        connection = self._idle.get()
        try:
            connection.read_into(offset, buffer)
        finally:
            self._idle.put(connection)

    def _connect(self) -> NbdConnection:
        connection = NbdConnection(
            self._view.socket,
            self._view.export_name,
            contexts=self._contexts,
            server_uid=self._view.server_uid,
        )
        missing = set(self._contexts) - connection.contexts
        size_bytes = connection.size_bytes
        if not missing and size_bytes == self._view.size_bytes <= MAX_SIZE_BYTES:
            return connection
        connection.close()
        if missing:
            raise SourceError(f"{self._view.export_name}: the server does not offer {', '.join(missing)}")
        raise SourceError(f"{self._view.export_name}: a disk of {size_bytes} bytes, expected {self._view.size_bytes}")

    def _merged(self, answers: dict[str, list[tuple[int, int]]], remaining: int) -> Iterator[Extent]:
        """Lay the contexts' extents over each other, as far as all of them reach and the disk goes."""
        walks = {name: iter(extents) for name, extents in answers.items()}
        current = {name: next(walk) for name, walk in walks.items()}
        while remaining > 0:
            length = min(remaining, *(left for left, _ in current.values()))
            yield Extent(
                length=length,
                is_unchanged=self._is_unchanged({name: flags for name, (_, flags) in current.items()}),
                is_zero=bool(current[ALLOCATION][1] & _READS_AS_ZERO),
            )
            remaining -= length
            for name, (left, flags) in current.items():
                if left > length:
                    current[name] = (left - length, flags)
                    continue
                following = next(walks[name], None)
                if following is None:
                    return
                current[name] = following

    def _is_unchanged(self, flags: dict[str, int]) -> bool:
        if self._view.dirty_context is not None:
            return not flags[self._view.dirty_context] & _DIRTY
        if self._view.base_depth is not None:
            return flags[ALLOCATION_DEPTH] >= self._view.base_depth
        return False
