"""Snapshots: their states, and which manifests must live. With whom they are shared is in snapshot_sharing.py.

Invariant: a snapshot's manifest lives as long as its row, its entry in the recycle bin, a volume that lies
over it, or a copy being made of it.
"""

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, ImageSnapshot, Instance, Snapshot, Volume, now, snapshot_ids_in
from bakehouse.domain import accounts, recycle_bin, snapshot_sharing, tags
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, is_well_formed, new_id

# DeleteSnapshotReturnCode, by why a snapshot was not deleted.
_MISSING_PERMISSIONS = "missing-permissions"
_NOT_DELETED = {
    "AuthFailure": _MISSING_PERMISSIONS,
    "InvalidSnapshot.InUse": "skipped",
    "InvalidSnapshot.NotFound": _MISSING_PERMISSIONS,
}
PENDING, COMPLETED, ERROR = "pending", "completed", "error"


def visible(
    session: Session,
    account_id: str,
    snapshot_ids: Sequence[str] = (),
    *,
    owners: Collection[str] = (),
    restorable_by: Collection[str] = (),
) -> list[Snapshot]:
    """The blessed select: own, shared and public snapshots, oldest first, narrowed down as DescribeSnapshots is."""
    query = sa.select(Snapshot).order_by(Snapshot.started_at, Snapshot.snapshot_id)
    for snapshot_id in snapshot_ids:
        if not is_well_formed(Prefix.SNAPSHOT, snapshot_id):
            raise errors.snapshot_id_malformed(snapshot_id)
    query = query.where(snapshot_sharing.is_visible(account_id))
    if snapshot_ids:
        query = query.where(Snapshot.snapshot_id.in_(snapshot_ids))
        missing = set(snapshot_ids) - {one.snapshot_id for one in session.scalars(query)}
        if missing:
            raise errors.snapshot_not_found(min(missing))
    if owners:
        query = query.where(Snapshot.account_id.in_(accounts.ids_of_owners(session, account_id, owners)))
    if restorable_by:
        accounts.check_users(restorable_by, "self", snapshot_sharing.ALL)
        query = query.where(snapshot_sharing.is_restorable_by(account_id, restorable_by))
    return list(session.scalars(query))


def get(session: Session, account_id: str, snapshot_id: str) -> Snapshot:
    """Return a snapshot the account may read."""
    return visible(session, account_id, [snapshot_id])[0]


def get_own(session: Session, account_id: str, snapshot_id: str) -> Snapshot:
    """Return a snapshot the account owns; AuthFailure for one it only reads."""
    snapshot = get(session, account_id, snapshot_id)
    if snapshot.account_id != account_id:
        raise errors.not_yours(f"Not authorized for snapshot:{snapshot_id}")
    return snapshot


def get_completed(session: Session, account_id: str, snapshot_id: str) -> Snapshot:
    """Return a snapshot the account may read, whose data is all there."""
    snapshot = get(session, account_id, snapshot_id)
    if snapshot.state != COMPLETED:
        raise errors.incorrect_state(f"Snapshot '{snapshot_id}' is not 'completed'.")
    return snapshot


def create(session: Session, account_id: str, volume: Volume, description: str) -> Snapshot:
    """Write the pending snapshot of a volume."""
    snapshot = Snapshot(
        snapshot_id=new_id(Prefix.SNAPSHOT),
        account_id=account_id,
        volume_id=volume.volume_id,
        volume_size_gib=volume.size_gib,
        description=description,
        state=PENDING,
        product_codes=volume.product_codes,
    )
    session.add(snapshot)
    session.flush()
    return snapshot


def create_set(session: Session, instance: Instance, volumes: Sequence[Volume], description: str) -> list[Snapshot]:
    """Write the pending snapshots of several volumes of an instance, to be taken at one instant."""
    taken = [create(session, instance.account_id, volume, description) for volume in volumes]
    for snapshot in taken:
        snapshot.set_id, snapshot.started_at = taken[0].snapshot_id, taken[0].started_at
    return taken


def taken_with(session: Session, snapshot_id: str) -> list[str]:
    """A snapshot taken alone, or all of the set of which it is the first."""
    query = sa.select(Snapshot.snapshot_id).where(
        sa.or_(Snapshot.snapshot_id == snapshot_id, Snapshot.set_id == snapshot_id)
    )
    return list(session.scalars(query))


def create_for_image(session: Session, instance: Instance, volume: Volume, image_id: str) -> Snapshot:
    """Write the pending snapshot that CreateImage takes of one of an instance's volumes."""
    return create(session, instance.account_id, volume, _note(instance.instance_id, image_id))


