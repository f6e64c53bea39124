"""Recycle Bin's retention rules: what is kept when it is deleted, and for how long.

A rule with resource tags is for what has one of them; one without is for its whole region, but for what has one of the
excluded tags. Where several match, the longest holds. A locked rule changes in no way until its unlock delay, counted
from the request to unlock it, is over. Source: Amazon EBS User Guide, "Recycle Bin".
"""

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import RetentionRule, now
from bakehouse.errors import recycle_bin as bin_errors

IMAGE, SNAPSHOT = "EC2_IMAGE", "EBS_SNAPSHOT"

_MAX_DAYS = 365
_MAX_RULES = 250
_MAX_TAGS = 50
_IDENTIFIER_LENGTH = 11
_LETTERS = string.ascii_letters + string.digits

Tags = Sequence[Mapping[str, str]]


class LockState(StrEnum):
    """The model's words."""

    LOCKED = "locked"
    PENDING_UNLOCK = "pending_unlock"
    UNLOCKED = "unlocked"


@dataclass(frozen=True, kw_only=True)
class NewRule:
    """What CreateRule is asked for."""

    resource_type: str
    retention_days: int
    description: str = ""
    resource_tags: Tags = ()
    exclude_resource_tags: Tags = ()
    tags: Tags = ()
    unlock_delay_days: int | None = None


def visible(session: Session, account_id: str) -> list[RetentionRule]:
    """The blessed select: the account's rules, oldest first."""
    query = sa.select(RetentionRule).where(RetentionRule.account_id == account_id)
    return list(session.scalars(query.order_by(RetentionRule.created_at, RetentionRule.identifier)))


def get(session: Session, account_id: str, identifier: str) -> RetentionRule:
    """Return one of the account's rules; ResourceNotFoundException."""
    query = sa.select(RetentionRule).where(
        RetentionRule.account_id == account_id, RetentionRule.identifier == identifier
    )
    found = session.scalars(query).first()
    if found is None:
        raise bin_errors.rule_not_found(identifier)
    return found


def create(session: Session, account_id: str, new: NewRule) -> RetentionRule:
    """Write a rule; it holds for what is deleted from now on."""
    if new.resource_type not in (IMAGE, SNAPSHOT):
        raise bin_errors.validation(f"Rules for {new.resource_type} are not supported by this service.")
    _check_days(new.retention_days)
    _check_tags(new.resource_tags, new.exclude_resource_tags)
    if new.unlock_delay_days is not None:
        _check_lockable(new.resource_tags)
    if len(visible(session, account_id)) >= _MAX_RULES:
        raise bin_errors.quota_exceeded(f"The account has reached its limit of {_MAX_RULES} rules.")
    rule = RetentionRule(
        identifier="".join(secrets.choice(_LETTERS) for _ in range(_IDENTIFIER_LENGTH)),
        account_id=account_id,
        resource_type=new.resource_type,
        description=new.description,
        retention_days=new.retention_days,
        resource_tags=[dict(tag) for tag in new.resource_tags],
        exclude_resource_tags=[dict(tag) for tag in new.exclude_resource_tags],
        tags={},
        unlock_delay_days=new.unlock_delay_days,
    )
    put_tags(rule, new.tags)
    session.add(rule)
    session.flush()
    return rule


def update(
    rule: RetentionRule,
    *,
    retention_days: int | None,
    description: str | None,
    resource_tags: Tags | None,
    exclude_resource_tags: Tags | None,
) -> None:
    """Change what is given. A rule for tags cannot become one for a region, nor the other way round."""
    _check_unlocked(rule)
    if retention_days is not None:
        _check_days(retention_days)
        rule.retention_days = retention_days
    if description is not None:
        rule.description = description
    if resource_tags is not None:
        if bool(resource_tags) != bool(rule.resource_tags):
            raise bin_errors.validation("A tag-level rule can't become a Region-level rule, nor the other way round.")
        rule.resource_tags = [dict(tag) for tag in resource_tags]
    if exclude_resource_tags is not None:
        rule.exclude_resource_tags = [dict(tag) for tag in exclude_resource_tags]
    _check_tags(rule.resource_tags, rule.exclude_resource_tags)


