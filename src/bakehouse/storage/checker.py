"""The checker: proves every manifest readable and every block's digest true; changes nothing.

Invariant: every block is read once, however many snapshots name it, and every place that names a bad one is
reported. Hydrated bases are compared with their snapshots too: a disk may forget what it was told to keep.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from bakehouse.storage.bases import Base
from bakehouse.storage.digest import BLOCK_SIZE, ZERO_BLOCK, Digest, digest_of
from bakehouse.storage.errors import (
    BlockDamaged,
    BlockError,
    BlockMissing,
    ManifestDamaged,
    ManifestMissing,
    SourceError,
)
from bakehouse.storage.manifest import Manifest
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.workers import Progress, ignore_progress, share_out


class Trouble(StrEnum):
    """What a finding is about."""

    MANIFEST_MISSING = "manifest-missing"
    MANIFEST_DAMAGED = "manifest-damaged"
    BLOCK_MISSING = "block-missing"
    BLOCK_DAMAGED = "block-damaged"
    BASE_DAMAGED = "base-damaged"


_TROUBLES: dict[type[Exception], Trouble] = {
    ManifestMissing: Trouble.MANIFEST_MISSING,
    ManifestDamaged: Trouble.MANIFEST_DAMAGED,
    BlockMissing: Trouble.BLOCK_MISSING,
    BlockDamaged: Trouble.BLOCK_DAMAGED,
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with one snapshot."""

    snapshot_id: str
    trouble: Trouble
    message: str
    block_index: int | None = None
    digest: Digest | None = None


def check(snapshots: Snapshots, snapshot_ids: Iterable[str], *, progress: Progress = ignore_progress) -> list[Finding]:
    """Read every block of these snapshots; return what is wrong, an empty list when nothing is.

    Writers may run meanwhile, the collector may not: the store's lock is held, also while ``snapshot_ids`` is
    asked. StoreBusy.
    """
    with snapshots.lock.writing():
        findings: list[Finding] = []
        manifests: dict[str, Manifest] = {}
        for snapshot_id in snapshot_ids:
            try:
                manifests[snapshot_id] = snapshots.read(snapshot_id)
            except (ManifestMissing, ManifestDamaged) as error:
                findings.append(Finding(snapshot_id=snapshot_id, trouble=_TROUBLES[type(error)], message=str(error)))
        bad = _find_bad_blocks(snapshots, manifests, progress)
    return findings + _places(manifests, bad)


def _find_bad_blocks(
    snapshots: Snapshots, manifests: dict[str, Manifest], progress: Progress
) -> dict[Digest, BlockError]:
    digests = {digest for manifest in manifests.values() for digest in manifest.blocks.values()}
    bad: dict[Digest, BlockError] = {}
    lock = threading.Lock()

    def verify(digest: Digest) -> None:
        try:
            snapshots.blocks.get(digest)
        except BlockError as error:
            with lock:
                bad[digest] = error

    share_out(
        digests,
        lambda: verify,
        item_bytes=BLOCK_SIZE,
        total_bytes=len(digests) * BLOCK_SIZE,
        progress=progress,
    )
    return bad


def _places(manifests: dict[str, Manifest], bad: dict[Digest, BlockError]) -> list[Finding]:
    return [
        Finding(
            snapshot_id=snapshot_id,
            trouble=_TROUBLES[type(bad[digest])],
            message=str(bad[digest].at(snapshot_id, index)),
            block_index=index,
            digest=digest,
        )
        for snapshot_id, manifest in manifests.items()
        for index, digest in manifest.blocks.items()
        if digest in bad
    ]


def check_bases(snapshots: Snapshots, bases: Iterable[Base], *, progress: Progress = ignore_progress) -> list[Finding]:
    """Compare hydrated bases with their snapshots' manifests; a base whose snapshot is gone is passed over."""
    manifests: list[tuple[Base, Manifest]] = []
    for base in bases:
        try:
            manifests.append((base, snapshots.read(base.snapshot_id)))
        except (ManifestMissing, ManifestDamaged):
            continue
    total_bytes = sum(manifest.data_bytes for _, manifest in manifests)
    done_bytes = 0
    findings = []
    for base, manifest in manifests:
        trouble = _trouble_of(base, manifest)
        done_bytes += manifest.data_bytes
        progress(done_bytes, total_bytes)
        if trouble:
            message = f"{base.path} {trouble}; delete it, and it is written anew when it is needed"
            findings.append(Finding(snapshot_id=base.snapshot_id, trouble=Trouble.BASE_DAMAGED, message=message))
    return findings


def _trouble_of(base: Base, manifest: Manifest) -> str:
    """What is wrong with a base's file, or nothing."""
    try:
        with RawFile(base.path) as file:
            if file.size_bytes != manifest.size_bytes:
                return f"has {file.size_bytes} bytes, not {manifest.size_bytes}"
            for index in sorted(set(manifest.blocks) | set(_data_blocks(file))):
                if _digest_at(file, index) != manifest.blocks.get(index):
                    return f"is damaged in block {index}"
    except FileNotFoundError:  # evicted while we were on our way
        return ""
    except (OSError, SourceError) as error:
        return f"cannot be read ({error})"
    return ""


def _data_blocks(file: RawFile) -> Iterator[int]:
    """The indexes of the blocks for which the file system keeps data."""
    offset = 0
    for extent in file.extents():
        if not extent.is_zero:
            yield from range(offset // BLOCK_SIZE, -(-(offset + extent.length) // BLOCK_SIZE))
        offset += extent.length


def _digest_at(file: RawFile, index: int) -> Digest | None:
    """The digest of one block of a file, filled up with zeros at its end; None for zeros."""
    buffer = bytearray(BLOCK_SIZE)
    offset = index * BLOCK_SIZE
    file.read_into(offset, memoryview(buffer)[: file.size_bytes - offset])
    return None if buffer == ZERO_BLOCK else digest_of(buffer)
