"""Condition keys that are facts about a resource, read from its rows, in the region its ARN says.

Invariant: only what the account itself can see is read; a resource that is not there, or is kept from the account, has
no facts of its own, so that nobody finds out by what is refused.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import (
    BinEntry,
    Image,
    Instance,
    KeyPair,
    NetworkInterface,
    Parameter,
    RetentionRule,
    SecurityGroup,
    Snapshot,
    Subnet,
    Tag,
    Volume,
)
from bakehouse.database.session import in_region, region_of
from bakehouse.domain import image_sharing, snapshot_sharing
from bakehouse.domain.iam import facts, identity_tags, instance_profiles, managed_policies, roles, users
from bakehouse.domain.iam.facts import Values

_Found = dict[str, str | None]


def read(session: Session, account_id: str, arn: str) -> Values:
    """The facts about the resource of an ARN."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return {"aws:resourceaccount": (account_id,)}
    service, region, owner_id, (kind, _, name) = parts[2], parts[3], parts[4] or account_id, parts[5].partition("/")
    with in_region(session, region) if region not in ("", region_of(session)) else nullcontext():
        if service == "iam" and owner_id == account_id:
            found = _of_identity(session, account_id, kind, name, arn)
        elif service == "ec2":
            found = _of_ec2(session, account_id, kind, name)
        else:
            found = _of_own_tags(session, account_id, service, name)
    return {"aws:resourceaccount": (owner_id,), **found}


def _of_ec2(session: Session, account_id: str, kind: str, name: str) -> Values:
    found = _READERS[kind](session, account_id, name) if kind in _READERS else {}
    values = {key: (value,) for key, value in found.items() if value is not None}
    resource_id = found.get("id") if kind == "key-pair" else name
    query = sa.select(Tag.key, Tag.value).where(Tag.account_id == account_id, Tag.resource_id == resource_id)
    tags = [*session.execute(query), *_kept_tags(session, account_id, name)]
    return {
        **values,
        **facts.tag_values("aws:resourcetag/", tags),
        **facts.tag_values("ec2:resourcetag/", tags),
    }


def _kept_tags(session: Session, account_id: str, resource_id: str) -> list[tuple[str, str]]:
    """The tags that an image or snapshot in the recycle bin has there."""
    query = sa.select(BinEntry.contents).where(BinEntry.account_id == account_id, BinEntry.resource_id == resource_id)
    return [(tag["Key"], tag["Value"]) for contents in session.scalars(query) for tag in contents["tags"]]


def _of_own_tags(session: Session, account_id: str, service: str, name: str) -> Values:
    """Services that keep the tags of what is theirs. /x and x are two parameters and have one ARN."""
    query: sa.Select[Any]
    if service == "ssm":
        query = sa.select(Parameter.tags).where(
            Parameter.account_id == account_id, Parameter.name.in_([name, f"/{name}"])
        )
    elif service == "rbin":
        query = sa.select(RetentionRule.tags).where(
            RetentionRule.account_id == account_id, RetentionRule.identifier == name
        )
    else:
        return {}
    tags = [pair for one in session.scalars(query) for pair in one.items()]
    return {**facts.tag_values("aws:resourcetag/", tags), **facts.tag_values(f"{service}:resourcetag/", tags)}


def _arn(session: Session, account_id: str, kind: str, name: str) -> str:
    return f"arn:aws:ec2:{session.info['region']}:{account_id}:{kind}/{name}"


def _of_instance(session: Session, account_id: str, name: str) -> _Found:
    row = session.scalars(
        sa.select(Instance).where(Instance.instance_id == name, Instance.account_id == account_id)
    ).first()
    if row is None:
        return {}
    return {
        "ec2:availabilityzone": row.availability_zone,
        "ec2:instanceprofile": row.instance_profile_arn,
        "ec2:instancetype": row.instance_type,
        "ec2:rootdevicetype": "ebs",
    }


