"""How blocks are named: the BLAKE3 digest of their 512 KiB, 32 raw bytes."""

from typing import TYPE_CHECKING, NewType

from blake3 import blake3

if TYPE_CHECKING:
    from typing_extensions import Buffer

# The block size of the EBS direct APIs (GetSnapshotBlock: "BlockSize": 524288).
BLOCK_SIZE = 512 * 1024
DIGEST_SIZE = 32
ZERO_BLOCK = bytes(BLOCK_SIZE)

Digest = NewType("Digest", bytes)


def digest_of(data: "Buffer") -> Digest:
    """Return the digest of ``data``; the GIL is released meanwhile."""
    return Digest(blake3(data).digest())


def block_count(size_bytes: int) -> int:
    """Return how many blocks a disk of this size has; the last one may be short of data."""
    return -(-size_bytes // BLOCK_SIZE)
