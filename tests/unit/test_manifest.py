"""Manifests: what is written is what is read, and nothing else is accepted."""

import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from bakehouse.storage.digest import BLOCK_SIZE, Digest, digest_of
from bakehouse.storage.errors import ManifestDamaged
from bakehouse.storage.manifest import (
    MAX_SIZE_BYTES,
    ChangedBlock,
    Manifest,
    changed_blocks,
    decode,
    encode,
)

GIB = 1 << 30


def digest(number: int) -> Digest:
    return digest_of(number.to_bytes(8, "big"))


def a_manifest(*indexes: int, size_bytes: int = GIB) -> Manifest:
    return Manifest(size_bytes=size_bytes, blocks={index: digest(index) for index in indexes})


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    blocks = draw(st.integers(1, 5000))
    size_bytes = blocks * BLOCK_SIZE - draw(st.integers(0, BLOCK_SIZE - 1))
    indexes = sorted(draw(st.sets(st.integers(0, blocks - 1), max_size=60)))
    return Manifest(size_bytes=size_bytes, blocks={index: digest(draw(st.integers(0, 5))) for index in indexes})


@given(manifests())
def test_a_manifest_reads_back_equal(manifest: Manifest) -> None:
    decoded = decode(encode(manifest))
    assert decoded == manifest
    assert list(decoded.blocks) == list(manifest.blocks)
    assert encode(decoded) == encode(manifest)


@settings(max_examples=300)
@given(manifests(), st.data())
def test_any_changed_byte_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    encoded = bytearray(encode(manifest))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ManifestDamaged):
        decode(bytes(encoded))


@settings(max_examples=200)
@given(manifests(), st.data())
def test_any_truncation_or_addition_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    encoded = encode(manifest)
    for damaged in (
        encoded[: data.draw(st.integers(0, len(encoded) - 1))],
        encoded + data.draw(st.binary(min_size=1)),
    ):
        with pytest.raises(ManifestDamaged):
            decode(damaged)


@given(st.binary(max_size=300))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ManifestDamaged):
        decode(garbage)


@settings(max_examples=300)
@given(manifests(), st.data())
def test_altered_bytes_under_a_right_checksum_make_no_crash(manifest: Manifest, data: st.DataObject) -> None:
    body = bytearray(encode(manifest)[:-32])
    # The header and the runs, where structure lies.
    position = data.draw(st.integers(8, min(len(body), 28 + 8 * 10) - 1))
    body[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(body) + blake3(body).digest())
    except ManifestDamaged:
        return
    assert encode(decoded) == bytes(body) + blake3(body).digest()


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param([(0, 1), (1, 1)], id="touching"),
        pytest.param([(5, 1), (3, 1)], id="descending"),
        pytest.param([(0, 2), (1, 0)], id="empty"),
        pytest.param([(3, 1), (3, 1)], id="twice the same"),
        pytest.param([(2047, 2)], id="beyond the disk"),
        pytest.param([(0xFFFFFFFF, 2)], id="beyond all disks"),
    ],
)
def test_runs_nobody_would_write_are_refused_under_a_right_checksum(runs: list[tuple[int, int]]) -> None:
    header = encode(a_manifest(0, 1))[:20] + len(runs).to_bytes(4, "little") + (2).to_bytes(4, "little")
    words = b"".join(word.to_bytes(4, "little") for run in runs for word in run)
    body = header + words + digest(1) + digest(2)
    with pytest.raises(ManifestDamaged):
        decode(body + blake3(body).digest())


def test_a_full_disk_of_100_gib_takes_one_run() -> None:
    one = digest(1)
    manifest = Manifest(size_bytes=100 * GIB, blocks=dict.fromkeys(range(204_800), one))
    assert len(encode(manifest)) == 28 + 8 + 204_800 * 32 + 32
    assert decode(encode(manifest)) == manifest


def test_an_empty_disk_of_64_tib_takes_60_bytes() -> None:
    manifest = Manifest(size_bytes=MAX_SIZE_BYTES, blocks={})
    assert len(encode(manifest)) == 60
    assert decode(encode(manifest)) == manifest


def test_the_bytes_are_those_of_the_format_document() -> None:
    manifest = Manifest(size_bytes=GIB, blocks={0: digest(0), 1: digest(1), 7: digest(7)})
    expected = (
        bytes.fromhex("42414b454d4e4601 00000800 0000004000000000 02000000 03000000")
        + bytes.fromhex("00000000 02000000 07000000 01000000")
        + digest(0) + digest(1) + digest(7)
    )  # fmt: skip
    assert encode(manifest) == expected + blake3(expected).digest()


@pytest.mark.parametrize(
    ("size_bytes", "indexes"),
    [(0, []), (-1, []), (MAX_SIZE_BYTES + 1, []), (BLOCK_SIZE, [1]), (GIB, [-1]), (GIB, [3, 2])],
)
def test_what_is_no_disk_cannot_be_made(size_bytes: int, indexes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"disk|ascend|beyond"):
        Manifest(size_bytes=size_bytes, blocks=dict.fromkeys(indexes, digest(1)))


def test_changed_blocks_tell_added_removed_and_replaced_ones() -> None:
    older = Manifest(size_bytes=GIB, blocks={1: digest(1), 2: digest(2), 3: digest(3)})
    newer = Manifest(size_bytes=GIB, blocks={1: digest(1), 3: digest(33), 9: digest(9)})
    assert list(changed_blocks(older, newer)) == [
        ChangedBlock(block_index=2, older=digest(2), newer=None),
        ChangedBlock(block_index=3, older=digest(3), newer=digest(33)),
        ChangedBlock(block_index=9, older=None, newer=digest(9)),
    ]


@given(manifests())
def test_a_manifest_does_not_differ_from_itself(manifest: Manifest) -> None:
    assert list(changed_blocks(manifest, manifest)) == []


def test_random_runs_are_found_again() -> None:
    rng = random.Random(4)
    for _ in range(50):
        indexes = sorted(rng.sample(range(2048), rng.randrange(0, 2048)))
        assert list(decode(encode(a_manifest(*indexes))).blocks) == indexes
