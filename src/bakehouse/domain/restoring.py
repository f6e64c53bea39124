"""Out of the recycle bin: an image or a snapshot as it was, with its tags and with whom it was shared.

Invariant: nothing becomes public that its owner could not make public now.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import CreateVolumePermission, Image, LaunchPermission, Snapshot
from bakehouse.domain import image_sharing, images, product_codes, recycle_bin, snapshot_sharing, snapshots, tags
from bakehouse.domain.image_states import ImageState, move
from bakehouse.domain.retention_rules import IMAGE, SNAPSHOT
from bakehouse.ids import Prefix, is_well_formed


def restore_image(session: Session, account_id: str, image_id: str) -> Image:
    """Register an image again; refused while its name is taken or one of its snapshots is not there."""
    check_image_id(image_id)
    entry = recycle_bin.find(session, account_id, IMAGE, image_id)
    if entry is None:
        raise errors.image_not_found(image_id)
    image = session.get_one(Image, image_id)
    images.check_name(session, account_id, image.name)
    needed = set(snapshots.snapshot_ids_of(image))
    there = set(session.scalars(sa.select(Snapshot.snapshot_id).where(Snapshot.snapshot_id.in_(needed))))
    if missing := needed - there:
        raise errors.snapshot_not_found(min(missing))
    contents = entry.contents
    move(image, ImageState(contents["state"]))
    image.product_codes = product_codes.of_image(session, image)
    image.is_public = contents["is_public"] and image_sharing.may_be_public(session, image)
    image.deregistered_at = None
    for permission in contents["permissions"]:
        columns = recycle_bin.columns_for(LaunchPermission, permission)
        image.launch_permissions.append(LaunchPermission(**columns))
    session.delete(entry)
    tags.put_tags(session, account_id, image_id, "image", contents["tags"])
    return image


def restore_snapshot(session: Session, account_id: str, snapshot_id: str) -> Snapshot:
    """Write a snapshot's row again; its blocks have been there all the time."""
    check_snapshot_id(snapshot_id)
    entry = recycle_bin.find(session, account_id, SNAPSHOT, snapshot_id)
    if entry is None:
        raise errors.snapshot_not_found(snapshot_id)
    snapshot = Snapshot(**recycle_bin.columns_for(Snapshot, entry.contents["columns"]))
    snapshot.is_public = snapshot.is_public and snapshot_sharing.may_be_public(session, snapshot)
    for permission in entry.contents["permissions"]:
        columns = recycle_bin.columns_for(CreateVolumePermission, permission)
        snapshot.create_volume_permissions.append(CreateVolumePermission(**columns))
    session.add(snapshot)
    session.delete(entry)
    session.flush()
    tags.put_tags(session, account_id, snapshot_id, "snapshot", entry.contents["tags"])
    return snapshot


def check_image_id(image_id: str) -> None:
    """Refuse what has not the form of an image's id."""
    if not is_well_formed(Prefix.IMAGE, image_id):
        raise errors.image_id_malformed(image_id)


def check_snapshot_id(snapshot_id: str) -> None:
    """Refuse what has not the form of a snapshot's id."""
    if not is_well_formed(Prefix.SNAPSHOT, snapshot_id):
        raise errors.snapshot_id_malformed(snapshot_id)