def delete(session: Session, rule: RetentionRule) -> None:
    """Delete a rule; what it has kept stays in the bin for its time."""
    _check_unlocked(rule)
    session.delete(rule)


def lock(rule: RetentionRule, unlock_delay_days: int) -> None:
    """Lock a rule, or lock it again before it is unlocked."""
    _check_lockable(rule.resource_tags)
    if lock_state(rule) == LockState.LOCKED:
        raise bin_errors.rule_state("The rule is locked already.")
    rule.unlock_delay_days, rule.unlocks_at = unlock_delay_days, None


def unlock(rule: RetentionRule) -> None:
    """Have a rule unlocked after its unlock delay."""
    if lock_state(rule) != LockState.LOCKED or rule.unlock_delay_days is None:
        raise bin_errors.rule_state("The rule is not locked.")
    rule.unlocks_at = now() + timedelta(days=rule.unlock_delay_days)


def lock_state(rule: RetentionRule) -> LockState:
    """The state at this moment."""
    if rule.unlock_delay_days is None:
        return LockState.UNLOCKED
    if rule.unlocks_at is None:
        return LockState.LOCKED
    return LockState.PENDING_UNLOCK if rule.unlocks_at > now() else LockState.UNLOCKED


def put_tags(rule: RetentionRule, tags: Tags) -> None:
    """Write tags over those of the same key."""
    if any(tag["Key"].lower().startswith("aws:") for tag in tags):
        raise bin_errors.validation("Tag keys starting with 'aws:' are reserved.")
    merged = {**rule.tags, **{tag["Key"]: tag["Value"] for tag in tags}}
    if len(merged) > _MAX_TAGS:
        raise bin_errors.quota_exceeded(f"A rule can have at most {_MAX_TAGS} tags.")
    rule.tags = merged


def find_days(session: Session, account_id: str, resource_type: str, tags: Tags) -> int | None:
    """For how many days a resource with these tags is kept if it is deleted now; None when no rule keeps it."""
    days = [
        rule.retention_days
        for rule in visible(session, account_id)
        if rule.resource_type == resource_type and _keeps(rule, tags)
    ]
    return max(days, default=None)


def has_all(tags: Sequence[Mapping[str, Any]], wanted: Tags) -> bool:
    """Whether a rule's tags have all the wanted ones, as ListRules filters."""
    return all(any(_is_same(one, each) for one in tags) for each in wanted)


def _is_same(one: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    is_key = one["ResourceTagKey"] == wanted["ResourceTagKey"]
    return is_key and wanted.get("ResourceTagValue") in (None, one.get("ResourceTagValue"))


def _keeps(rule: RetentionRule, tags: Tags) -> bool:
    if rule.resource_tags:
        return _has_any(tags, rule.resource_tags)
    return not _has_any(tags, rule.exclude_resource_tags)


def _has_any(tags: Tags, wanted: Sequence[Mapping[str, Any]]) -> bool:
    """A wanted tag without a value is there with any."""
    present = {tag["Key"]: tag["Value"] for tag in tags}
    return any(
        each["ResourceTagKey"] in present and each.get("ResourceTagValue") in (None, present[each["ResourceTagKey"]])
        for each in wanted
    )


def _check_days(days: int) -> None:
    if not 1 <= days <= _MAX_DAYS:
        raise bin_errors.validation(f"The retention period must be between 1 and {_MAX_DAYS} days.")


def _check_tags(resource_tags: Sequence[Mapping[str, Any]], excluded: Sequence[Mapping[str, Any]]) -> None:
    if resource_tags and excluded:
        raise bin_errors.validation("Exclusion tags can be given for Region-level rules only.")
    for tags in (resource_tags, excluded):
        pairs = [(tag["ResourceTagKey"], tag.get("ResourceTagValue")) for tag in tags]
        if len(set(pairs)) < len(pairs):
            raise bin_errors.validation("A resource tag is given twice.")


def _check_lockable(resource_tags: Sequence[Mapping[str, Any]]) -> None:
    if resource_tags:
        raise bin_errors.validation("Only Region-level rules can be locked.")


def _check_unlocked(rule: RetentionRule) -> None:
    if lock_state(rule) != LockState.UNLOCKED:
        raise bin_errors.rule_state("The rule is locked: it can't be changed or deleted before it is unlocked.")
