"""Security groups: who is in which, and their life.

Invariant: every VPC has a group named ``default``, which nobody deletes; a group in use
stays.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from bakehouse import errors
from bakehouse.database.models import InterfaceGroup, SecurityGroup, SecurityGroupRule
from bakehouse.domain import tags
from bakehouse.ids import Prefix, is_well_formed, new_id

DEFAULT_GROUP_NAME = "default"
ALL_PROTOCOLS = "-1"
_MAX_TEXT = 255
_MAX_RULES = 200
# EC2's characters for names and descriptions of groups in a VPC.
_TEXT = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+")


def create_default_group(session: Session, account_id: str, vpc_id: str) -> SecurityGroup:
    """Make a new VPC's default group: members reach each other, and everything outside."""
    group = _new_group(account_id, vpc_id, DEFAULT_GROUP_NAME, "default VPC security group")
    session.add(group)
    session.flush()
    group.rules.append(_rule(group, is_egress=False, referenced_group_id=group.group_id))
    session.flush()
    return group


def _new_group(account_id: str, vpc_id: str, name: str, description: str) -> SecurityGroup:
    group = SecurityGroup(
        group_id=new_id(Prefix.SECURITY_GROUP),
        account_id=account_id,
        vpc_id=vpc_id,
        group_name=name,
        description=description,
    )
    group.rules.append(_rule(group, is_egress=True, cidr_ipv4="0.0.0.0/0"))
    return group


def _rule(
    group: SecurityGroup,
    *,
    is_egress: bool,
    cidr_ipv4: str | None = None,
    referenced_group_id: str | None = None,
) -> SecurityGroupRule:
    return SecurityGroupRule(
        rule_id=new_id(Prefix.SECURITY_GROUP_RULE),
        account_id=group.account_id,
        is_egress=is_egress,
        ip_protocol=ALL_PROTOCOLS,
        cidr_ipv4=cidr_ipv4,
        referenced_group_id=referenced_group_id,
    )


def visible(
    session: Session, account_id: str, group_ids: Sequence[str] = (), names: Sequence[str] = ()
) -> list[SecurityGroup]:
    """The blessed select: the account's groups, by id and (in the default VPC's sense) by name."""
    for group_id in group_ids:
        if not is_well_formed(Prefix.SECURITY_GROUP, group_id):
            raise errors.group_id_malformed(group_id)
    query = (
        sa.select(SecurityGroup)
        .where(SecurityGroup.account_id == account_id)
        .options(selectinload(SecurityGroup.rules))
        .order_by(SecurityGroup.group_name, SecurityGroup.group_id)
    )
    found = list(session.scalars(query))
    known = {one.group_id for one in found} | {one.group_name for one in found}
    for wanted in (*group_ids, *names):
        if wanted not in known:
            raise errors.group_not_found(wanted)
    if group_ids or names:
        return [one for one in found if one.group_id in group_ids or one.group_name in names]
    return found


def names(session: Session, account_id: str) -> dict[str, str]:
    """The names of the account's groups by id."""
    query = sa.select(SecurityGroup.group_id, SecurityGroup.group_name).where(SecurityGroup.account_id == account_id)
    return dict(session.execute(query).all())


def get(session: Session, account_id: str, group_id: str | None, name: str | None = None) -> SecurityGroup:
    """Return one group by id or name."""
    if group_id:
        return visible(session, account_id, [group_id])[0]
    if name:
        return visible(session, account_id, names=[name])[0]
    raise errors.missing_parameter("GroupId")


def list_rules(session: Session, account_id: str, rule_ids: Sequence[str] = ()) -> list[SecurityGroupRule]:
    """Return the rules of the account's groups, or exactly those named."""
    rules = {rule.rule_id: rule for group in visible(session, account_id) for rule in group.rules}
    check_rule_ids(rule_ids, rules)
    return [rules[rule_id] for rule_id in rule_ids] if rule_ids else list(rules.values())


