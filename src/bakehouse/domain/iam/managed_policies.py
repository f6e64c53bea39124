"""Managed policies: a customer's, in versions, and the few of Amazon's whose meaning is clear here.

Invariant: one version is the default, and it is the one that counts.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import ManagedPolicy, ManagedPolicyVersion, PolicyAttachment, now
from bakehouse.domain.iam import amazon_policies, documents, identity_tags, names
from bakehouse.domain.iam.names import Kind
from bakehouse.domain.tags import ApiTag
from bakehouse.errors import ApiError, iam

_MAX_SIZE = 6144
_MAX_VERSIONS = 5
_MAX_POLICIES = 1500


def arn_of(policy: ManagedPolicy) -> str:
    """The policy's ARN."""
    return names.arn(Kind.POLICY, policy.account_id, policy.path, policy.policy_name)


def visible(session: Session, account_id: str) -> list[ManagedPolicy]:
    """The blessed select: the account's own policies, by name."""
    query = sa.select(ManagedPolicy).where(ManagedPolicy.account_id == account_id)
    return list(session.scalars(query.order_by(ManagedPolicy.policy_name)))


def find(session: Session, account_id: str, policy_arn: str) -> ManagedPolicy | None:
    """Return the account's own policy of this ARN."""
    name = policy_arn.rpartition("/")[2]
    query = sa.select(ManagedPolicy).where(ManagedPolicy.account_id == account_id, ManagedPolicy.policy_name == name)
    policy = session.scalars(query).first()
    return policy if policy is not None and arn_of(policy) == policy_arn else None


def get(session: Session, account_id: str, policy_arn: str) -> ManagedPolicy:
    """Return the account's own policy of this ARN; NoSuchEntity, AccessDenied for Amazon's."""
    if policy_arn in amazon_policies.BY_ARN:
        raise iam.access_denied("Amazon's managed policies cannot be changed.")
    policy = find(session, account_id, policy_arn)
    if policy is None:
        raise not_found(policy_arn)
    return policy


def not_found(policy_arn: str) -> ApiError:
    """No such policy."""
    return iam.no_such_entity(f"Policy {policy_arn[:256]} was not found.")


def find_document(session: Session, account_id: str, policy_arn: str) -> str | None:
    """The document that counts of any policy the account can attach."""
    amazons = amazon_policies.BY_ARN.get(policy_arn)
    if amazons is not None:
        return amazons.document
    policy = find(session, account_id, policy_arn)
    return get_version(session, policy, policy.default_version).document if policy is not None else None


def create(
    session: Session,
    account_id: str,
    name: str,
    document: str,
    *,
    path: str | None,
    description: str | None,
    tags: Sequence[ApiTag],
) -> ManagedPolicy:
    """Make a policy with its first version."""
    names.check_name(Kind.POLICY, "policyName", name)
    _check_document(document)
    existing = visible(session, account_id)
    if any(one.policy_name.lower() == name.lower() for one in existing):
        raise iam.entity_already_exists(f"A policy called {name} already exists. Duplicate names are not allowed.")
    if len(existing) >= _MAX_POLICIES:
        raise iam.limit_exceeded(f"Cannot exceed quota for PoliciesPerAccount: {_MAX_POLICIES}")
    policy = ManagedPolicy(
        policy_id=names.new_id(Kind.POLICY),
        account_id=account_id,
        policy_name=name,
        path=names.check_path(path),
        description=description,
        default_version=1,
        last_version=1,
    )
    session.add(policy)
    session.flush()
    session.add(ManagedPolicyVersion(policy_id=policy.policy_id, number=1, document=document))
    session.flush()
    identity_tags.put(session, policy.policy_id, tags)
    return policy


def delete(session: Session, policy: ManagedPolicy) -> None:
    """Delete a policy that nobody has and that has one version; DeleteConflict."""
    attached = sa.select(PolicyAttachment.owner_id).where(PolicyAttachment.policy_arn == arn_of(policy))
    if session.scalars(attached).first() is not None:
        raise iam.delete_conflict("Cannot delete a policy attached to entities.")
    if len(versions(session, policy)) > 1:
        raise iam.delete_conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )
    identity_tags.delete_all(session, policy.policy_id)
    session.execute(sa.delete(ManagedPolicyVersion).where(ManagedPolicyVersion.policy_id == policy.policy_id))
    session.delete(policy)
    session.flush()


def versions(session: Session, policy: ManagedPolicy) -> list[ManagedPolicyVersion]:
    """All versions, newest first."""
    query = sa.select(ManagedPolicyVersion).where(ManagedPolicyVersion.policy_id == policy.policy_id)
    return list(session.scalars(query.order_by(ManagedPolicyVersion.number.desc())))


def get_version(session: Session, policy: ManagedPolicy, number: int) -> ManagedPolicyVersion:
    """Return a version; NoSuchEntity."""
    version = session.get(ManagedPolicyVersion, (policy.policy_id, number))
    if version is None:
        raise iam.no_such_entity(f"Policy {arn_of(policy)} version v{number} does not exist or is not attachable.")
    return version


def create_version(session: Session, policy: ManagedPolicy, document: str, *, is_default: bool) -> ManagedPolicyVersion:
    """Add a version; LimitExceeded beyond five."""
    _check_document(document)
    if len(versions(session, policy)) >= _MAX_VERSIONS:
        raise iam.limit_exceeded(
            f"A managed policy can have up to {_MAX_VERSIONS} versions. Before you create a new version, you must "
            "delete an existing version."
        )
    policy.last_version += 1
    version = ManagedPolicyVersion(policy_id=policy.policy_id, number=policy.last_version, document=document)
    session.add(version)
    if is_default:
        policy.default_version = version.number
    policy.updated_at = now()
    session.flush()
    return version


def set_default(session: Session, policy: ManagedPolicy, number: int) -> None:
    """Make another version the one that counts."""
    policy.default_version = get_version(session, policy, number).number
    policy.updated_at = now()


def delete_version(session: Session, policy: ManagedPolicy, number: int) -> None:
    """Delete a version that is not the default."""
    version = get_version(session, policy, number)
    if number == policy.default_version:
        raise iam.delete_conflict("Cannot delete the default version of a policy.")
    session.delete(version)
    session.flush()


def _check_document(document: str) -> None:
    documents.read_identity_policy(document)
    if documents.size_of(document) > _MAX_SIZE:
        raise iam.limit_exceeded(f"Cannot exceed quota for PolicySize: {_MAX_SIZE}")
