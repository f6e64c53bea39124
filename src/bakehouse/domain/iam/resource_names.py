"""ARNs of what requests name in other ways than ARNs do: by name, by id, by address.

Invariant: what does not exist in the account gives no ARN of anything that does.
"""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import ElasticAddress, Instance, KeyPair, LaunchTemplate, SecurityGroup, Snapshot, Subnet
from bakehouse.domain import snapshot_sharing
from bakehouse.domain.iam import instance_profiles, roles, users
from bakehouse.ids import Prefix

# The prefix of an id -> what policies call it.
_KINDS = {
    "acl": "network-acl",
    "ami": "image",
    "dopt": "dhcp-options",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "key": "key-pair",
    "lt": "launch-template",
    "replacevol": "replace-root-volume-task",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}
_WITHOUT_ACCOUNT = ("image", "snapshot")
NOBODY = "*"


def arn(session: Session, account_id: str, kind: str, name: str) -> str:
    """An ARN of EC2's in the region of the transaction."""
    return f"arn:aws:ec2:{session.info['region']}:{'' if kind in _WITHOUT_ACCOUNT else account_id}:{kind}/{name}"


def ec2_arn(session: Session, account_id: str, resource_id: str) -> str:
    """The ARN of an id of any kind; "*" for an id of none."""
    kind = _KINDS.get(resource_id.rpartition("-")[0])
    if kind is None:
        return NOBODY
    if kind == "key-pair":
        return next(iter(_key_pairs_by_id(session, account_id, resource_id)), arn(session, account_id, kind, "-"))
    return arn(session, account_id, kind, resource_id)


def ec2_arns_by_name(session: Session, account_id: str, member: str, value: str) -> list[str]:
    """The ARNs of what a parameter names by something else than its id."""
    return _BY_NAME[member](session, account_id, value) if member in _BY_NAME else []


def _key_pairs_by_id(session: Session, account_id: str, key_pair_id: str) -> list[str]:
    query = sa.select(KeyPair.key_name).where(KeyPair.account_id == account_id, KeyPair.key_pair_id == key_pair_id)
    return [arn(session, account_id, "key-pair", name) for name in session.scalars(query)]


def _groups_by_name(session: Session, account_id: str, name: str) -> list[str]:
    query = sa.select(SecurityGroup.group_id).where(
        SecurityGroup.account_id == account_id, SecurityGroup.group_name == name
    )
    return [arn(session, account_id, "security-group", group_id) for group_id in session.scalars(query)]


def _instances_by_association(session: Session, account_id: str, association_id: str) -> list[str]:
    query = sa.select(Instance.instance_id).where(
        Instance.account_id == account_id, Instance.profile_association_id == association_id
    )
    return [arn(session, account_id, "instance", instance_id) for instance_id in session.scalars(query)]


def _addresses_by(column_name: str) -> Callable[[Session, str, str], list[str]]:
    column = ElasticAddress.__table__.c[column_name]

    def find(session: Session, account_id: str, value: str) -> list[str]:
        query = sa.select(ElasticAddress.allocation_id).where(ElasticAddress.account_id == account_id, column == value)
        return [arn(session, account_id, "elastic-ip", allocation_id) for allocation_id in session.scalars(query)]

    return find


def _by_association(session: Session, account_id: str, association_id: str) -> list[str]:
    is_profiles = association_id.startswith(f"{Prefix.IAM_INSTANCE_PROFILE_ASSOCIATION}-")
    find = _instances_by_association if is_profiles else _addresses_by("association_id")
    return find(session, account_id, association_id)


def _templates_by_name(session: Session, account_id: str, name: str) -> list[str]:
    query = sa.select(LaunchTemplate.launch_template_id).where(
        LaunchTemplate.account_id == account_id, LaunchTemplate.name == name
    )
    return [arn(session, account_id, "launch-template", template_id) for template_id in session.scalars(query)]


_BY_NAME: dict[str, Callable[[Session, str, str], list[str]]] = {
    "AssociationId": _by_association,
    "GroupName": _groups_by_name,
    "KeyPairId": _key_pairs_by_id,
    "LaunchTemplateName": _templates_by_name,
    "PublicIp": _addresses_by("public_ip"),
}


def snapshot_size_gib(session: Session, account_id: str, snapshot_id: str | None) -> int | None:
    """How large the volume is that a snapshot makes which the account may read."""
    query = sa.select(Snapshot.volume_size_gib).where(
        Snapshot.snapshot_id == snapshot_id, snapshot_sharing.is_visible(account_id)
    )
    return session.scalars(query).first()


def vpc_of_subnet(session: Session, account_id: str, subnet_id: str) -> str | None:
    """The VPC a subnet is in."""
    query = sa.select(Subnet.vpc_id).where(Subnet.account_id == account_id, Subnet.subnet_id == subnet_id)
    return session.scalars(query).first()


def iam_arn(session: Session, account_id: str, kind: str, name: str, *, path: str | None) -> str:
    """The ARN of a user, role, instance profile or policy; one that is not there yet gets the path it asks for."""
    found: str | None = None
    if kind == "user" and (user := users.find(session, account_id, name)):
        found = users.arn_of(user)
    elif kind == "role" and (role := roles.find(session, account_id, name)):
        found = roles.arn_of(role)
    elif kind == "instance-profile" and (profile := instance_profiles.find(session, account_id, name)):
        found = instance_profiles.arn_of(profile)
    return found or f"arn:aws:iam::{account_id}:{kind}{path or '/'}{name}"
