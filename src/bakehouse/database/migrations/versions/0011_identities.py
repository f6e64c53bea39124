"""Users, roles, instance profiles, policies and sessions; which profile an instance has."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ASSOCIATION = ("instance_profile_id", "instance_profile_arn", "profile_association_id")


def _account() -> sa.Column[str]:
    return sa.Column("account_id", sa.String(12), sa.ForeignKey("accounts.account_id"), nullable=False, index=True)


def _identity(table: str, id_name: str, name: str, *more: sa.Column[Any]) -> None:
    op.create_table(
        table,
        sa.Column(id_name, sa.String(), primary_key=True),
        _account(),
        sa.Column(name, sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        *more,
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("account_id", name, name=f"{table}_by_name"),
    )


def upgrade() -> None:
    """Apply; the keys that are there are the roots'."""
    _identity("iam_users", "user_id", "user_name")
    _identity(
        "iam_roles",
        "role_id",
        "role_name",
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("max_session_duration_s", sa.Integer(), nullable=False),
        sa.Column("trust_policy", sa.String(), nullable=False),
        sa.Column("trusted_ids", sa.JSON(), nullable=False),
    )
    _identity(
        "iam_instance_profiles",
        "profile_id",
        "profile_name",
        sa.Column("role_id", sa.String(), sa.ForeignKey("iam_roles.role_id"), nullable=True, index=True),
    )
    _make_policies()
    op.create_table(
        "iam_tags",
        sa.Column("owner_id", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("value", sa.String(), nullable=False),
    )
    _make_sessions()
    with op.batch_alter_table("access_keys") as batch:
        batch.add_column(sa.Column("user_id", sa.String(), nullable=True))
        batch.create_foreign_key("access_keys_of_user", "iam_users", ["user_id"], ["user_id"])
    op.create_index("ix_access_keys_user_id", "access_keys", ["user_id"])
    for name in _ASSOCIATION:
        op.add_column("instances", sa.Column(name, sa.String(), nullable=True))
    op.add_column("instances", sa.Column("profile_associated_at", UtcDateTime(), nullable=True))
    op.create_index("ix_instances_profile_association_id", "instances", ["profile_association_id"], unique=True)


def _make_policies() -> None:
    _identity(
        "iam_policies",
        "policy_id",
        "policy_name",
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("default_version", sa.Integer(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
    )
    policy = sa.ForeignKey("iam_policies.policy_id", ondelete="CASCADE")
    op.create_table(
        "iam_policy_versions",
        sa.Column("policy_id", sa.String(), policy, primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "iam_inline_policies",
        sa.Column("owner_id", sa.String(), primary_key=True),
        sa.Column("policy_name", sa.String(), primary_key=True),
        sa.Column("document", sa.String(), nullable=False),
    )
    op.create_table(
        "iam_policy_attachments",
        sa.Column("owner_id", sa.String(), primary_key=True),
        sa.Column("policy_arn", sa.String(), primary_key=True, index=True),
        sa.Column("attached_at", UtcDateTime(), nullable=False),
    )


def _make_sessions() -> None:
    op.create_table(
        "key_sessions",
        sa.Column("access_key_id", sa.String(), primary_key=True),
        _account(),
        sa.Column("secret_access_key", sa.String(), nullable=False),
        sa.Column("session_token", sa.String(), nullable=False),
        sa.Column("role_id", sa.String(), nullable=True, index=True),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("session_name", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=True, index=True),
        sa.Column("policies", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False, index=True),
    )


def downgrade() -> None:
    """Undo; the keys of users go with them."""
    op.execute("DELETE FROM access_keys WHERE user_id IS NOT NULL")
    op.drop_index("ix_instances_profile_association_id", "instances")
    for name in (*_ASSOCIATION, "profile_associated_at"):
        op.drop_column("instances", name)
    op.drop_index("ix_access_keys_user_id", "access_keys")
    with op.batch_alter_table("access_keys") as batch:
        batch.drop_constraint("access_keys_of_user", type_="foreignkey")
        batch.drop_column("user_id")
    for table in (
        "key_sessions",
        "iam_tags",
        "iam_policy_attachments",
        "iam_inline_policies",
        "iam_policy_versions",
        "iam_policies",
        "iam_instance_profiles",
        "iam_roles",
        "iam_users",
    ):
        op.drop_table(table)
