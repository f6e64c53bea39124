"""The block store: blocks by digest, compressed, write-once, equal ones stored once.

Invariant: ``get`` returns exactly the bytes its digest names, or raises. Format: docs/formats/block-store.md.
"""

import threading
from collections.abc import Collection, Iterator

import zstandard

from bakehouse.storage.digest import BLOCK_SIZE, DIGEST_SIZE, ZERO_BLOCK, Digest, digest_of
from bakehouse.storage.errors import BlockDamaged, BlockError, BlockMissing
from bakehouse.storage.object_store import ObjectStore, StoredObject

_PREFIX = "blocks"
_COMPRESSION_LEVEL = 1


class _Codec(threading.local):
    """zstandard's contexts may not be shared between threads."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


def block_key(digest: Digest) -> str:
    """Return the object key of a block: 256 folders, so that none grows huge."""
    name = digest.hex()
    return f"{_PREFIX}/{name[:2]}/{name}"


class BlockStore:
    """Blocks in an object store; every method may be called from any thread."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._codec = _Codec()

    def put(self, digest: Digest, block: bytes | bytearray) -> int:
        """Store a block of BLOCK_SIZE bytes if it is absent; return the bytes it took, 0 when it was there.

        On a local disk a block that is there is read back: a power cut may have cut it short before anything
        referred to it, and trusting it would damage the snapshot being written. A damaged one is replaced.
        """
        key = block_key(digest)
        if self._objects.size(key) is not None and (not self._objects.is_local or self._is_sound(digest)):
            return 0
        compressed = self._codec.compressor.compress(block)
        self._objects.put(key, compressed)
        return len(compressed)

    def get(self, digest: Digest) -> bytes:
        """Return the block's BLOCK_SIZE bytes, verified; BlockMissing or BlockDamaged."""
        try:
            stored = self._objects.get(block_key(digest))
        except FileNotFoundError:
            raise BlockMissing(digest) from None
        block = self._decompress(digest, memoryview(stored))
        if digest_of(block) != digest:
            raise BlockDamaged(digest, "its bytes have another digest")
        return block

    def has_lost(self, digest: Digest) -> bool:
        """Tell whether a block that should be there is seen, at next to no cost, not to be: on a local disk only."""
        return self._objects.is_local and not self._objects.size(block_key(digest))

    def make_durable(self) -> None:
        """Return once all blocks put so far would survive a power cut."""
        self._objects.make_durable()

    def list(self) -> Iterator[tuple[Digest, StoredObject]]:
        """Every stored block, in no particular order; objects that are not ours are passed over."""
        for stored in self._objects.list(_PREFIX):
            name = stored.key.rpartition("/")[2]
            try:
                digest = Digest(bytes.fromhex(name))
            except ValueError:
                continue
            if len(digest) == DIGEST_SIZE and block_key(digest) == stored.key:
                yield digest, stored

    def delete(self, digests: Collection[Digest]) -> None:
        """Remove blocks; for the collector only."""
        self._objects.delete([block_key(digest) for digest in digests])

    def remove_partial_writes(self) -> int:
        """Delete what killed writers left; for the collector only."""
        return self._objects.remove_partial_writes()

    def _is_sound(self, digest: Digest) -> bool:
        try:
            self.get(digest)
        except BlockError:
            return False
        return True

    def _decompress(self, digest: Digest, stored: memoryview) -> bytes:
        try:
            # Looked at first, so that a forged frame cannot make us allocate gigabytes.
            if zstandard.get_frame_parameters(stored).content_size != BLOCK_SIZE:
                raise BlockDamaged(digest, "it is not the frame of one block")
            return self._codec.decompressor.decompress(stored, max_output_size=BLOCK_SIZE, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise BlockDamaged(digest, str(error)) from error


def is_zero(block: bytearray) -> bool:
    """Tell whether a whole block is zero (one memcmp that stops at the first other byte)."""
    return block == ZERO_BLOCK
