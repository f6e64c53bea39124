"""Policies of users and roles: inline and attached. An owner is a user's or a role's id.

Invariant: every document that is stored was read by documents.py.
Quotas: IAM User Guide, "IAM and AWS STS quotas".
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import IamRole, IamUser, InlinePolicy, PolicyAttachment
from bakehouse.domain.iam import documents, managed_policies, names
from bakehouse.domain.iam.documents import Statement
from bakehouse.domain.iam.names import Kind
from bakehouse.errors import iam

_MAX_INLINE_SIZE = {Kind.USER: 2048, Kind.ROLE: 10_240}
_MAX_ATTACHED = 10


def inline_names(session: Session, owner_id: str) -> list[str]:
    """The names of the inline policies, in order."""
    query = sa.select(InlinePolicy.policy_name).where(InlinePolicy.owner_id == owner_id)
    return list(session.scalars(query.order_by(InlinePolicy.policy_name)))


def get_inline(session: Session, owner_id: str, name: str) -> str:
    """The document of an inline policy; NoSuchEntity."""
    row = session.get(InlinePolicy, (owner_id, name))
    if row is None:
        raise iam.no_such_entity(f"The {_word(owner_id)} policy with name {name[:128]} cannot be found.")
    return row.document


def put_inline(session: Session, owner_id: str, name: str, document: str) -> None:
    """Write an inline policy, over one of the same name."""
    names.check_name(Kind.POLICY, "policyName", name)
    documents.read_identity_policy(document)
    query = sa.select(InlinePolicy.document).where(InlinePolicy.owner_id == owner_id, InlinePolicy.policy_name != name)
    size = documents.size_of(document) + sum(documents.size_of(one) for one in session.scalars(query))
    limit = _MAX_INLINE_SIZE[Kind(owner_id[:4])]
    if size > limit:
        raise iam.limit_exceeded(f"Maximum policy size of {limit} bytes exceeded for {_word(owner_id)}")
    session.merge(InlinePolicy(owner_id=owner_id, policy_name=name, document=document))
    session.flush()


def delete_inline(session: Session, owner_id: str, name: str) -> None:
    """Delete an inline policy; NoSuchEntity."""
    get_inline(session, owner_id, name)
    session.execute(sa.delete(InlinePolicy).where(InlinePolicy.owner_id == owner_id, InlinePolicy.policy_name == name))


def attached_arns(session: Session, owner_id: str) -> list[str]:
    """The managed policies that are attached, in order of their attachment."""
    query = sa.select(PolicyAttachment.policy_arn).where(PolicyAttachment.owner_id == owner_id)
    return list(session.scalars(query.order_by(PolicyAttachment.attached_at, PolicyAttachment.policy_arn)))


def attach(session: Session, account_id: str, owner_id: str, policy_arn: str) -> None:
    """Attach a managed policy; one that is attached already is fine."""
    if managed_policies.find_document(session, account_id, policy_arn) is None:
        raise iam.no_such_entity(f"Policy {policy_arn[:256]} does not exist or is not attachable.")
    attached = attached_arns(session, owner_id)
    if policy_arn in attached:
        return
    if len(attached) >= _MAX_ATTACHED:
        raise iam.limit_exceeded(f"Cannot exceed quota for PoliciesPer{_word(owner_id).title()}: {_MAX_ATTACHED}")
    session.add(PolicyAttachment(owner_id=owner_id, policy_arn=policy_arn))
    session.flush()


def detach(session: Session, owner_id: str, policy_arn: str) -> None:
    """Detach a managed policy; NoSuchEntity."""
    row = session.get(PolicyAttachment, (owner_id, policy_arn))
    if row is None:
        raise iam.no_such_entity(f"Policy {policy_arn[:256]} was not found.")
    session.delete(row)
    session.flush()


def attachment_counts(session: Session, account_id: str, policy_arns: Sequence[str]) -> dict[str, int]:
    """How many of the account's users and roles have each policy."""
    query = sa.select(PolicyAttachment.policy_arn).where(
        PolicyAttachment.policy_arn.in_(policy_arns),
        PolicyAttachment.owner_id.in_(_owner_ids(account_id)),
    )
    return Counter(session.scalars(query))


def owners_of(session: Session, account_id: str, policy_arn: str) -> list[IamUser | IamRole]:
    """The account's users and roles that have a managed policy."""
    owner_ids = sa.select(PolicyAttachment.owner_id).where(PolicyAttachment.policy_arn == policy_arn)
    users = sa.select(IamUser).where(IamUser.account_id == account_id, IamUser.user_id.in_(owner_ids))
    roles = sa.select(IamRole).where(IamRole.account_id == account_id, IamRole.role_id.in_(owner_ids))
    return [
        *session.scalars(users.order_by(IamUser.user_name)),
        *session.scalars(roles.order_by(IamRole.role_name)),
    ]


def _owner_ids(account_id: str) -> sa.CompoundSelect[tuple[str]]:
    return sa.union_all(
        sa.select(IamUser.user_id).where(IamUser.account_id == account_id),
        sa.select(IamRole.role_id).where(IamRole.account_id == account_id),
    )


def check_none_left(session: Session, owner_id: str) -> None:
    """Refuse with DeleteConflict while the owner has policies."""
    if inline_names(session, owner_id):
        raise iam.delete_conflict("Cannot delete entity, must delete policies first.")
    if attached_arns(session, owner_id):
        raise iam.delete_conflict("Cannot delete entity, must detach all policies first.")


def statements_of(session: Session, account_id: str, owner_id: str) -> tuple[Statement, ...]:
    """Everything that the policies of a user or role say."""
    inline = session.scalars(sa.select(InlinePolicy.document).where(InlinePolicy.owner_id == owner_id))
    attached = (
        managed_policies.find_document(session, account_id, policy_arn)
        for policy_arn in attached_arns(session, owner_id)
    )
    return statements_in([*inline, *(document for document in attached if document is not None)])


def statements_in(policy_documents: Iterable[str]) -> tuple[Statement, ...]:
    """Everything that these documents say."""
    return tuple(one for document in policy_documents for one in documents.read_identity_policy(document))


def _word(owner_id: str) -> str:
    return "user" if owner_id.startswith(Kind.USER) else "role"
