"""The checker: proves every manifest readable and every block's digest true; changes nothing.

Invariant: every block is read once, however many snapshots name it, and every place that names a bad one is
reported.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bakehouse.storage.digest import BLOCK_SIZE, Digest
from bakehouse.storage.errors import BlockDamaged, BlockError, BlockMissing, ManifestDamaged, ManifestMissing
from bakehouse.storage.manifest import Manifest
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.workers import Progress, ignore_progress, share_out


class Trouble(StrEnum):
    """What a finding is about."""

    MANIFEST_MISSING = "manifest-missing"
    MANIFEST_DAMAGED = "manifest-damaged"
    BLOCK_MISSING = "block-missing"
    BLOCK_DAMAGED = "block-damaged"


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

    Writers may run meanwhile, the collector may not: the store's lock is held. StoreBusy.
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