def get_rule(session: Session, account_id: str, rule_id: str) -> SecurityGroupRule:
    """Return one rule of the account's groups."""
    return list_rules(session, account_id, [rule_id])[0]


def check_rule_ids(rule_ids: Iterable[str], known: Container[str]) -> None:
    """Refuse what is malformed or not among those that are known."""
    for rule_id in rule_ids:
        if not is_well_formed(Prefix.SECURITY_GROUP_RULE, rule_id):
            raise errors.group_rule_id_malformed(rule_id)
        if rule_id not in known:
            raise errors.group_rule_not_found(rule_id)


def resolve_groups(
    session: Session, account_id: str, vpc_id: str, ids: Sequence[str], names: Sequence[str]
) -> list[SecurityGroup]:
    """Return the groups a launch names, in their order; the VPC's default group without any."""
    if not ids and not names:
        names = [DEFAULT_GROUP_NAME]
    groups = visible(session, account_id, ids, names)
    groups = [one for one in groups if one.vpc_id == vpc_id]
    by_id = {one.group_id: one for one in groups}
    by_name = {one.group_name: one for one in groups}
    for group_id in ids:
        if group_id not in by_id:
            raise errors.group_not_found(group_id)
    chosen = [*(by_id[group_id] for group_id in ids), *(by_name[name] for name in names if name in by_name)]
    return list(dict.fromkeys(chosen))


def create(session: Session, account_id: str, vpc_id: str, name: str, description: str) -> SecurityGroup:
    """Make a group that lets nothing in and everything out."""
    if not 0 < len(name) <= _MAX_TEXT or name.startswith("sg-") or not _TEXT.fullmatch(name):
        raise errors.invalid_value_for("groupName", name[:64], "Character sets beyond ASCII are not supported.")
    if not 0 < len(description) <= _MAX_TEXT or not _TEXT.fullmatch(description):
        raise errors.invalid_value_for("GroupDescription", description[:64])
    taken = sa.select(SecurityGroup).where(SecurityGroup.vpc_id == vpc_id, SecurityGroup.group_name == name)
    if session.scalars(taken).first() is not None:
        raise errors.group_duplicate(name, vpc_id)
    group = _new_group(account_id, vpc_id, name, description)
    session.add(group)
    session.flush()
    return group


def delete(session: Session, group: SecurityGroup) -> None:
    """Delete a group nobody is in and no other group's rule names."""
    if group.group_name == DEFAULT_GROUP_NAME:
        raise errors.group_cannot_be_deleted(
            f'the specified group: "{group.group_id}" name: "default" cannot be deleted by a user'
        )
    members = sa.select(InterfaceGroup.interface_id).where(InterfaceGroup.group_id == group.group_id)
    named = sa.select(SecurityGroupRule.rule_id).where(
        SecurityGroupRule.referenced_group_id == group.group_id, SecurityGroupRule.group_id != group.group_id
    )
    if session.scalars(members).first() or session.scalars(named).first():
        raise errors.dependency_violation(f"resource {group.group_id} has a dependent object")
    for resource_id in (group.group_id, *(rule.rule_id for rule in group.rules)):
        tags.delete_tags_of(session, resource_id)
    session.delete(group)
    session.flush()


@dataclass(frozen=True, kw_only=True)
class RuleData:
    """What makes two rules the same."""

    ip_protocol: str
    from_port: int
    to_port: int
    cidr_ipv4: str | None = None
    cidr_ipv6: str | None = None
    referenced_group_id: str | None = None

    @classmethod
    def of(cls, rule: SecurityGroupRule) -> "RuleData":
        """The data of a stored rule."""
        return cls(
            ip_protocol=rule.ip_protocol,
            from_port=rule.from_port,
            to_port=rule.to_port,
            cidr_ipv4=rule.cidr_ipv4,
            cidr_ipv6=rule.cidr_ipv6,
            referenced_group_id=rule.referenced_group_id,
        )


