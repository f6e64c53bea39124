"""From a source's extents to runs of blocks: whatever is in doubt is read, and holes cost nothing."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakehouse.storage.digest import BLOCK_SIZE, block_count
from bakehouse.storage.errors import SourceError
from bakehouse.storage.extents import Extent, Treatment, block_runs

KINDS = st.tuples(st.booleans(), st.booleans())
LENGTHS = st.one_of(st.integers(1, 3 * BLOCK_SIZE), st.sampled_from([BLOCK_SIZE, 4 * BLOCK_SIZE, 65536]))


def slow_truth(extents: list[Extent], *, has_parent: bool) -> list[Treatment]:
    """Every block by itself: read unless all of its extents agree on something better."""
    bounds, offset = [], 0
    for extent in extents:
        bounds.append((offset, offset + extent.length, extent))
        offset += extent.length
    truth = []
    for index in range(block_count(offset)):
        start, end = index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE
        kinds = set()
        for first, last, extent in bounds:
            if first < end and last > start:
                if has_parent and extent.is_unchanged:
                    kinds.add(Treatment.FROM_PARENT)
                else:
                    kinds.add(Treatment.ZERO if extent.is_zero else Treatment.READ)
        truth.append(kinds.pop() if len(kinds) == 1 else Treatment.READ)
    return truth


@given(st.lists(st.tuples(LENGTHS, KINDS), min_size=1, max_size=12), st.booleans())
def test_runs_agree_with_looking_at_every_block(parts: list[tuple[int, tuple[bool, bool]]], has_parent: bool) -> None:
    extents = [Extent(length, is_unchanged=kind[0], is_zero=kind[1]) for length, kind in parts]
    size_bytes = sum(extent.length for extent in extents)
    runs = block_runs(extents, size_bytes=size_bytes, has_parent=has_parent)
    assert [run.treatment for run in runs for _ in range(run.first, run.end)] == slow_truth(
        extents, has_parent=has_parent
    )
    assert runs[0].first == 0
    assert all(a.end == b.first for a, b in itertools.pairwise(runs))
    assert all(a.treatment is not b.treatment for a, b in itertools.pairwise(runs))


def test_a_huge_hole_is_one_run() -> None:
    runs = block_runs([Extent(64 << 40, is_zero=True)], size_bytes=64 << 40, has_parent=False)
    assert len(runs) == 1


@pytest.mark.parametrize("lengths", [[], [10], [100, 1], [0, 100], [-5, 105], [1 << 70]])
def test_extents_that_do_not_cover_the_disk_are_refused(lengths: list[int]) -> None:
    with pytest.raises(SourceError):
        block_runs([Extent(length) for length in lengths], size_bytes=100, has_parent=False)
