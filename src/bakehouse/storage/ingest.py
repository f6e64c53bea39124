"""Read a disk into the block store: only what changed, only what is not zero, each block once.

Invariant: a manifest is returned only when every block it names is stored and would survive a power cut.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from bakehouse.storage.blocks import BlockStore, is_zero
from bakehouse.storage.digest import BLOCK_SIZE, Digest, block_count, digest_of
from bakehouse.storage.extents import BlockRun, Source, Treatment, block_runs
from bakehouse.storage.manifest import Manifest
from bakehouse.storage.workers import Progress, ignore_progress, share_out


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What an ingest made and what it cost."""

    manifest: Manifest
    read_bytes: int
    """Bytes read from the source."""
    new_blocks: int
    """Blocks the store did not hold before."""
    stored_bytes: int
    """What those take in the store, compressed."""


class _Tally:
    """What the workers found so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.found: dict[int, Digest] = {}
        self.new_digests: set[Digest] = set()
        self.stored_bytes = 0
        self.read_bytes = 0

    def add(self, index: int, digest: Digest | None, *, read_bytes: int, stored_bytes: int) -> None:
        with self._lock:
            self.read_bytes += read_bytes
            if digest is not None:
                self.found[index] = digest
            # Two workers may store an equal block at once; it counts once.
            if digest is not None and stored_bytes and digest not in self.new_digests:
                self.new_digests.add(digest)
                self.stored_bytes += stored_bytes


def ingest(
    source: Source,
    store: BlockStore,
    *,
    parent: Manifest | None = None,
    progress: Progress = ignore_progress,
) -> Ingested:
    """Store the blocks of ``source`` and return their manifest.

    Extents the source calls unchanged come from ``parent`` without being read, but for blocks that the store
    is seen to have lost. The caller holds ``StoreLock.writing`` until the manifest is stored too. StorageFull
    when the store is full (what was written stays for the collector), SourceError when the disk cannot be read.
    """
    runs = block_runs(source.extents(), size_bytes=source.size_bytes, has_parent=parent is not None)
    inherited = dict(_inherited(runs, parent, block_count(source.size_bytes))) if parent is not None else {}
    lost = [index for index, digest in inherited.items() if store.has_lost(digest)]
    to_read = [run for run in runs if run.treatment is Treatment.READ]
    tally = _Tally()
    share_out(
        chain(lost, (index for run in to_read for index in range(run.first, run.end))),
        lambda: _block_reader(source, store, None if lost else parent, tally),
        item_bytes=BLOCK_SIZE,
        total_bytes=(len(lost) + sum(run.end - run.first for run in to_read)) * BLOCK_SIZE,
        progress=progress,
    )
    store.make_durable()
    blocks = inherited | tally.found
    return Ingested(
        manifest=Manifest(size_bytes=source.size_bytes, blocks=dict(sorted(blocks.items()))),
        read_bytes=tally.read_bytes,
        new_blocks=len(tally.new_digests),
        stored_bytes=tally.stored_bytes,
    )


def _block_reader(source: Source, store: BlockStore, parent: Manifest | None, tally: _Tally) -> Callable[[int], None]:
    """Return one worker's function: read, test for zero, hash, store one block, all in one reused buffer."""
    buffer = bytearray(BLOCK_SIZE)

    def read_block(index: int) -> None:
        offset = index * BLOCK_SIZE
        length = min(BLOCK_SIZE, source.size_bytes - offset)
        with memoryview(buffer) as view:
            if length < BLOCK_SIZE:  # the disk ends inside this block
                view[length:] = bytes(BLOCK_SIZE - length)
            source.read_into(offset, view[:length])
        if is_zero(buffer):
            tally.add(index, None, read_bytes=length, stored_bytes=0)
            return
        digest = digest_of(buffer)
        is_known = digest in tally.new_digests or (parent is not None and parent.blocks.get(index) == digest)
        stored_bytes = 0 if is_known else store.put(digest, buffer)
        tally.add(index, digest, read_bytes=length, stored_bytes=stored_bytes)

    return read_block


def _inherited(runs: list[BlockRun], parent: Manifest, count: int) -> Iterator[tuple[int, Digest]]:
    """The parent's blocks in all runs that did not change."""
    indexes = list(parent.blocks)
    for run in runs:
        if run.treatment is Treatment.FROM_PARENT:
            end = min(run.end, count)
            for index in indexes[bisect_left(indexes, run.first) : bisect_left(indexes, end)]:
                yield index, parent.blocks[index]