def authorize(
    session: Session, group: SecurityGroup, *, is_egress: bool, wanted: Sequence[tuple[RuleData, str | None]]
) -> list[SecurityGroupRule]:
    """Add rules (data, description); InvalidPermission.Duplicate when one is there."""
    present = {RuleData.of(rule) for rule in group.rules if rule.is_egress == is_egress}
    added = []
    for data, description in wanted:
        _check_rule_description(description)
        if data in present:
            raise errors.permission_duplicate(_describe(data))
        present.add(data)
        rule = SecurityGroupRule(
            rule_id=new_id(Prefix.SECURITY_GROUP_RULE),
            account_id=group.account_id,
            is_egress=is_egress,
            description=description,
            **vars(data),
        )
        group.rules.append(rule)
        added.append(rule)
    if len(group.rules) > _MAX_RULES:
        raise errors.rules_limit_exceeded()
    session.flush()
    return added


def modify_rules(session: Session, group: SecurityGroup, changes: Mapping[str, tuple[RuleData, str | None]]) -> None:
    """Make rules (by id) what is said of them: data, description; InvalidPermission.Duplicate when another is so."""
    kept = {(rule.is_egress, RuleData.of(rule)) for rule in group.rules if rule.rule_id not in changes}
    for rule in group.rules:
        if rule.rule_id not in changes:
            continue
        data, description = changes[rule.rule_id]
        _check_rule_description(description)
        if (rule.is_egress, data) in kept:
            raise errors.permission_duplicate(_describe(data))
        kept.add((rule.is_egress, data))
        for name, value in {**vars(data), "description": description}.items():
            setattr(rule, name, value)
    session.flush()


def describe_rules(
    session: Session,
    group: SecurityGroup,
    *,
    is_egress: bool,
    by_data: Sequence[tuple[RuleData, str | None]],
    by_id: Mapping[str, str | None],
) -> None:
    """Give rules other descriptions (None: none); one that is not there is an error, and then none is changed."""
    present = {RuleData.of(rule): rule for rule in group.rules if rule.is_egress == is_egress}
    for data, _ in by_data:
        if data not in present:
            raise errors.permission_not_found("The specified rule does not exist in this security group.")
    ids = {rule.rule_id: rule for rule in present.values()}
    check_rule_ids(by_id, ids)
    changes = [(present[data], text) for data, text in by_data] + [(ids[one], text) for one, text in by_id.items()]
    for rule, description in changes:
        _check_rule_description(description)
        rule.description = description
    session.flush()


def _check_rule_description(description: str | None) -> None:
    if description and not (len(description) <= _MAX_TEXT and _TEXT.fullmatch(description)):
        raise errors.invalid_parameter_value("Invalid rule description. It has up to 255 plain characters.")


def revoke(
    session: Session,
    group: SecurityGroup,
    *,
    is_egress: bool,
    unwanted: Sequence[RuleData],
    rule_ids: Sequence[str],
) -> list[SecurityGroupRule]:
    """Remove rules; one that is not there is an error, and then none is removed."""
    present = {RuleData.of(rule): rule for rule in group.rules if rule.is_egress == is_egress}
    by_id = {rule.rule_id: rule for rule in present.values()}
    doomed = []
    for data in unwanted:
        if data not in present:
            raise errors.permission_not_found("The specified rule does not exist in this security group.")
        doomed.append(present[data])
    check_rule_ids(rule_ids, by_id)
    doomed += [by_id[rule_id] for rule_id in rule_ids]
    for rule in dict.fromkeys(doomed):
        tags.delete_tags_of(session, rule.rule_id)
        group.rules.remove(rule)
    session.flush()
    return doomed


def _describe(data: RuleData) -> str:
    peer = data.cidr_ipv4 or data.cidr_ipv6 or data.referenced_group_id
    return f"peer: {peer}, {data.ip_protocol}, from port: {data.from_port}, to port: {data.to_port}, ALLOW"
