"""The collector: the only code that deletes blocks.

Invariant: a block that any live snapshot names is never deleted. What is dead is worked out under the
store's exclusive lock, manifests go before blocks, and one unreadable manifest stops all deleting of blocks;
so it may be killed at any instant and simply run again.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from bakehouse.storage.digest import Digest
from bakehouse.storage.snapshots import Snapshots


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a collection did."""

    deleted_manifests: int
    deleted_blocks: int
    freed_bytes: int
    partial_writes: int
    """Files that killed writers had left."""
    live_blocks: int
    live_bytes: int
    """What the blocks that stay take, compressed."""


def collect(
    snapshots: Snapshots,
    live_snapshot_ids: Callable[[], Collection[str]],
    *,
    timeout_s: float = 0,
) -> Collected:
    """Delete manifests whose snapshot is not live, then blocks no manifest names.

    ``live_snapshot_ids`` is called while no writer runs; it returns every id that has a record, pending ones
    included. StoreBusy when writers do not end within ``timeout_s``; ManifestDamaged: no block was deleted.
    """
    with snapshots.lock.collecting(timeout_s=timeout_s):
        partial_writes = snapshots.blocks.remove_partial_writes()
        live = set(live_snapshot_ids())
        stored = snapshots.ids()
        dead = [snapshot_id for snapshot_id in stored if snapshot_id not in live]
        for snapshot_id in dead:
            snapshots.delete(snapshot_id)
        used: set[Digest] = set()
        for snapshot_id in live.intersection(stored):
            used.update(snapshots.read(snapshot_id).blocks.values())
        # The whole listing first: deleting while a listing runs may make a backend skip entries.
        blocks = [(digest, entry.size_bytes) for digest, entry in snapshots.blocks.list()]
        unused = [(digest, size_bytes) for digest, size_bytes in blocks if digest not in used]
        snapshots.blocks.delete([digest for digest, _ in unused])
    freed_bytes = sum(size_bytes for _, size_bytes in unused)
    return Collected(
        deleted_manifests=len(dead),
        deleted_blocks=len(unused),
        freed_bytes=freed_bytes,
        partial_writes=partial_writes,
        live_blocks=len(blocks) - len(unused),
        live_bytes=sum(size_bytes for _, size_bytes in blocks) - freed_bytes,
    )
