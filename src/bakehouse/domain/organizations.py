"""Organizations: where accounts are, so that what is shared with an organization's ARN reaches its members.

There is no Organizations service: an administrator says where an account is. Accounts of one organizational unit
are in those above it too, so all of them are named.
Invariant: an account is in one organization at most, and every unit it is in belongs to that one.
Forms: AWS Organizations API Reference, "Organization" and "OrganizationalUnit".
"""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import OrganizationMembership

_PREFIX = r"arn:aws[a-z-]*:organizations::(?P<owner>[0-9]{12})"
_ORGANIZATION = re.compile(_PREFIX + r":organization/(?P<id>o-[a-z0-9]{10,32})")
_UNIT = re.compile(_PREFIX + r":ou/(?P<id>o-[a-z0-9]{10,32})/ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}")


def is_organization_arn(text: str) -> bool:
    """Tell whether it has the form of an organization's ARN."""
    return _ORGANIZATION.fullmatch(text) is not None


def is_unit_arn(text: str) -> bool:
    """Tell whether it has the form of an organizational unit's ARN."""
    return _UNIT.fullmatch(text) is not None


def place(session: Session, account_id: str, organization: str | None, units: Sequence[str]) -> None:
    """Put the account into an organization and units, out of where it was; ValueError for what cannot be.

    Without an organization it is taken out of the one it is in.
    """
    arns = _checked(organization, units)
    session.execute(sa.delete(OrganizationMembership).where(OrganizationMembership.account_id == account_id))
    session.add_all(OrganizationMembership(account_id=account_id, arn=arn) for arn in arns)
    session.flush()


def places_of(session: Session, account_id: str) -> list[str]:
    """The ARNs of where the account is."""
    query = sa.select(OrganizationMembership.arn).where(OrganizationMembership.account_id == account_id)
    return list(session.scalars(query.order_by(OrganizationMembership.arn)))


def _checked(organization: str | None, units: Sequence[str]) -> list[str]:
    if organization is None:
        if units:
            raise ValueError("an organizational unit is one of an organization's: name that too")
        return []
    found = _ORGANIZATION.fullmatch(organization)
    if found is None:
        raise ValueError(f"{organization!r} is not the ARN of an organization")
    for unit in units:
        match = _UNIT.fullmatch(unit)
        if match is None:
            raise ValueError(f"{unit!r} is not the ARN of an organizational unit")
        if match.groupdict() != found.groupdict():
            raise ValueError(f"{unit} is not a unit of {organization}")
    return sorted({organization, *units})
