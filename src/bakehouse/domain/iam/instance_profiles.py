"""Instance profiles: each hands one role, or none yet, to instances."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import IamRole, InstanceProfile
from bakehouse.domain.iam import identity_tags, names
from bakehouse.domain.iam.names import Kind
from bakehouse.domain.tags import ApiTag
from bakehouse.errors import iam

_MAX_PROFILES = 1000


def arn_of(profile: InstanceProfile) -> str:
    """The profile's ARN."""
    return names.arn(Kind.INSTANCE_PROFILE, profile.account_id, profile.path, profile.profile_name)


def visible(session: Session, account_id: str, path_prefix: str = "/") -> list[InstanceProfile]:
    """The blessed select: the account's profiles below a path, by name."""
    query = sa.select(InstanceProfile).where(InstanceProfile.account_id == account_id)
    found = session.scalars(query.order_by(InstanceProfile.profile_name))
    return [profile for profile in found if profile.path.startswith(path_prefix)]


def find(session: Session, account_id: str, name: str) -> InstanceProfile | None:
    """Return the account's profile of this name."""
    query = sa.select(InstanceProfile).where(
        InstanceProfile.account_id == account_id, InstanceProfile.profile_name == name
    )
    return session.scalars(query).first()


def get(session: Session, account_id: str, name: str) -> InstanceProfile:
    """Return the account's profile of this name; NoSuchEntity."""
    profile = find(session, account_id, name)
    if profile is None:
        raise iam.no_such_entity(f"Instance Profile {name[:128]} cannot be found.")
    return profile


def role_of(session: Session, profile: InstanceProfile) -> IamRole | None:
    """The role it hands out."""
    return session.get(IamRole, profile.role_id) if profile.role_id is not None else None


def create(
    session: Session, account_id: str, name: str, *, path: str | None, tags: Sequence[ApiTag]
) -> InstanceProfile:
    """Make a profile without a role."""
    names.check_name(Kind.INSTANCE_PROFILE, "instanceProfileName", name)
    existing = visible(session, account_id)
    if any(one.profile_name.lower() == name.lower() for one in existing):
        raise iam.entity_already_exists(f"Instance Profile {name} already exists.")
    if len(existing) >= _MAX_PROFILES:
        raise iam.limit_exceeded(f"Cannot exceed quota for InstanceProfilesPerAccount: {_MAX_PROFILES}")
    profile = InstanceProfile(
        profile_id=names.new_id(Kind.INSTANCE_PROFILE),
        account_id=account_id,
        profile_name=name,
        path=names.check_path(path),
    )
    session.add(profile)
    session.flush()
    identity_tags.put(session, profile.profile_id, tags)
    return profile


def add_role(session: Session, profile: InstanceProfile, role: IamRole) -> None:
    """Give it its one role; LimitExceeded when it has one."""
    if profile.role_id is not None:
        raise iam.limit_exceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
    profile.role_id = role.role_id
    session.flush()


def remove_role(session: Session, profile: InstanceProfile, role: IamRole) -> None:
    """Take its role away; NoSuchEntity when it has another one."""
    if profile.role_id != role.role_id:
        raise iam.no_such_entity(f"Role {role.role_name} does not exist in the instance profile.")
    profile.role_id = None
    session.flush()


def delete(session: Session, profile: InstanceProfile) -> None:
    """Delete a profile without a role; instances that have it get no credentials any more."""
    if profile.role_id is not None:
        raise iam.delete_conflict("Cannot delete entity, must remove roles from instance profile first.")
    identity_tags.delete_all(session, profile.profile_id)
    session.delete(profile)
    session.flush()
