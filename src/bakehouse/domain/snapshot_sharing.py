"""With whom snapshots are shared: who may read them besides their owner.

Invariant: an account sees, and makes volumes and images of, its own snapshots, those whose permissions name it, and
public ones unless their owner blocks all sharing. Sharing an image shares no snapshot.
Limits: EC2 API Reference, ModifySnapshotAttribute.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import CreateVolumePermission, Snapshot
from bakehouse.domain import block_public_access
from bakehouse.domain.accounts import is_account_id
from bakehouse.errors import ApiError
from bakehouse.errors import sharing as refusals

ALL = "all"
MAX_GRANTEES = 1000
_MAX_CHANGES = 500


def is_visible(account_id: str) -> sa.ColumnElement[bool]:
    """Whether the account may read the snapshot."""
    return sa.or_(Snapshot.account_id == account_id, _is_public(), _is_granted([account_id]))


def is_restorable_by(account_id: str, users: Collection[str]) -> sa.ColumnElement[bool]:
    """``all``: public; ``self``: the caller's or shared with it; another account: shared with it, by the caller."""
    others = [user for user in users if user not in {ALL, "self"}]
    named = [sa.and_(Snapshot.account_id == account_id, _is_granted(others))]
    if ALL in users:
        named.append(_is_public())
    if {"self", account_id} & set(users):
        named.append(sa.or_(Snapshot.account_id == account_id, _is_granted([account_id])))
    return sa.or_(*named)


def _is_public() -> sa.ColumnElement[bool]:
    return sa.and_(Snapshot.is_public, sa.not_(block_public_access.is_snapshot_hidden()))


def _is_granted(account_ids: Sequence[str]) -> sa.ColumnElement[bool]:
    granted = sa.select(CreateVolumePermission.snapshot_id).where(CreateVolumePermission.user_id.in_(account_ids))
    return Snapshot.snapshot_id.in_(granted)


def change_permissions(
    session: Session, snapshot: Snapshot, *, add: Sequence[Mapping[str, Any]], remove: Sequence[Mapping[str, Any]]
) -> None:
    """Share with accounts or all, or take back; one of the two at a time."""
    if add and remove:
        raise errors.invalid_parameter_combination("Permissions cannot be added and removed in one request.")
    if len(add) + len(remove) > _MAX_CHANGES:
        raise errors.invalid_parameter_value(f"A request can change at most {_MAX_CHANGES} permissions.")
    gone, wanted = _grantees(remove), _grantees(add)
    if ALL in gone:
        snapshot.is_public = False
    present = [one for one in snapshot.create_volume_permissions if one.user_id not in gone]
    if ALL in wanted and not snapshot.is_public:
        _check_may_be_public(session, snapshot)
        snapshot.is_public = True
    new = wanted - {ALL} - {one.user_id for one in present}
    if len(new) + len(present) > MAX_GRANTEES:
        raise refusals.too_many_grantees(snapshot.snapshot_id, MAX_GRANTEES)
    present.extend(CreateVolumePermission(user_id=user_id) for user_id in sorted(new))
    snapshot.create_volume_permissions[:] = present


def _grantees(items: Iterable[Mapping[str, Any]]) -> set[str]:
    found = set()
    for item in items:
        if "Group" in item:
            if item["Group"] != ALL:
                raise refusals.snapshot_group_invalid(item["Group"])
            found.add(ALL)
        if "UserId" in item:
            if not is_account_id(item["UserId"]):
                raise refusals.user_malformed(item["UserId"])
            found.add(item["UserId"])
    return found


def _check_may_be_public(session: Session, snapshot: Snapshot) -> None:
    if block_public_access.blocks_snapshots(session, snapshot.account_id):
        raise refusals.public_snapshot_blocked()
    if snapshot.product_codes:
        raise refusals.public_snapshot_with_product_codes(snapshot.snapshot_id)


def may_be_public(session: Session, snapshot: Snapshot) -> bool:
    """Whether its owner could make it public now."""
    try:
        _check_may_be_public(session, snapshot)
    except ApiError:
        return False
    return True


def permissions(snapshot: Snapshot) -> list[dict[str, str]]:
    """The permissions in the API's shape."""
    public = [{"Group": ALL}] if snapshot.is_public else []
    return public + [{"UserId": one.user_id} for one in snapshot.create_volume_permissions]


def withdraw(snapshot: Snapshot) -> None:
    """Make the snapshot private: it is its owner's alone."""
    snapshot.create_volume_permissions.clear()
    snapshot.is_public = False
