"""Systems Manager parameters."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "parameters",
        sa.Column("parameter_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.account_id"), nullable=False, index=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("parameter_type", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.UniqueConstraint("account_id", "region", "name"),
    )
    op.create_table(
        "parameter_versions",
        sa.Column("parameter_id", sa.String(), sa.ForeignKey("parameters.parameter_id"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("data_type", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("key_id", sa.String(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("modified_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("modified_by", sa.String(), nullable=False),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("parameter_versions")
    op.drop_table("parameters")
