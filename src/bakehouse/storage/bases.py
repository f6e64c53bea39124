"""Bases: snapshots written out as raw, sparse, read-only files over which volumes are laid; a cache.

Invariant: a file under a base's name holds exactly its snapshot's bytes, every block of it verified.
"""

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bakehouse.host.files import make_private_directory
from bakehouse.host.room import require_room
from bakehouse.paths import StateDirectory
from bakehouse.storage.digest import BLOCK_SIZE, Digest
from bakehouse.storage.errors import BlockError, os_errors_translated
from bakehouse.storage.manifest import Manifest
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.workers import Progress, ignore_progress, share_out

_log = logging.getLogger("bakehouse.storage")


@dataclass(frozen=True, kw_only=True)
class Base:
    """One hydrated base."""

    snapshot_id: str
    path: Path
    allocated_bytes: int
    last_used_s: float
    """When it was last asked for, seconds since the epoch."""


class Bases:
    """The hydrated bases of one host; every method may be called from any thread."""

    def __init__(self, state: StateDirectory, snapshots: Snapshots) -> None:
        self._state = state
        self._snapshots = snapshots
        self._lock = threading.Lock()
        self._in_progress: dict[str, Future[Path]] = {}

    def find(self, snapshot_id: str) -> Path | None:
        """Return a hydrated base and note that it was used; None when there is none, or one that was cut short.

        QEMU would read what is missing at a file's end as zeros and say nothing.
        """
        path = self._state.base(snapshot_id)
        try:
            size_bytes = path.stat().st_size
            os.utime(path)
        except FileNotFoundError:
            return None
        if self._snapshots.find_size(snapshot_id) not in (None, size_bytes):
            _log.warning("%s has %d bytes, which is not its snapshot's size; it is written anew", path, size_bytes)
            return None
        return path

    def is_within_reach(self, snapshot_id: str) -> bool:
        """Whether the snapshot is hydrated here, or its manifest can be read to do so."""
        return self._state.base(snapshot_id).is_file() or self._snapshots.find_size(snapshot_id) is not None

    def hydrate(self, snapshot_id: str, *, progress: Progress = ignore_progress) -> Path:
        """Return the snapshot's base, written now if it is not there; concurrent callers share the work.

        ManifestMissing, ManifestDamaged, BlockMissing, BlockDamaged (naming snapshot and index), StorageFull.
        """
        if (path := self.find(snapshot_id)) is not None:
            return path
        with self._lock:
            running = self._in_progress.get(snapshot_id)
            mine: Future[Path] = Future()
            if running is None:
                self._in_progress[snapshot_id] = mine
        if running is not None:
            return running.result()
        try:
            # Another caller may have finished between our look and our turn.
            path = self.find(snapshot_id) or self._write(snapshot_id, progress)
            mine.set_result(path)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._in_progress[snapshot_id]
        return path

    def all(self) -> list[Base]:
        """Every hydrated base, the one longest unused first."""
        found = []
        if self._state.bases.is_dir():
            for path in self._state.bases.glob("*.raw"):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found.append(
                        Base(
                            snapshot_id=path.stem,
                            path=path,
                            allocated_bytes=status.st_blocks * 512,
                            last_used_s=status.st_mtime,
                        )
                    )
        return sorted(found, key=lambda base: base.last_used_s)

    def evict(self, in_use: Collection[str], *, keep_bytes: int = 0) -> int:
        """Delete bases whose snapshot is not in ``in_use``; return the bytes given back.

        The longest unused go first, until at most ``keep_bytes`` of them are left. A running machine keeps
        its open file.
        """
        unused = [base for base in self.all() if base.snapshot_id not in in_use]
        left_bytes = sum(base.allocated_bytes for base in unused)
        freed_bytes = 0
        for base in unused:
            if left_bytes - freed_bytes <= keep_bytes:
                break
            base.path.unlink(missing_ok=True)
            freed_bytes += base.allocated_bytes
        return freed_bytes

    def sweep(self) -> int:
        """Delete what killed hydrations left; return how many files. Running ones are not touched."""
        removed = 0
        for path in self._state.bases.glob(".*.part") if self._state.bases.is_dir() else ():
            with suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                path.unlink()
                removed += 1
        return removed

    def _write(self, snapshot_id: str, progress: Progress) -> Path:
        """Write the base under a temporary name, all blocks verified, and give it its own when durable."""
        manifest = self._snapshots.read(snapshot_id)
        path = self._state.base(snapshot_id)
        make_private_directory(self._state.bases)
        with os_errors_translated(f"hydrating {snapshot_id}"), self._part(snapshot_id) as (part, descriptor):
            os.ftruncate(descriptor, manifest.size_bytes)
            self._write_blocks(snapshot_id, manifest, descriptor, progress)
            os.fsync(descriptor)
            os.fchmod(descriptor, 0o400)
            part.rename(path)
        return path

    def _write_blocks(self, snapshot_id: str, manifest: Manifest, descriptor: int, progress: Progress) -> None:
        def write_block(item: tuple[int, Digest]) -> None:
            index, digest = item
            try:
                block = self._snapshots.blocks.get(digest)
            except BlockError as error:
                raise error.at(snapshot_id, index) from error
            require_room(self._state.bases, BLOCK_SIZE)
            offset = index * BLOCK_SIZE
            view = memoryview(block)[: manifest.size_bytes - offset]
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written

        share_out(
            manifest.blocks.items(),
            lambda: write_block,
            item_bytes=BLOCK_SIZE,
            total_bytes=manifest.data_bytes,
            progress=progress,
        )

    @contextmanager
    def _part(self, snapshot_id: str) -> Iterator[tuple[Path, int]]:
        """A temporary file, locked so that ``sweep`` sees it is alive; gone at the end unless renamed."""
        part = self._state.base_part(snapshot_id, secrets.token_hex(8))
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Should a sweep fall between these lines, the rename fails and with it, cleanly, the hydration.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield part, descriptor
        finally:
            part.unlink(missing_ok=True)
            os.close(descriptor)
