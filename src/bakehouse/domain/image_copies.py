"""Copies of images and snapshots, in their own region or in another one.

Invariant: a copy's rows are pending until its manifests are written (workflows/copies.py), and what they are copied
from is kept in the store until then. Blocks are shared by all regions, so a copy moves none.
"""

import copy
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, Snapshot
from bakehouse.database.session import everywhere, in_region
from bakehouse.domain import accounts, images, product_codes, snapshots
from bakehouse.errors import ApiError
from bakehouse.errors import images as image_errors
from bakehouse.ids import Prefix, new_id


def create_snapshot_copy(
    session: Session,
    account_id: str,
    source: Snapshot,
    description: str,
    *,
    more_codes: Sequence[product_codes.ProductCode] = (),
) -> Snapshot:
    """Write the pending copy of a completed snapshot, into the transaction's region.

    ``more_codes``: those of the image it is copied with; under another account's image a snapshot may lack them.
    """
    snapshot = Snapshot(
        snapshot_id=new_id(Prefix.SNAPSHOT),
        account_id=account_id,
        source_snapshot_id=source.snapshot_id,
        volume_size_gib=source.volume_size_gib,
        description=description,
        state=snapshots.PENDING,
        product_codes=product_codes.merge(source.product_codes, more_codes),
    )
    session.add(snapshot)
    session.flush()
    return snapshot


def get_copyable(session: Session, account_id: str, image_id: str) -> Image:
    """An available image the account may see, and whose snapshots it may read: its own, shared, or ``amazon``'s."""
    image = images.get_launchable(session, account_id, image_id)
    amazon = accounts.find_account(session, accounts.AMAZON_ALIAS)
    if amazon is None or image.account_id != amazon.account_id:
        try:
            snapshots.visible(session, account_id, snapshots.snapshot_ids_of(image))
        except ApiError:
            raise image_errors.storage_not_readable() from None
    return image


def create_image_copy(session: Session, account_id: str, source: Image, *, name: str, description: str) -> Image:
    """Write the pending copy of an image and of its snapshots, into the transaction's region.

    With whom the source is shared is not copied, nor are its tags.
    """
    image = Image(
        image_id=new_id(Prefix.IMAGE),
        account_id=account_id,
        name=name,
        description=description,
        state=images.PENDING,
        architecture=source.architecture,
        boot_mode=source.boot_mode,
        root_device_name=source.root_device_name,
        imds_support=source.imds_support,
        ena_support=source.ena_support,
        sriov_net_support=source.sriov_net_support,
        product_codes=product_codes.of_image(session, source),
        block_device_mappings=[],
    )
    session.add(image)
    session.flush()
    image.block_device_mappings = _copied_mappings(session, account_id, source, image.image_id)
    session.flush()
    return image


def _copied_mappings(session: Session, account_id: str, source: Image, image_id: str) -> list[dict[str, object]]:
    mappings = copy.deepcopy(source.block_device_mappings)
    for mapping in mappings:
        snapshot_id = mapping.get("Ebs", {}).get("SnapshotId")
        if snapshot_id is not None:
            note = f"Copied for DestinationAmi {image_id} from SourceAmi {source.image_id}"
            snapshot = get_anywhere(session, snapshot_id)
            copied = create_snapshot_copy(
                session,
                account_id,
                snapshot,
                f"{note} for SourceSnapshot {snapshot_id}",
                more_codes=source.product_codes,
            )
            mapping["Ebs"]["SnapshotId"] = copied.snapshot_id
    return mappings


def get_anywhere(session: Session, snapshot_id: str) -> Snapshot:
    """The snapshot of an image that is there, whatever region it is in."""
    return session.scalars(everywhere(sa.select(Snapshot).where(Snapshot.snapshot_id == snapshot_id))).one()


def pending_copies(session: Session, subject_id: str) -> dict[str, str]:
    """What is still to be filled of an image or a snapshot: its pending snapshots, each with its source."""
    image = session.get(Image, subject_id)
    wanted = [subject_id] if image is None else snapshots.snapshot_ids_of(image)
    query = sa.select(Snapshot).where(Snapshot.snapshot_id.in_(wanted), Snapshot.state == snapshots.PENDING)
    return {one.snapshot_id: one.source_snapshot_id for one in session.scalars(query) if one.source_snapshot_id}


def publish_everywhere(session: Session, regions: Sequence[str]) -> list[Image]:
    """Write pending copies of ``amazon``'s images for the regions without an image of that name."""
    owner = accounts.ensure_amazon_account(session, regions=regions).account_id
    query = sa.select(Image).where(
        Image.account_id == owner, Image.deregistered_at.is_(None), Image.state != images.FAILED
    )
    found = list(session.scalars(query.order_by(Image.created_at, Image.image_id)))
    there = {(one.name, one.region) for one in found}
    made = []
    for source in found:
        for region in regions:
            if source.state == images.AVAILABLE and (source.name, region) not in there:
                there.add((source.name, region))
                made.append(_publish(session, source, region))
    return made


def _publish(session: Session, source: Image, region: str) -> Image:
    with in_region(session, region):
        image = create_image_copy(session, source.account_id, source, name=source.name, description=source.description)
    # The same image, as old as it is in its first region.
    image.is_public, image.created_at = source.is_public, source.created_at
    return image
