"""Which clusters changed since which snapshot: a chain of dirty bitmaps per volume.

Each snapshot begins a new segment. Only the newest segment records; a segment stops recording at the instant
of the next snapshot. "Changed since snapshot S" is the union of S's segment and all later ones, so a failed
snapshot in between costs nothing.

Invariant: a plan never trusts a bitmap QEMU calls inconsistent (it was open when its QEMU died).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GRANULARITY_BYTES = 65536
_NAME = re.compile(r"bakehouse\.(?P<sequence>\d{9})\.(?P<snapshot_id>.+)")


@dataclass(frozen=True, kw_only=True)
class Bitmap:
    """One segment as QEMU lists it."""

    name: str
    sequence: int
    snapshot_id: str
    is_recording: bool
    is_consistent: bool


@dataclass(frozen=True, kw_only=True)
class BitmapPlan:
    """What one capture does to a volume's segments; ``changed`` are the names whose union was asked for."""

    remove: tuple[str, ...]
    disable: tuple[str, ...]
    add: str
    changed: tuple[str, ...]


def segments_of(node: Mapping[str, Any]) -> list[Bitmap]:
    """Our segments among the dirty bitmaps of a block node (``query-named-block-nodes``), oldest first."""
    found = []
    for entry in node.get("dirty-bitmaps") or []:
        if match := _NAME.fullmatch(str(entry.get("name", ""))):
            bitmap = Bitmap(
                name=match[0],
                sequence=int(match["sequence"]),
                snapshot_id=match["snapshot_id"],
                is_recording=bool(entry.get("recording")),
                is_consistent=not entry.get("inconsistent", False),
            )
            found.append(bitmap)
    return sorted(found, key=lambda bitmap: bitmap.sequence)


def plan_bitmaps(segments: Sequence[Bitmap], *, since: str | None, snapshot_id: str) -> BitmapPlan:
    """Keep the segments from ``since`` on, drop the rest, begin one for ``snapshot_id``."""
    kept = _from_snapshot(segments, since)
    last = segments[-1].sequence if segments else 0
    return BitmapPlan(
        remove=tuple(bitmap.name for bitmap in segments if bitmap not in kept),
        disable=tuple(bitmap.name for bitmap in kept if bitmap.is_recording),
        add=f"bakehouse.{last + 1:09d}.{snapshot_id}",
        changed=tuple(bitmap.name for bitmap in kept),
    )


def _from_snapshot(segments: Sequence[Bitmap], since: str | None) -> list[Bitmap]:
    """The unbroken run of segments from ``since`` to now; empty when there is none that can be trusted."""
    first = next((n for n, bitmap in enumerate(segments) if bitmap.snapshot_id == since), None)
    if first is None:
        return []
    run = list(segments[first:])
    is_unbroken = all(bitmap.is_consistent for bitmap in run) and run[-1].is_recording
    return run if is_unbroken else []
