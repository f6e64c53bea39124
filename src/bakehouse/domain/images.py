"""Images: their names and states. With whom they are shared is in image_sharing.py."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Account, Image, Instance, Snapshot, now
from bakehouse.database.session import region_of
from bakehouse.domain import (
    allowed_images,
    block_devices,
    image_lifecycle,
    image_sharing,
    product_codes,
    recycle_bin,
    snapshots,
    tags,
    volumes,
)
from bakehouse.domain.accounts import OWNER_ALIASES, OWNER_WORDS, check_users, owner_aliases
from bakehouse.domain.allowed_images import AllowedImages
from bakehouse.domain.image_states import ImageState, move
from bakehouse.ids import Prefix, is_well_formed, new_id

PENDING, AVAILABLE, FAILED = ImageState.PENDING, ImageState.AVAILABLE, ImageState.FAILED
_NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")
_MAX_DESCRIPTION = 255


# Reading a list takes longer than all else of a row; hardly an image has codes.
_CODES = sa.case((sa.cast(Image.product_codes, sa.String) != "[]", Image.product_codes)).label("product_codes")
_LISTED = (*(column for column in Image.__table__.columns if column.name != _CODES.name), _CODES)
# One image as a listing shows it: the columns of the table, ``owner_alias`` and ``allowed_images``.
ImageRow = sa.Row[Any]


def visible(
    session: Session, account_id: str, image_ids: Sequence[str] = (), *, also_not_allowed: bool = False
) -> list[Image]:
    """The blessed select: own, public and shared images that are registered.

    ``also_not_allowed``: those too that the account's own settings hide from it.
    """
    for image_id in image_ids:
        if not is_well_formed(Prefix.IMAGE, image_id):
            raise errors.image_id_malformed(image_id)
    query = sa.select(Image).where(_is_visible(account_id)).order_by(Image.created_at, Image.image_id)
    found = list(session.scalars(query.where(Image.image_id.in_(image_ids)) if image_ids else query))
    allowed = allowed_images.get(session, account_id)
    if allowed.state == allowed_images.ENABLED and not also_not_allowed:
        aliases = owner_aliases(session)
        found = [one for one in found if not allowed.hides(one, aliases.get(one.account_id))]
    missing = set(image_ids) - {one.image_id for one in found}
    if missing:
        _refuse_missing(session, account_id, min(missing))
    return found


def list_rows(
    session: Session,
    account_id: str,
    image_ids: Sequence[str] = (),
    *,
    owners: Collection[str] = (),
    executable_users: Collection[str] = (),
    include_deprecated: bool = False,
    include_disabled: bool = False,
) -> Sequence[ImageRow]:
    """The same as plain rows, narrowed down as DescribeImages is; a listing of thousands changes none of them.

    Others' deprecated images are shown to who knows their ids.
    """
    alias = sa.case((Account.alias.in_(OWNER_ALIASES), Account.alias)).label("owner_alias")
    allowed = allowed_images.column(session, account_id).label("allowed_images")
    # The table's columns are no ORM statement, which alone is bound to the region.
    query: sa.Select[Any] = sa.select(*_LISTED, alias, allowed).where(
        _is_visible(account_id), Image.region == region_of(session)
    )
    query = query.join(Account, Account.account_id == Image.account_id).order_by(Image.created_at, Image.image_id)
    if image_ids:
        visible(session, account_id, image_ids)
        query = query.where(Image.image_id.in_(image_ids))
    elif not include_deprecated:
        query = query.where(sa.or_(Image.account_id == account_id, ~image_lifecycle.is_deprecated()))
    if not include_disabled:
        query = query.where(Image.state != ImageState.DISABLED)
    if owners:
        check_users(owners, *OWNER_WORDS)
        ids = {account_id if owner == "self" else owner for owner in owners}
        query = query.where(sa.or_(Image.account_id.in_(ids), alias.in_(ids)))
    if executable_users:
        check_users(executable_users, "self", image_sharing.ALL)
        query = query.where(image_sharing.is_executable_by(account_id, executable_users))
    rows = session.execute(query).all()
    settings = allowed_of(account_id, rows)
    return [one for one in rows if not settings.hides(one, one.owner_alias)] if settings.criteria else rows


def allowed_of(account_id: str, rows: Sequence[ImageRow]) -> AllowedImages:
    """What the account has set about allowed images, as it was read with the rows."""
    return allowed_images.of_column(account_id, rows[0].allowed_images if rows else None)


def _is_visible(account_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(Image.deregistered_at.is_(None), image_sharing.is_visible(account_id))


def _refuse_missing(session: Session, account_id: str, image_id: str) -> None:
    gone = session.get(Image, image_id)
    if gone is not None and gone.account_id == account_id:
        raise errors.image_unavailable(image_id)
    raise errors.image_not_found(image_id)


def get_visible(session: Session, account_id: str, image_id: str, *, also_not_allowed: bool = False) -> Image:
    """Return an image the account may see."""
    return visible(session, account_id, [image_id], also_not_allowed=also_not_allowed)[0]


def get_own(session: Session, account_id: str, image_id: str) -> Image:
    """Return an image the account owns; AuthFailure for one it only sees."""
    image = get_visible(session, account_id, image_id)
    if image.account_id != account_id:
        raise errors.not_yours(f"Not authorized for image:{image_id}")
    return image


def get_launchable(session: Session, account_id: str, image_id: str) -> Image:
    """Return an image the account may launch now."""
    image = get_visible(session, account_id, image_id)
    if image.state != AVAILABLE:
        raise errors.image_unavailable(image_id)
    return image


def metadata_defaults(image: Image) -> dict[str, Any]:
    """The metadata options a launch takes from its image: what knows version 2 needs no other."""
    return {"HttpTokens": "required", "HttpPutResponseHopLimit": 2} if image.imds_support == "v2.0" else {}


def is_name(name: str) -> bool:
    """Tell whether an image may be called that."""
    return _NAME.fullmatch(name) is not None


def check_name(session: Session, account_id: str, name: str) -> None:
    """Refuse a malformed name, and one that a registered image of the account has."""
    if not is_name(name):
        raise errors.image_name_malformed()
    query = sa.select(Image.image_id).where(
        Image.account_id == account_id,
        Image.name == name,
        Image.deregistered_at.is_(None),
        Image.state != FAILED,
    )
    if (taken := session.scalars(query).first()) is not None:
        raise errors.image_name_duplicate(name, taken)


def check_description(description: str) -> None:
    """Refuse a description over EC2's limit."""
    if len(description) > _MAX_DESCRIPTION:
        raise errors.invalid_parameter_value(f"The description is limited to {_MAX_DESCRIPTION} characters.")


