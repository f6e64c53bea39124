"""Which bitmaps a capture keeps, stops, begins and asks."""

from typing import Any

from bakehouse.hypervisor.bitmaps import plan_bitmaps, segments_of


def _entry(sequence: int, snapshot: str, *, recording: bool, **more: Any) -> dict[str, Any]:
    return {"name": f"bakehouse.{sequence:09d}.{snapshot}", "recording": recording, **more}


def _node(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"dirty-bitmaps": list(entries)}


THREE = _node(
    _entry(3, "snap-c", recording=True),
    _entry(1, "snap-a", recording=False),
    {"name": "somebody-elses", "recording": True},
    _entry(2, "snap-b", recording=False),
)


def test_segments_come_oldest_first_and_foreign_bitmaps_are_left_alone() -> None:
    assert [bitmap.snapshot_id for bitmap in segments_of(THREE)] == ["snap-a", "snap-b", "snap-c"]


def test_a_disk_without_bitmaps_begins_its_first_segment() -> None:
    plan = plan_bitmaps(segments_of({}), since=None, snapshot_id="snap-x")
    assert plan.add == "bakehouse.000000001.snap-x"
    assert (plan.remove, plan.disable, plan.changed) == ((), (), ())


def test_changes_since_a_snapshot_are_its_segment_and_all_later_ones() -> None:
    plan = plan_bitmaps(segments_of(THREE), since="snap-b", snapshot_id="snap-d")
    assert plan.remove == ("bakehouse.000000001.snap-a",)
    assert plan.disable == ("bakehouse.000000003.snap-c",)
    assert plan.changed == ("bakehouse.000000002.snap-b", "bakehouse.000000003.snap-c")
    assert plan.add == "bakehouse.000000004.snap-d"


def test_an_unknown_snapshot_starts_the_chain_anew() -> None:
    plan = plan_bitmaps(segments_of(THREE), since="snap-z", snapshot_id="snap-d")
    assert len(plan.remove) == 3
    assert plan.changed == ()
    assert plan.add == "bakehouse.000000004.snap-d"


def test_one_inconsistent_segment_spoils_the_chain() -> None:
    node = _node(
        _entry(1, "snap-a", recording=False),
        _entry(2, "snap-b", recording=False, inconsistent=True),
        _entry(3, "snap-c", recording=True),
    )
    assert plan_bitmaps(segments_of(node), since="snap-a", snapshot_id="snap-d").changed == ()
    assert plan_bitmaps(segments_of(node), since="snap-c", snapshot_id="snap-d").changed != ()


def test_a_chain_whose_newest_segment_does_not_record_is_not_believed() -> None:
    node = _node(_entry(1, "snap-a", recording=False))
    assert plan_bitmaps(segments_of(node), since="snap-a", snapshot_id="snap-b").changed == ()
