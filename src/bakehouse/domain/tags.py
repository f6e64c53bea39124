"""Tags: their rules, and the one way to write and read them.

Invariant: every tag row passed ``validate_tags`` or was written by the service itself (``aws:`` keys), and no
resource carries more than 50 tags of its user's in one account.
Limits and messages: EC2 User Guide, "Tag your Amazon EC2 resources"; EC2 API Reference, CreateTags.
"""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Tag
from bakehouse.errors import ApiError

# A tag in the API's shape: {"Key": ..., "Value": ...}.
ApiTag = dict[str, str]

MAX_TAGS_PER_RESOURCE = 50
_MAX_KEY_LENGTH = 128
_MAX_VALUE_LENGTH = 256
_RESERVED_PREFIX = "aws:"
_MANY_IDS = 50


def is_reserved(key: str) -> bool:
    """Tell whether only the service itself may write a tag of this key."""
    return key.lower().startswith(_RESERVED_PREFIX)


def validate_tags(tags: Iterable[Mapping[str, str]]) -> list[ApiTag]:
    """Check tags a user wants to write; return them complete (a missing Value is an empty one)."""
    checked: dict[str, str] = {}
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        check_key(key)
        if len(value) > _MAX_VALUE_LENGTH:
            raise _invalid(f"Tag value exceeds the maximum length of {_MAX_VALUE_LENGTH} characters")
        if key in checked:
            raise _invalid(f"Duplicate tag key '{key}' specified.")
        checked[key] = value
    if len(checked) > MAX_TAGS_PER_RESOURCE:
        raise _too_many()
    return [{"Key": key, "Value": value} for key, value in checked.items()]


def check_key(key: str) -> None:
    """Refuse a key that no user's tag can have."""
    if not key:
        raise _invalid("Tag key cannot be empty")
    if len(key) > _MAX_KEY_LENGTH:
        raise _invalid(f"Tag key exceeds the maximum length of {_MAX_KEY_LENGTH} characters")
    if is_reserved(key):
        raise _invalid(f"Tag keys starting with '{_RESERVED_PREFIX}' are reserved for internal use")


def tags_for(
    specifications: Sequence[Mapping[str, object]] | None,
    resource_type: str,
    *,
    allowed: Iterable[str] | None = None,
) -> list[ApiTag]:
    """Return the checked tags which TagSpecifications give to resources of ``resource_type``.

    ``allowed`` names every resource type the operation creates (by default only ``resource_type``); a
    specification of another type is refused, as is a second one of the same type.
    """
    taggable = {resource_type, *(allowed or ())}
    found: dict[str, list[ApiTag]] = {}
    for specification in specifications or ():
        kind = specification.get("ResourceType")
        if not isinstance(kind, str) or not kind:
            raise _invalid("Tag specification resource type must have a value")
        if kind not in taggable:
            raise _invalid(f"'{kind}' is not a valid taggable resource type for this operation.")
        if kind in found:
            raise _invalid(f"Resource type '{kind}' has more than one tag specification.")
        tags = specification.get("Tags")
        if not isinstance(tags, list | tuple) or not tags:
            raise _invalid("Tag specification must have at least one tag")
        found[kind] = validate_tags(tags)
    return found.get(resource_type, [])


def put_tags(
    session: Session,
    account_id: str,
    resource_id: str,
    resource_type: str,
    tags: Iterable[Mapping[str, str]],
) -> None:
    """Write tags over those of the same key; TagLimitExceeded beyond 50. Call ``validate_tags`` before.

    Keys are not checked here, so that the service can write its own ``aws:`` tags, which do not count.
    """
    new = {tag["Key"]: tag.get("Value", "") for tag in tags}
    if not new:
        return
    rows = {row.key: row for row in session.scalars(_tags_of_one(account_id, resource_id))}
    counted = {key for key in rows.keys() | new.keys() if not is_reserved(key)}
    if len(counted) > MAX_TAGS_PER_RESOURCE:
        raise _too_many()
    for key, value in new.items():
        if key in rows:
            rows[key].value = value
        else:
            session.add(
                Tag(
                    account_id=account_id,
                    resource_id=resource_id,
                    resource_type=resource_type,
                    key=key,
                    value=value,
                )
            )
    session.flush()


def tags_of(session: Session, account_id: str, resource_ids: Iterable[str]) -> dict[str, list[ApiTag]]:
    """Return the account's tags of each resource, sorted by key; an untagged resource has an empty list."""
    found: dict[str, list[ApiTag]] = {resource_id: [] for resource_id in resource_ids}
    if not found:
        return found
    query = sa.select(Tag.resource_id, Tag.key, Tag.value).where(Tag.account_id == account_id)
    if len(found) > _MANY_IDS:
        # Ids of one kind stand together in the table's key; a statement that names them all is slow to make.
        query = query.where(Tag.resource_id.between(min(found), max(found)))
    else:
        query = query.where(Tag.resource_id.in_(found))
    for resource_id, key, value in session.execute(query.order_by(Tag.resource_id, Tag.key)):
        if resource_id in found:
            found[resource_id].append({"Key": key, "Value": value})
    return found


def user_tags_of(session: Session, account_id: str, resource_ids: Iterable[str]) -> dict[str, list[ApiTag]]:
    """The same without the service's own: what a copy of the resource may carry."""
    found = tags_of(session, account_id, resource_ids)
    return {one: [tag for tag in tags if not is_reserved(tag["Key"])] for one, tags in found.items()}


def list_tags(session: Session, account_id: str) -> list[Tag]:
    """Return every tag of the account, by resource and key."""
    query = sa.select(Tag).where(Tag.account_id == account_id).order_by(Tag.resource_id, Tag.key)
    return list(session.scalars(query))


def remove_tags(session: Session, account_id: str, resource_id: str, tags: Sequence[Mapping[str, str]] | None) -> None:
    """Remove tags as DeleteTags does: a Value must match when given; None removes all of the user's tags.

    Keys that are not there are ignored.
    """
    rows = {row.key: row for row in session.scalars(_tags_of_one(account_id, resource_id))}
    if tags is None:
        doomed = [row for row in rows.values() if not is_reserved(row.key)]
    else:
        doomed = []
        for tag in tags:
            check_key(tag.get("Key", ""))
            row = rows.get(tag["Key"])
            if row is not None and tag.get("Value", row.value) == row.value:
                doomed.append(row)
    for row in doomed:
        session.delete(row)
    session.flush()


def delete_tags_of(session: Session, resource_id: str) -> None:
    """Remove all accounts' tags of a resource that is gone."""
    session.execute(sa.delete(Tag).where(Tag.resource_id == resource_id))


def _tags_of_one(account_id: str, resource_id: str) -> sa.Select[Tag]:
    return sa.select(Tag).where(Tag.account_id == account_id, Tag.resource_id == resource_id)


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValue", message)


def _too_many() -> ApiError:
    return ApiError(
        "TagLimitExceeded",
        f"The maximum number of tags for a resource has been reached: {MAX_TAGS_PER_RESOURCE}",
    )
