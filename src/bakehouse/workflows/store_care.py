"""``bakehouse check`` and ``bakehouse gc``: the block store and the bases, seen from the rows."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select

from bakehouse.database.models import Image
from bakehouse.database.session import Database
from bakehouse.domain import snapshots
from bakehouse.storage import checker, collector
from bakehouse.storage.bases import Bases
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.workers import Progress


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is wrong, and the images that need what is damaged, as "ID (NAME)"."""

    finding: checker.Finding
    images: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was given back: blocks and manifests of the store, and bytes of bases on this host."""

    store: collector.Collected
    base_bytes: int


def find_damage(database: Database, store: Snapshots, bases: Bases, progress: Progress) -> list[Damage]:
    """Verify every completed snapshot's manifest and blocks, and every hydrated base."""

    def completed() -> Iterator[str]:
        with database.transaction(mutates=False) as session:
            yield from sorted(snapshots.completed_ids(session))

    findings = checker.check(store, completed(), progress=progress)
    findings += checker.check_bases(store, bases.all())
    with database.transaction(mutates=False) as session:
        images = session.scalars(select(Image).where(Image.deregistered_at.is_(None))).all()
    users = {image.image_id: (f"{image.image_id} ({image.name})", snapshots.snapshot_ids_of(image)) for image in images}
    return [
        Damage(
            finding=finding,
            images=tuple(title for title, needed in users.values() if finding.snapshot_id in needed),
        )
        for finding in findings
    ]


def collect_garbage(database: Database, store: Snapshots, bases: Bases, *, timeout_s: float) -> Collected:
    """Delete what no snapshot needs, and bases of snapshots that are gone; StoreBusy while a capture writes."""

    def live() -> set[str]:
        with database.transaction(mutates=False) as session:
            return snapshots.referenced_ids(session)

    collected = collector.collect(store, live, timeout_s=timeout_s)
    return Collected(store=collected, base_bytes=bases.evict(live()))