def create_from_instance(
    session: Session,
    instance: Instance,
    *,
    name: str,
    description: str,
    overrides: Sequence[Mapping[str, Any]],
) -> Image:
    """Write the pending image of an instance and the pending snapshots of its volumes."""
    check_name(session, instance.account_id, name)
    check_description(description)
    if instance.state not in {"running", "stopped"}:
        raise errors.incorrect_instance_state(instance.instance_id, instance.state, "captured")
    if volumes.find_root(instance) is None:
        raise errors.no_root_volume(instance.instance_id, instance.root_device_name)
    volumes.check_settled(instance)
    source = session.get(Image, instance.image_id)
    image = Image(
        image_id=new_id(Prefix.IMAGE),
        account_id=instance.account_id,
        name=name,
        description=description,
        state=PENDING,
        boot_mode=instance.boot_mode,
        root_device_name=instance.root_device_name,
        block_device_mappings=[],
        source_instance_id=instance.instance_id,
        source_image_id=instance.image_id,
        source_image_region=instance.region,
        imds_support=source.imds_support if source else None,
        ena_support=source.ena_support if source else True,
        sriov_net_support=source.sriov_net_support if source else None,
    )
    session.add(image)
    image.block_device_mappings = _captured_mappings(session, instance, image.image_id, overrides)
    under = product_codes.of_snapshots(session, snapshots.snapshot_ids_of(image))
    image.product_codes = product_codes.merge(instance.product_codes, under)
    session.flush()
    return image


