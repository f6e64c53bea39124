"""Tags of users, roles, instance profiles and managed policies: at most 50, by EC2's rules for keys and values."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import IdentityTag
from bakehouse.domain import tags as rules
from bakehouse.domain.tags import ApiTag
from bakehouse.errors import ApiError, iam


def of(session: Session, owner_id: str) -> list[ApiTag]:
    """The tags of one, by key."""
    return of_all(session, [owner_id])[owner_id]


def of_all(session: Session, owner_ids: Sequence[str]) -> dict[str, list[ApiTag]]:
    """The tags of each, by key."""
    found: dict[str, list[ApiTag]] = {owner_id: [] for owner_id in owner_ids}
    query = sa.select(IdentityTag).where(IdentityTag.owner_id.in_(owner_ids)).order_by(IdentityTag.key)
    for row in session.scalars(query):
        found[row.owner_id].append({"Key": row.key, "Value": row.value})
    return found


def put(session: Session, owner_id: str, tags: Iterable[ApiTag]) -> None:
    """Write tags over those of the same key."""
    try:
        new = rules.validate_tags(tags)
    except ApiError as error:
        raise iam.invalid_input(error.message) from None
    rows = {row.key: row for row in session.scalars(sa.select(IdentityTag).where(IdentityTag.owner_id == owner_id))}
    if len({*rows, *(tag["Key"] for tag in new)}) > rules.MAX_TAGS_PER_RESOURCE:
        raise iam.limit_exceeded(f"The number of tags has reached the maximum limit of {rules.MAX_TAGS_PER_RESOURCE}.")
    for tag in new:
        if tag["Key"] in rows:
            rows[tag["Key"]].value = tag["Value"]
        else:
            session.add(IdentityTag(owner_id=owner_id, key=tag["Key"], value=tag["Value"]))
    session.flush()


def remove(session: Session, owner_id: str, keys: Sequence[str]) -> None:
    """Remove tags; keys that are not there are ignored."""
    session.execute(sa.delete(IdentityTag).where(IdentityTag.owner_id == owner_id, IdentityTag.key.in_(keys)))


def delete_all(session: Session, owner_id: str) -> None:
    """Remove all tags of what is going."""
    session.execute(sa.delete(IdentityTag).where(IdentityTag.owner_id == owner_id))
