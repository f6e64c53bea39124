"""IAM's nouns: users, roles, instance profiles, policies, and the temporary keys of sessions. Global, as IAM is."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Row, now


class IamUser(Row):
    """A user of an account. What is its (policies, keys, tags) hangs on the id, which a new name does not change."""

    __tablename__ = "iam_users"
    __table_args__ = (UniqueConstraint("account_id", "user_name", name="iam_users_by_name"),)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    user_name: Mapped[str]
    path: Mapped[str] = mapped_column(default="/")
    created_at: Mapped[datetime] = mapped_column(default=now)


class IamRole(Row):
    """A role. ``trusted_ids`` maps each user's or role's ARN in the trust policy to the id it had when it was named:
    one that is made anew under the same name is not trusted.
    """

    __tablename__ = "iam_roles"
    __table_args__ = (UniqueConstraint("account_id", "role_name", name="iam_roles_by_name"),)
    role_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    role_name: Mapped[str]
    path: Mapped[str] = mapped_column(default="/")
    description: Mapped[str | None]
    max_session_duration_s: Mapped[int] = mapped_column(default=3600)
    trust_policy: Mapped[str]
    trusted_ids: Mapped[dict[str, str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=now)


class InstanceProfile(Row):
    """What hands a role to instances."""

    __tablename__ = "iam_instance_profiles"
    __table_args__ = (UniqueConstraint("account_id", "profile_name", name="iam_instance_profiles_by_name"),)
    profile_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    profile_name: Mapped[str]
    path: Mapped[str] = mapped_column(default="/")
    role_id: Mapped[str | None] = mapped_column(ForeignKey("iam_roles.role_id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class ManagedPolicy(Row):
    """A customer's managed policy; Amazon's are not rows."""

    __tablename__ = "iam_policies"
    __table_args__ = (UniqueConstraint("account_id", "policy_name", name="iam_policies_by_name"),)
    policy_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    policy_name: Mapped[str]
    path: Mapped[str] = mapped_column(default="/")
    description: Mapped[str | None]
    default_version: Mapped[int] = mapped_column(default=1)
    # The number the newest version got; numbers are never given twice.
    last_version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class ManagedPolicyVersion(Row):
    """One version of a managed policy's document."""

    __tablename__ = "iam_policy_versions"
    policy_id: Mapped[str] = mapped_column(ForeignKey("iam_policies.policy_id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class InlinePolicy(Row):
    """A policy of one user or role alone (``owner_id`` is a user's or role's id)."""

    __tablename__ = "iam_inline_policies"
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    policy_name: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str]


class PolicyAttachment(Row):
    """A managed policy, a customer's or Amazon's, that is attached to a user or role."""

    __tablename__ = "iam_policy_attachments"
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    policy_arn: Mapped[str] = mapped_column(primary_key=True, index=True)
    attached_at: Mapped[datetime] = mapped_column(default=now)


class IdentityTag(Row):
    """A tag of a user, role, instance profile or managed policy."""

    __tablename__ = "iam_tags"
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class KeySession(Row):
    """A temporary key: somebody acting as a role, an instance with its profile's role, or a user for a while.

    Exactly one of ``role_id`` and ``user_id`` is set. ``policies`` are those that the session was narrowed with.
    """

    __tablename__ = "key_sessions"
    access_key_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    secret_access_key: Mapped[str]
    session_token: Mapped[str]
    role_id: Mapped[str | None] = mapped_column(index=True)
    user_id: Mapped[str | None]
    session_name: Mapped[str]
    instance_id: Mapped[str | None] = mapped_column(index=True)
    policies: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column(index=True)