def _captured_mappings(
    session: Session, instance: Instance, image_id: str, overrides: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The instance's volumes, changed and added to as the request says, each attached one with a new snapshot."""
    attached = {volume.device_name: volume for volume in instance.volumes if volume.device_name is not None}
    given = {name: block_devices.ebs_of(volume) for name, volume in attached.items()}
    mappings = []
    for name, ebs in block_devices.override_mappings(given, instance.root_device_name, overrides):
        taken = {}
        if (volume := attached.get(name)) is not None:
            snapshot = snapshots.create_for_image(session, instance, volume, image_id)
            taken = {"SnapshotId": snapshot.snapshot_id}
        planned = block_devices.plan_volume(
            session,
            instance.account_id,
            name,
            {**ebs, **taken},
            image_snapshot_id=taken.get("SnapshotId"),
            is_root=name == instance.root_device_name,
        )
        mappings.append(block_devices.image_mapping(planned, ebs))
    return mappings


def register(
    session: Session,
    account_id: str,
    *,
    name: str,
    description: str,
    boot_mode: str,
    root_device_name: str,
    mappings: list[dict[str, Any]],
    imds_support: str | None = None,
    ena_support: bool = True,
    sriov_net_support: str | None = None,
    is_public: bool = False,
) -> Image:
    """Write an available image over completed snapshots; mappings from ``block_devices.registered_mappings``."""
    image = Image(
        image_id=new_id(Prefix.IMAGE),
        account_id=account_id,
        name=name,
        description=description,
        state=AVAILABLE,
        is_public=is_public,
        imds_support=imds_support,
        ena_support=ena_support,
        sriov_net_support=sriov_net_support,
        boot_mode=boot_mode,
        root_device_name=root_device_name,
        block_device_mappings=mappings,
    )
    image.product_codes = product_codes.of_snapshots(session, snapshots.snapshot_ids_of(image))
    session.add(image)
    session.flush()
    return image


def deregister(
    session: Session, image: Image, *, may_delete: Callable[[str], bool] | None = None
) -> list[tuple[str, str]]:
    """Take the image out of use; instances of it stay, and its snapshots unless they are to go with it.

    ``may_delete`` says of each snapshot whether the caller has the right to delete it; without it all stay. A retention
    rule may keep any of them in the recycle bin.
    Returns what became of each snapshot then: its id and EC2's ReturnCode.
    """
    if image.state == PENDING:
        raise errors.image_unavailable(image.image_id)
    image_lifecycle.check_unprotected(image)
    recycle_bin.keep_image(session, image)
    move(image, ImageState.DEREGISTERED)
    image.deregistered_at = now()
    image_sharing.withdraw(image)
    tags.delete_tags_of(session, image.image_id)
    session.flush()
    if may_delete is None:
        return []
    return [
        (one, snapshots.delete_with_image(session, image.account_id, one, is_allowed=may_delete(one)))
        for one in snapshots.snapshot_ids_of(image)
    ]


def complete(session: Session, image_id: str) -> None:
    """All its snapshots are stored."""
    image = session.get_one(Image, image_id)
    if image.state == PENDING:
        move(image, ImageState.AVAILABLE)
        image.block_device_mappings = [_fitting(session, mapping) for mapping in image.block_device_mappings]


def _fitting(session: Session, mapping: dict[str, Any]) -> dict[str, Any]:
    """The mapping with a volume no smaller than its snapshot, should that have grown after the request."""
    ebs = mapping.get("Ebs", {})
    snapshot = session.get(Snapshot, ebs["SnapshotId"]) if "SnapshotId" in ebs else None
    if snapshot is None or ebs.get("VolumeSize", 0) >= snapshot.volume_size_gib:
        return mapping
    return {**mapping, "Ebs": {**ebs, "VolumeSize": snapshot.volume_size_gib}}


def fail(session: Session, image_id: str, code: str, message: str) -> None:
    """It could not be made; the record says why."""
    image = session.get_one(Image, image_id)
    if image.state == PENDING:
        move(image, ImageState.FAILED)
        image.state_reason_code, image.state_reason_message = code, message
