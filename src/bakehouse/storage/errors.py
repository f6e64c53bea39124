"""What can go wrong with stored bytes.

PartError
  StorageError          the block store, a base or a volume could not do what was asked
    StorageFull         no space left (or quota used up); what was written waits for the collector
    StoreBusy           somebody else holds the store's lock
    BlockMissing        a manifest names a block that the store does not hold
    BlockDamaged        a stored block does not have the bytes its digest promises
    ManifestMissing     no such snapshot in the store
    ManifestDamaged     a stored manifest is truncated, altered or not one of ours
    SourceError         the disk that is being read failed, or its server broke the protocol
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from bakehouse.errors import PartError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class StorageError(PartError):
    """The block store, a base or a volume could not do what was asked."""


class StorageFull(StorageError):
    """No space left, or the quota is used up."""


class StoreBusy(StorageError):
    """The store's lock is held by somebody else."""


class BlockError(StorageError):
    """One block cannot be had; says which, and in which snapshot when that is known."""

    trouble = "unreadable"

    def __init__(
        self, digest: bytes, reason: str = "", *, snapshot_id: str = "", block_index: int | None = None
    ) -> None:
        place = f" (block {block_index} of {snapshot_id})" if snapshot_id else ""
        super().__init__(f"block {digest.hex()}{place} is {self.trouble}" + (f": {reason}" if reason else ""))
        self.digest = digest
        self.reason = reason
        self.snapshot_id = snapshot_id
        self.block_index = block_index

    def at(self, snapshot_id: str, block_index: int) -> "BlockError":
        """Return the same error, naming the place that needed the block."""
        return type(self)(self.digest, self.reason, snapshot_id=snapshot_id, block_index=block_index)


class BlockMissing(BlockError):
    """The store does not hold the block."""

    trouble = "missing"


class BlockDamaged(BlockError):
    """The stored bytes are not those the digest names."""

    trouble = "damaged"


class ManifestMissing(StorageError):
    """No such snapshot in the store."""


class ManifestDamaged(StorageError):
    """A stored manifest is truncated, altered or not one of ours."""


class SourceError(StorageError):
    """The disk that is being read failed, or its server broke the protocol."""


def is_full(error: BaseException) -> bool:
    """Tell whether the system means that there is no space, or no quota, left."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def os_errors_translated(action: str) -> Iterator[None]:
    """Turn the system's errors inside the block into StorageFull or StorageError."""
    try:
        yield
    except OSError as error:
        kind = StorageFull if is_full(error) else StorageError
        raise kind(f"{action}: {error.strerror}") from error