def _of_volume(session: Session, account_id: str, name: str) -> _Found:
    row = session.scalars(sa.select(Volume).where(Volume.volume_id == name, Volume.account_id == account_id)).first()
    if row is None:
        return {}
    return {
        "ec2:availabilityzone": row.availability_zone,
        "ec2:volumesize": str(row.size_gib),
        "ec2:volumetype": row.volume_type,
    }


def _of_image(session: Session, account_id: str, name: str) -> _Found:
    row = session.scalars(sa.select(Image).where(Image.image_id == name, image_sharing.is_visible(account_id))).first()
    if row is None:
        return {}
    return {
        "aws:resourceaccount": row.account_id,
        "ec2:owner": row.account_id,
        "ec2:public": str(row.is_public).lower(),
        "ec2:rootdevicetype": "ebs",
    }


def _of_snapshot(session: Session, account_id: str, name: str) -> _Found:
    query = sa.select(Snapshot).where(Snapshot.snapshot_id == name, snapshot_sharing.is_visible(account_id))
    row = session.scalars(query).first()
    if row is None:
        return {}
    return {
        "aws:resourceaccount": row.account_id,
        "ec2:owner": row.account_id,
        "ec2:volumesize": str(row.volume_size_gib),
    }


def _of_subnet(session: Session, account_id: str, name: str) -> _Found:
    row = session.scalars(sa.select(Subnet).where(Subnet.subnet_id == name, Subnet.account_id == account_id)).first()
    if row is None:
        return {}
    return {
        "ec2:availabilityzone": row.availability_zone,
        "ec2:vpc": _arn(session, account_id, "vpc", row.vpc_id),
    }


def _of_security_group(session: Session, account_id: str, name: str) -> _Found:
    query = sa.select(SecurityGroup).where(SecurityGroup.group_id == name, SecurityGroup.account_id == account_id)
    row = session.scalars(query).first()
    return {} if row is None else {"ec2:vpc": _arn(session, account_id, "vpc", row.vpc_id)}


def _of_interface(session: Session, account_id: str, name: str) -> _Found:
    query = sa.select(NetworkInterface).where(
        NetworkInterface.interface_id == name, NetworkInterface.account_id == account_id
    )
    row = session.scalars(query).first()
    if row is None:
        return {}
    return {
        "ec2:subnet": _arn(session, account_id, "subnet", row.subnet_id),
        "ec2:vpc": _arn(session, account_id, "vpc", row.vpc_id),
    }


def _of_key_pair(session: Session, account_id: str, name: str) -> _Found:
    query = sa.select(KeyPair.key_pair_id).where(KeyPair.account_id == account_id, KeyPair.key_name == name)
    return {"id": session.scalars(query).first()}


_READERS: dict[str, Callable[[Session, str, str], _Found]] = {
    "image": _of_image,
    "instance": _of_instance,
    "key-pair": _of_key_pair,
    "network-interface": _of_interface,
    "security-group": _of_security_group,
    "snapshot": _of_snapshot,
    "subnet": _of_subnet,
    "volume": _of_volume,
}


def _of_identity(session: Session, account_id: str, kind: str, name: str, arn: str) -> Values:
    last = name.rpartition("/")[2]
    owner_id: str | None = None
    if kind == "user" and (user := users.find(session, account_id, last)) and users.arn_of(user) == arn:
        owner_id = user.user_id
    elif kind == "role" and (role := roles.find(session, account_id, last)) and roles.arn_of(role) == arn:
        owner_id = role.role_id
    elif kind == "instance-profile" and (profile := instance_profiles.find(session, account_id, last)):
        owner_id = profile.profile_id
    elif kind == "policy" and (policy := managed_policies.find(session, account_id, arn)):
        owner_id = policy.policy_id
    tags = [(tag["Key"], tag["Value"]) for tag in identity_tags.of(session, owner_id)] if owner_id else []
    return {**facts.tag_values("aws:resourcetag/", tags), **facts.tag_values("iam:resourcetag/", tags)}