def taken_for(session: Session, image: Image) -> list[str]:
    """The snapshots that CreateImage took, or takes, for an image; its mappings may name older ones too."""
    # Nobody can change a description, or know an image's id before the image is there.
    query = sa.select(Snapshot.snapshot_id).where(
        Snapshot.snapshot_id.in_(snapshot_ids_of(image)),
        Snapshot.description == _note(image.source_instance_id, image.image_id),
    )
    return list(session.scalars(query))


def _note(instance_id: str | None, image_id: str) -> str:
    """EC2's description of such a snapshot."""
    return f"Created by CreateImage({instance_id}) for {image_id}"


def delete(session: Session, account_id: str, snapshot_id: str) -> None:
    """Delete a snapshot no image needs; a rule may keep it in the recycle bin."""
    snapshot = get_own(session, account_id, snapshot_id)
    _check_unused(session, snapshot)
    if snapshot.state == PENDING or _is_under_way(session, snapshot.set_id):
        raise errors.incorrect_state(f"The snapshot '{snapshot_id}' is still being taken.")
    if snapshot.state == COMPLETED:
        recycle_bin.keep_snapshot(session, snapshot)
    tags.delete_tags_of(session, snapshot_id)
    session.delete(snapshot)


def _check_unused(session: Session, snapshot: Snapshot) -> None:
    is_others = Image.account_id != snapshot.account_id
    query = (
        sa.select(Image.image_id, is_others)
        .join(ImageSnapshot, ImageSnapshot.image_id == Image.image_id)
        .where(ImageSnapshot.snapshot_id == snapshot.snapshot_id, Image.deregistered_at.is_(None))
    )
    user = session.execute(query.order_by(is_others).limit(1)).first()
    if user is not None:
        # Of another account's image its id is not told.
        raise errors.snapshot_in_use(snapshot.snapshot_id, "an image of another account" if user[1] else user[0])


def _is_under_way(session: Session, set_id: str | None) -> bool:
    """Whether one of a set is still being taken: all of them come to an end together."""
    pending = sa.select(Snapshot.snapshot_id).where(Snapshot.set_id == set_id, Snapshot.state == PENDING)
    return set_id is not None and session.scalars(pending).first() is not None


def delete_with_image(session: Session, account_id: str, snapshot_id: str, *, is_allowed: bool) -> str:
    """Delete a snapshot of an image that went, if nothing else needs it; EC2's word for what came of it."""
    if not is_allowed:
        return _MISSING_PERMISSIONS
    try:
        delete(session, account_id, snapshot_id)
    except ApiError as error:
        return _NOT_DELETED.get(error.code, "client-error")
    return "success"


def snapshot_ids_of(image: Image) -> list[str]:
    """The snapshots an image's block device mappings name, each once."""
    return snapshot_ids_in(image.block_device_mappings)


def complete(session: Session, snapshot_id: str, stored_bytes: int, *, size_gib: int = 0) -> None:
    """All its blocks are stored. ``size_gib``: what the disk had at the instant; more, if it grew after the request."""
    snapshot = session.get_one(Snapshot, snapshot_id)
    if snapshot.state == PENDING:
        snapshot.volume_size_gib = max(snapshot.volume_size_gib, size_gib)
        snapshot.state, snapshot.progress_percent = COMPLETED, 100
        snapshot.stored_bytes, snapshot.completed_at = stored_bytes, now()


def fail(session: Session, snapshot_id: str, message: str) -> None:
    """It could not be taken."""
    snapshot = session.get_one(Snapshot, snapshot_id)
    snapshot.state, snapshot.state_message = ERROR, message


def set_progress(session: Session, snapshot_id: str, percent: int) -> None:
    """Note how far the reading is."""
    session.get_one(Snapshot, snapshot_id).progress_percent = percent


def completed_ids(session: Session) -> set[str]:
    """Every snapshot whose manifest must be readable, those in the recycle bin too."""
    rows = session.scalars(sa.select(Snapshot.snapshot_id).where(Snapshot.state == COMPLETED))
    return set(rows) | recycle_bin.snapshot_ids(session)


def referenced_ids(session: Session) -> set[str]:
    """Every id whose manifest must not be collected: rows, what live volumes lie over, what is being copied or in
    the recycle bin.
    """
    alive = Volume.deleted_at.is_(None)
    under = session.scalars(sa.select(Volume.snapshot_id).where(alive, Volume.snapshot_id.is_not(None)))
    newest = session.scalars(sa.select(Volume.captured_snapshot_id).where(alive))
    rows = session.scalars(sa.select(Snapshot.snapshot_id).where(Snapshot.state != ERROR))
    copied = session.scalars(sa.select(Snapshot.source_snapshot_id).where(Snapshot.state == PENDING))
    kept = recycle_bin.snapshot_ids(session)
    return {snapshot_id for ids in (rows, under, newest, copied, kept) for snapshot_id in ids if snapshot_id}
