"""Roles, and whom they trust."""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Account, IamRole, IamUser, InstanceProfile, KeySession
from bakehouse.domain.iam import documents, identity_tags, names, policies, users
from bakehouse.domain.iam.names import Kind
from bakehouse.domain.tags import ApiTag
from bakehouse.errors import iam

# Seconds. Source: IAM API Reference, CreateRole.
MIN_SESSION_S, MAX_SESSION_S, DEFAULT_SESSION_S = 3600, 43_200, 3600
_MAX_ROLES = 1000
_MAX_TRUST_SIZE = 4096
_MAX_DESCRIPTION = 1000
_NAMED = re.compile(r"arn:aws:(?:iam|sts)::(?P<account>[0-9]{12}):(?P<type>[a-z-]+)/(?P<name>.+)")


def arn_of(role: IamRole) -> str:
    """The role's ARN."""
    return names.arn(Kind.ROLE, role.account_id, role.path, role.role_name)


def visible(session: Session, account_id: str, path_prefix: str = "/") -> list[IamRole]:
    """The blessed select: the account's roles below a path, by name."""
    query = sa.select(IamRole).where(IamRole.account_id == account_id).order_by(IamRole.role_name)
    return [role for role in session.scalars(query) if role.path.startswith(path_prefix)]


def find(session: Session, account_id: str, name: str) -> IamRole | None:
    """Return the account's role of this name."""
    query = sa.select(IamRole).where(IamRole.account_id == account_id, IamRole.role_name == name)
    return session.scalars(query).first()


def find_by_arn(session: Session, role_arn: str) -> IamRole | None:
    """Return any account's role: whether the asker may know of it is decided by its trust policy."""
    match = _NAMED.fullmatch(role_arn)
    if match is None or match["type"] != "role":
        return None
    role = find(session, match["account"], match["name"].rpartition("/")[2])
    return role if role is not None and arn_of(role) == role_arn else None


def get(session: Session, account_id: str, name: str) -> IamRole:
    """Return the account's role of this name; NoSuchEntity."""
    role = find(session, account_id, name)
    if role is None:
        raise iam.no_such_entity(f"The role with name {name[:128]} cannot be found.")
    return role


def create(
    session: Session,
    account_id: str,
    name: str,
    trust_policy: str,
    *,
    path: str | None,
    description: str | None,
    max_session_duration_s: int | None,
    tags: Sequence[ApiTag],
) -> IamRole:
    """Make a role."""
    names.check_name(Kind.ROLE, "roleName", name)
    existing = visible(session, account_id)
    if any(one.role_name.lower() == name.lower() for one in existing):
        raise iam.entity_already_exists(f"Role with name {name} already exists.")
    if len(existing) >= _MAX_ROLES:
        raise iam.limit_exceeded(f"Cannot exceed quota for RolesPerAccount: {_MAX_ROLES}")
    role = IamRole(
        role_id=names.new_id(Kind.ROLE),
        account_id=account_id,
        role_name=name,
        path=names.check_path(path),
        trust_policy=trust_policy,
        trusted_ids={},
    )
    set_trust_policy(session, role, trust_policy)
    update(role, description=description, max_session_duration_s=max_session_duration_s or DEFAULT_SESSION_S)
    session.add(role)
    session.flush()
    identity_tags.put(session, role.role_id, tags)
    return role


def update(role: IamRole, *, description: str | None, max_session_duration_s: int | None) -> None:
    """Change what is given."""
    if description is not None:
        if len(description) > _MAX_DESCRIPTION:
            raise iam.validation_error(f"The description has at most {_MAX_DESCRIPTION} characters")
        role.description = description
    if max_session_duration_s is not None:
        if not MIN_SESSION_S <= max_session_duration_s <= MAX_SESSION_S:
            raise iam.validation_error(
                f"Value '{max_session_duration_s}' at 'maxSessionDuration' must be from {MIN_SESSION_S} to "
                f"{MAX_SESSION_S} seconds"
            )
        role.max_session_duration_s = max_session_duration_s


def set_trust_policy(session: Session, role: IamRole, document: str) -> None:
    """Say anew who may assume the role; whom it names must exist now."""
    statements = documents.read_trust_policy(document)
    if documents.size_of(document) > _MAX_TRUST_SIZE:
        raise iam.limit_exceeded(f"Cannot exceed quota for ACLSizePerRole: {_MAX_TRUST_SIZE}")
    named = {value for one in statements for kind, value in one.principals if kind == "AWS" and value != "*"}
    role.trust_policy = document
    role.trusted_ids = {value: _id_of(session, value) for value in sorted(named)}


def _id_of(session: Session, principal: str) -> str:
    """The id of whom an ARN names: an account's own number, a user's or role's id; MalformedPolicyDocument."""
    account_id, _, rest = principal.split(":", 4)[4].partition(":")
    found: Account | IamUser | IamRole | None = session.get(Account, account_id)
    if rest != "root" and found is not None:
        kind, _, name = rest.partition("/")
        found = _named(session, account_id, kind, name)
    if isinstance(found, IamUser):
        return found.user_id
    if isinstance(found, IamRole):
        return found.role_id
    if found is None:
        raise iam.malformed_policy_document(f'Invalid principal in policy: "AWS":"{principal[:200]}"')
    return account_id


def _named(session: Session, account_id: str, kind: str, name: str) -> IamUser | IamRole | None:
    full_path, _, last = f"/{name}".rpartition("/")
    if kind == "assumed-role":
        return find(session, account_id, name.partition("/")[0])
    found = users.find(session, account_id, last) if kind == "user" else find(session, account_id, last)
    return found if found is not None and found.path == f"{full_path}/" else None


def profiles_of(session: Session, role: IamRole) -> list[InstanceProfile]:
    """The instance profiles that hand the role out."""
    query = sa.select(InstanceProfile).where(InstanceProfile.role_id == role.role_id)
    return list(session.scalars(query.order_by(InstanceProfile.profile_name)))


def delete(session: Session, role: IamRole) -> None:
    """Delete a role that has nothing left; its sessions' keys are good for nothing from then on."""
    if profiles_of(session, role):
        raise iam.delete_conflict("Cannot delete entity, must remove roles from instance profile first.")
    policies.check_none_left(session, role.role_id)
    identity_tags.delete_all(session, role.role_id)
    session.execute(sa.delete(KeySession).where(KeySession.role_id == role.role_id))
    session.delete(role)
    session.flush()
