"""With whom images are shared, and who may therefore see and launch them.

Invariant: an image of another account is seen exactly when it is public, or its launch permissions name the account,
its organization or one of the organizational units it is in.
Limits: EC2 User Guide, "Amazon EC2 service quotas" (AMI sharing).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, LaunchPermission, OrganizationMembership
from bakehouse.domain import block_public_access, image_lifecycle, product_codes
from bakehouse.domain.accounts import is_account_id
from bakehouse.domain.organizations import is_organization_arn, is_unit_arn
from bakehouse.errors import ApiError
from bakehouse.errors import sharing as refusals

ALL = "all"
MAX_GRANTEES = 1000
# A launch permission's members, what their values must be, and EC2's word for them.
_GRANTEES: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "UserId": (is_account_id, "userId"),
    "OrganizationArn": (is_organization_arn, "OrganizationArn"),
    "OrganizationalUnitArn": (is_unit_arn, "OrganizationalUnitArn"),
}


def is_visible(account_id: str) -> sa.ColumnElement[bool]:
    """Whether the account may see the image: its own, a public one, or one that is shared with it."""
    return sa.or_(Image.account_id == account_id, Image.is_public, is_shared_with(account_id))


def is_shared_with(account_id: str) -> sa.ColumnElement[bool]:
    """Whether the launch permissions name the account, or where it is."""
    places = sa.select(OrganizationMembership.arn).where(OrganizationMembership.account_id == account_id)
    grantee = LaunchPermission.grantee
    return _is_granted(sa.or_(grantee == account_id, grantee.in_(places)))


def is_executable_by(account_id: str, users: Collection[str]) -> sa.ColumnElement[bool]:
    """``all``: public; ``self``: shared with the caller; another grantee: shared with it, by the caller."""
    others = [user for user in users if user not in {ALL, "self"}]
    named: list[sa.ColumnElement[bool]] = [
        sa.and_(Image.account_id == account_id, _is_granted(LaunchPermission.grantee.in_(others)))
    ]
    if ALL in users:
        named.append(Image.is_public.is_(True))
    if {"self", account_id} & set(users):
        named.append(is_shared_with(account_id))
    return sa.or_(*named)


def _is_granted(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return Image.image_id.in_(sa.select(LaunchPermission.image_id).where(condition))


def change_permissions(
    session: Session, image: Image, *, add: Sequence[Mapping[str, Any]], remove: Sequence[Mapping[str, Any]]
) -> None:
    """Share with accounts, organizations, organizational units or all, and take back; removals come first."""
    gone, wanted = _grantees(remove), _grantees(add)
    if ALL in gone:
        image.is_public = False
    image.launch_permissions[:] = [one for one in image.launch_permissions if one.grantee not in gone]
    if wanted:
        image_lifecycle.check_shareable(image)
    if ALL in wanted and not image.is_public:
        _check_may_be_public(session, image)
        image.is_public = True
    new = wanted - {ALL} - {one.grantee for one in image.launch_permissions}
    if len(new) + len(image.launch_permissions) > MAX_GRANTEES:
        raise refusals.too_many_grantees(image.image_id, MAX_GRANTEES)
    image.launch_permissions.extend(LaunchPermission(grantee=grantee) for grantee in sorted(new))


def _grantees(items: Iterable[Mapping[str, Any]]) -> set[str]:
    """What launch permissions in the API's shape name; InvalidAMIAttributeItemValue for what cannot be one."""
    found = set()
    for item in items:
        if "Group" in item:
            if item["Group"] != ALL:
                raise refusals.item_invalid(item["Group"], "UserGroup")
            found.add(ALL)
        for member, (is_right, word) in _GRANTEES.items():
            if member in item:
                if not is_right(item[member]):
                    raise refusals.item_invalid(item[member], word)
                found.add(item[member])
    return found


def _check_may_be_public(session: Session, image: Image) -> None:
    if block_public_access.blocks_images(session, image.account_id):
        raise refusals.public_image_blocked()
    if product_codes.of_image(session, image):
        raise refusals.public_image_with_product_codes(image.image_id)


def may_be_public(session: Session, image: Image) -> bool:
    """Whether its owner could make it public now."""
    try:
        _check_may_be_public(session, image)
    except ApiError:
        return False
    return True


def permissions(image: Image) -> list[dict[str, str]]:
    """The launch permissions in the API's shape."""
    public = [{"Group": ALL}] if image.is_public else []
    grantees = sorted(one.grantee for one in image.launch_permissions)
    return public + [{_member(grantee): grantee} for grantee in grantees]


def _member(grantee: str) -> str:
    return next(member for member, (is_right, _) in _GRANTEES.items() if is_right(grantee))


def withdraw(image: Image) -> None:
    """Make the image private: it is its owner's alone."""
    image.launch_permissions.clear()
    image.is_public = False


def leave(image: Image, account_id: str) -> None:
    """Take an account out of the launch permissions at its own wish.

    What is shared with everybody or with an organization is not one account's to leave (EC2 User Guide, "Cancel
    having an AMI shared with your AWS account").
    """
    if account_id not in {one.grantee for one in image.launch_permissions}:
        raise refusals.not_shared_with(image.image_id, account_id)
    image.launch_permissions[:] = [one for one in image.launch_permissions if one.grantee != account_id]
