"""A snapshot's manifest: which block lies at which index of a disk.

Invariant: what ``encode`` wrote is the only thing ``decode`` accepts: one disk has one encoding, and any
altered, missing or added byte is refused. Format: docs/formats/manifest.md.
"""

import itertools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from blake3 import blake3

from bakehouse.storage.digest import BLOCK_SIZE, DIGEST_SIZE, Digest, block_count
from bakehouse.storage.errors import ManifestDamaged

# EBS's largest volume, io2 Block Express: 64 TiB.
MAX_SIZE_BYTES = 64 << 40

_MAGIC = b"BAKEMNF\x01"
_HEADER = struct.Struct("<8sIQII")  # magic, block size, disk size, runs, blocks
_RUN = struct.Struct("<II")  # first block index, number of blocks


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A disk of ``size_bytes``; a block index that is absent from ``blocks`` (ascending) reads as zeros."""

    size_bytes: int
    blocks: Mapping[int, Digest]

    def __post_init__(self) -> None:
        """Refuse what could not be a disk (ValueError: a bug, never input)."""
        indexes = list(self.blocks)
        if not 0 < self.size_bytes <= MAX_SIZE_BYTES:
            raise ValueError(f"a disk of {self.size_bytes} bytes")
        if any(a >= b for a, b in itertools.pairwise(indexes)):
            raise ValueError("block indexes do not ascend")
        if indexes and not 0 <= indexes[0] <= indexes[-1] < block_count(self.size_bytes):
            raise ValueError(f"block index {indexes[-1]} beyond a disk of {self.size_bytes} bytes")

    @property
    def data_bytes(self) -> int:
        """The bytes of all blocks that are not zero, before compression."""
        return len(self.blocks) * BLOCK_SIZE


@dataclass(frozen=True, kw_only=True)
class ChangedBlock:
    """One index at which two manifests differ; None stands for a block of zeros."""

    block_index: int
    older: Digest | None
    newer: Digest | None


def changed_blocks(older: Manifest, newer: Manifest) -> Iterator[ChangedBlock]:
    """Every index at which the two differ, ascending (EBS direct API: ListChangedBlocks)."""
    for index in sorted(older.blocks.keys() | newer.blocks.keys()):
        before, after = older.blocks.get(index), newer.blocks.get(index)
        if before != after:
            yield ChangedBlock(block_index=index, older=before, newer=after)


def _runs(indexes: list[int]) -> Iterator[tuple[int, int]]:
    """Group ascending indexes into (first, count) runs without gaps."""
    for _, group in itertools.groupby(enumerate(indexes), lambda pair: pair[1] - pair[0]):
        run = [index for _, index in group]
        yield run[0], len(run)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest's bytes: header, runs, digests, and the BLAKE3 digest of all that."""
    runs = list(_runs(list(manifest.blocks)))
    header = _HEADER.pack(_MAGIC, BLOCK_SIZE, manifest.size_bytes, len(runs), len(manifest.blocks))
    body = b"".join([header, *(_RUN.pack(*run) for run in runs), *manifest.blocks.values()])
    return body + blake3(body).digest()


def decode(data: bytes) -> Manifest:
    """Read a manifest back; ManifestDamaged for anything ``encode`` did not write."""
    if len(data) < _HEADER.size + DIGEST_SIZE:
        raise ManifestDamaged(f"a manifest of {len(data)} bytes is truncated")
    magic, block_size, size_bytes, run_count, digest_count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ManifestDamaged("not a manifest, or of a version that is not known")
    if block_size != BLOCK_SIZE:
        raise ManifestDamaged(f"blocks of {block_size} bytes are not known")
    digests_at = _HEADER.size + run_count * _RUN.size
    checksum_at = digests_at + digest_count * DIGEST_SIZE
    if len(data) != checksum_at + DIGEST_SIZE:
        raise ManifestDamaged(f"a manifest of {len(data)} bytes, where its header says {checksum_at + DIGEST_SIZE}")
    if blake3(memoryview(data)[:checksum_at]).digest() != data[checksum_at:]:
        raise ManifestDamaged("the checksum is wrong")
    indexes = _decode_runs(data[_HEADER.size : digests_at], digest_count)
    digests = (Digest(data[at : at + DIGEST_SIZE]) for at in range(digests_at, checksum_at, DIGEST_SIZE))
    try:
        return Manifest(size_bytes=size_bytes, blocks=dict(zip(indexes, digests, strict=True)))
    except ValueError as error:
        raise ManifestDamaged(str(error)) from error


def _decode_runs(data: bytes, digest_count: int) -> list[int]:
    """Return the block indexes of all runs; they ascend, do not touch, and cover ``digest_count`` blocks."""
    runs = list(_RUN.iter_unpack(data))
    if sum(count for _, count in runs) != digest_count:
        raise ManifestDamaged("runs and digests do not match")
    next_free = 0
    for position, (first, count) in enumerate(runs):
        if count == 0 or (position and first <= next_free):
            raise ManifestDamaged("runs overlap, touch or are empty")
        next_free = first + count
    return list(itertools.chain.from_iterable(range(first, first + count) for first, count in runs))
