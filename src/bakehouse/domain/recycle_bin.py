"""The recycle bin itself: what a retention rule kept when it was deleted.

Invariant: an entry is written in the transaction that deletes, and goes in the one that restores or in the upkeep's
after its time; in between the store keeps the manifests of its snapshots.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import BinEntry, Image, Row, Snapshot, UtcDateTime, now
from bakehouse.domain import retention_rules, tags
from bakehouse.domain.image_states import ImageState
from bakehouse.domain.retention_rules import IMAGE, SNAPSHOT

_KEPT_STATES = (ImageState.AVAILABLE, ImageState.DISABLED)


def keep_image(session: Session, image: Image) -> bool:
    """Keep an image that is about to be deregistered, if a rule says so. One that failed is not kept."""
    if image.state not in _KEPT_STATES:
        return False
    own_tags = tags.tags_of(session, image.account_id, [image.image_id])[image.image_id]
    contents = {
        "state": str(image.state),
        "is_public": image.is_public,
        "permissions": [columns_of(one, but=("image_id",)) for one in image.launch_permissions],
        "tags": own_tags,
    }
    return _keep(session, IMAGE, image.image_id, image.account_id, contents)


def keep_snapshot(session: Session, snapshot: Snapshot) -> bool:
    """Keep a snapshot that is about to be deleted, if a rule says so."""
    own_tags = tags.tags_of(session, snapshot.account_id, [snapshot.snapshot_id])[snapshot.snapshot_id]
    contents = {
        "columns": columns_of(snapshot),
        "permissions": [columns_of(one, but=("snapshot_id",)) for one in snapshot.create_volume_permissions],
        "tags": own_tags,
    }
    return _keep(session, SNAPSHOT, snapshot.snapshot_id, snapshot.account_id, contents)


def _keep(session: Session, resource_type: str, resource_id: str, account_id: str, contents: dict[str, Any]) -> bool:
    days = retention_rules.find_days(session, account_id, resource_type, contents["tags"])
    if days is not None:
        moment = now()
        session.add(
            BinEntry(
                resource_id=resource_id,
                account_id=account_id,
                resource_type=resource_type,
                contents=contents,
                entered_at=moment,
                exits_at=moment + timedelta(days=days),
            )
        )
    return days is not None


def visible(session: Session, account_id: str, resource_type: str, ids: Sequence[str] = ()) -> list[BinEntry]:
    """The blessed select: what is in the account's bin, in the order it came; ids that are not there are left out."""
    query = sa.select(BinEntry).where(
        BinEntry.account_id == account_id, BinEntry.resource_type == resource_type, BinEntry.exits_at > now()
    )
    query = query.where(BinEntry.resource_id.in_(ids)) if ids else query
    return list(session.scalars(query.order_by(BinEntry.entered_at, BinEntry.resource_id)))


def find(session: Session, account_id: str, resource_type: str, resource_id: str) -> BinEntry | None:
    """Return one entry of the account's, or None."""
    return next(iter(visible(session, account_id, resource_type, [resource_id])), None)


def empty_expired(session: Session) -> None:
    """Let go of what has had its time."""
    session.execute(sa.delete(BinEntry).where(BinEntry.exits_at <= now()))


def snapshot_ids(session: Session) -> set[str]:
    """The snapshots in any bin, whose manifests and blocks must stay."""
    return set(session.scalars(sa.select(BinEntry.resource_id).where(BinEntry.resource_type == SNAPSHOT)))


def columns_of(row: Row, *, but: Sequence[str] = ()) -> dict[str, Any]:
    """A row's columns as JSON can carry them."""
    values = {column.key: getattr(row, column.key) for column in sa.inspect(type(row)).columns if column.key not in but}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def columns_for(kind: type[Row], columns: dict[str, Any]) -> dict[str, Any]:
    """What ``columns_of`` gave, as arguments for a new row."""
    moments = {column.key for column in sa.inspect(kind).columns if isinstance(column.type, UtcDateTime)}
    return {
        name: datetime.fromisoformat(value) if name in moments and value is not None else value
        for name, value in columns.items()
    }
