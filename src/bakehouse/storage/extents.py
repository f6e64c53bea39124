"""Where a disk's data lies: extents as a source reports them, and the runs of blocks that follow.

Invariant: the work is proportional to the number of extents, never to the size of the disk.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from bakehouse.storage.digest import BLOCK_SIZE, block_count
from bakehouse.storage.errors import SourceError


class Extent(NamedTuple):
    """``length`` bytes of a disk that are alike.

    ``is_unchanged``: they equal the parent snapshot's. ``is_zero``: they are known to read as zeros.
    """

    length: int
    is_unchanged: bool = False
    is_zero: bool = False


class Source(Protocol):
    """A disk that does not change while it is read."""

    @property
    def size_bytes(self) -> int:
        """The disk's size."""

    def extents(self) -> Iterator[Extent]:
        """Yield extents that cover the disk from its first byte to its last, without gaps."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset``; called from several threads; SourceError."""


class Treatment(Enum):
    """What an ingest does with a run of blocks."""

    READ = "read"
    FROM_PARENT = "from parent"
    ZERO = "zero"


@dataclass(frozen=True, kw_only=True)
class BlockRun:
    """The blocks ``first`` up to, not including, ``end``."""

    first: int
    end: int
    treatment: Treatment


def block_runs(extents: Iterable[Extent], *, size_bytes: int, has_parent: bool) -> list[BlockRun]:
    """Return runs that cover the disk; a block in which extents of several kinds meet is read."""
    runs: list[BlockRun] = []
    offset = 0
    for extent in extents:
        if extent.length <= 0 or extent.length > size_bytes - offset:
            raise SourceError(f"an extent of {extent.length} bytes at {offset} of a disk of {size_bytes}")
        treatment = _treatment(extent, has_parent=has_parent)
        first, offset = offset // BLOCK_SIZE, offset + extent.length
        _append(runs, BlockRun(first=first, end=block_count(offset), treatment=treatment))
    if offset != size_bytes:
        raise SourceError(f"extents end at {offset} of {size_bytes} bytes")
    return runs


def _treatment(extent: Extent, *, has_parent: bool) -> Treatment:
    if extent.is_unchanged and has_parent:
        return Treatment.FROM_PARENT
    return Treatment.ZERO if extent.is_zero else Treatment.READ


def _append(runs: list[BlockRun], run: BlockRun) -> None:
    """Add a run that begins where the last one ended, or inside the last one's last block."""
    if runs and runs[-1].treatment is run.treatment:
        runs[-1] = BlockRun(first=runs[-1].first, end=run.end, treatment=run.treatment)
        return
    if runs and runs[-1].end > run.first:
        shared, last = run.first, runs.pop()
        if last.first < shared:
            runs.append(BlockRun(first=last.first, end=shared, treatment=last.treatment))
        _append(runs, BlockRun(first=shared, end=shared + 1, treatment=Treatment.READ))
        if shared + 1 == run.end:
            return
        run = BlockRun(first=shared + 1, end=run.end, treatment=run.treatment)
        if runs[-1].treatment is run.treatment:
            _append(runs, run)
            return
    runs.append(run)
