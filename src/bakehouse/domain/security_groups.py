"""Security groups: who is in which, and their life.

Invariant: every VPC has a group named ``default``, which nobody deletes; a group in use
stays.
"""

from sqlalchemy.orm import Session

from bakehouse.database.models import SecurityGroup, SecurityGroupRule
from bakehouse.ids import Prefix, new_id

DEFAULT_GROUP_NAME = "default"
ALL_PROTOCOLS = "-1"


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
