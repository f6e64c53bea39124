"""Snapshots: manifests kept in the object store under their snapshot's id.

Invariant: a manifest becomes visible only after all its blocks are durable, so a snapshot is whole or absent.
"""

from bakehouse.storage.blocks import BlockStore
from bakehouse.storage.errors import ManifestDamaged, ManifestMissing
from bakehouse.storage.extents import Source
from bakehouse.storage.ingest import Ingested, ingest
from bakehouse.storage.manifest import Manifest, decode, encode
from bakehouse.storage.object_store import ObjectStore
from bakehouse.storage.store_lock import StoreLock
from bakehouse.storage.workers import Progress, ignore_progress

_PREFIX = "manifests"


def manifest_key(snapshot_id: str) -> str:
    """Return the object key of a snapshot's manifest."""
    return f"{_PREFIX}/{snapshot_id}"


class Snapshots:
    """All snapshots of one store; every method may be called from any thread."""

    def __init__(self, objects: ObjectStore, lock: StoreLock) -> None:
        self._objects = objects
        self.blocks = BlockStore(objects)
        self.lock = lock

    def take(
        self,
        snapshot_id: str,
        source: Source,
        *,
        parent_id: str | None = None,
        progress: Progress = ignore_progress,
    ) -> Ingested:
        """Read ``source`` into a new snapshot; once taken, a repeated call reads and stores nothing.

        ``parent_id`` is the snapshot against which the source's unchanged extents are meant; when it is gone
        or damaged everything is read. StorageFull, SourceError, StoreBusy.
        """
        with self.lock.writing():
            if (manifest := self._find_sound(snapshot_id)) is not None:
                return Ingested(manifest=manifest, read_bytes=0, new_blocks=0, stored_bytes=0)
            parent = self._find_sound(parent_id) if parent_id else None
            ingested = ingest(source, self.blocks, parent=parent, progress=progress)
            self.write(snapshot_id, ingested.manifest)
            return ingested

    def copy(self, snapshot_id: str, to_snapshot_id: str) -> Manifest:
        """Make a second snapshot of the same blocks; costs only the manifest."""
        with self.lock.writing():
            manifest = self.read(snapshot_id)
            self.write(to_snapshot_id, manifest)
            return manifest

    def write(self, snapshot_id: str, manifest: Manifest) -> None:
        """Store a manifest whose blocks are durable already; the caller holds ``lock.writing``."""
        self._objects.put(manifest_key(snapshot_id), encode(manifest))
        self._objects.make_durable()

    def read(self, snapshot_id: str) -> Manifest:
        """Return a snapshot's manifest; ManifestMissing or ManifestDamaged, naming the snapshot."""
        try:
            return decode(bytes(self._objects.get(manifest_key(snapshot_id))))
        except FileNotFoundError:
            raise ManifestMissing(f"{snapshot_id} is not in the block store") from None
        except ManifestDamaged as error:
            raise ManifestDamaged(f"the manifest of {snapshot_id} is damaged: {error}") from error

    def find_size(self, snapshot_id: str) -> int | None:
        """The size of a snapshot's disk; None when its manifest cannot be read."""
        manifest = self._find_sound(snapshot_id)
        return manifest.size_bytes if manifest else None

    def find(self, snapshot_id: str) -> Manifest | None:
        """Return a snapshot's manifest, None when there is none; ManifestDamaged."""
        try:
            return self.read(snapshot_id)
        except ManifestMissing:
            return None

    def ids(self) -> list[str]:
        """The ids of all stored snapshots."""
        return [stored.key.rpartition("/")[2] for stored in self._objects.list(_PREFIX)]

    def delete(self, snapshot_id: str) -> None:
        """Forget a snapshot (idempotent); its blocks stay until the collector finds them unused."""
        self._objects.delete([manifest_key(snapshot_id)])

    def _find_sound(self, snapshot_id: str) -> Manifest | None:
        """As ``find``, where a damaged manifest is as good as none: the disk is at hand to be read again."""
        try:
            return self.find(snapshot_id)
        except ManifestDamaged:
            return None
