"""With whom images and snapshots are shared, product codes, and what an account sets in a region."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WITH_PRODUCT_CODES = ("images", "instances", "snapshots", "volumes")


def upgrade() -> None:
    """Apply."""
    for table in _WITH_PRODUCT_CODES:
        op.add_column(table, sa.Column("product_codes", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("snapshots", sa.Column("is_public", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "create_volume_permissions",
        sa.Column("snapshot_id", sa.String(), sa.ForeignKey("snapshots.snapshot_id"), primary_key=True),
        sa.Column("user_id", sa.String(), primary_key=True, index=True),
    )
    op.create_table(
        "organization_memberships",
        sa.Column("account_id", sa.String(12), sa.ForeignKey("accounts.account_id"), primary_key=True),
        sa.Column("arn", sa.String(), primary_key=True),
    )
    op.create_table(
        "region_settings",
        sa.Column("account_id", sa.String(), primary_key=True),
        sa.Column("region", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("value", sa.JSON(), nullable=False),
    )
    _rename_grantee("user_id", "grantee")


def downgrade() -> None:
    """Undo."""
    _rename_grantee("grantee", "user_id")
    for table in ("region_settings", "organization_memberships", "create_volume_permissions"):
        op.drop_table(table)
    op.drop_column("snapshots", "is_public")
    for table in _WITH_PRODUCT_CODES:
        op.drop_column(table, "product_codes")


def _rename_grantee(before: str, after: str) -> None:
    op.drop_index(f"ix_launch_permissions_{before}", "launch_permissions")
    # Both databases rename a column in place.
    op.execute(f"ALTER TABLE launch_permissions RENAME COLUMN {before} TO {after}")
    op.create_index(f"ix_launch_permissions_{after}", "launch_permissions", [after])
