"""Launch templates and their versions."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "launch_templates",
        sa.Column("launch_template_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(12), sa.ForeignKey("accounts.account_id"), nullable=False, index=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("default_version_number", sa.Integer(), nullable=False),
        sa.Column("latest_version_number", sa.Integer(), nullable=False),
        sa.Column("last_version_number", sa.Integer(), nullable=False),
        sa.UniqueConstraint("account_id", "region", "name", name="launch_templates_by_name"),
    )
    template = sa.ForeignKey("launch_templates.launch_template_id")
    op.create_table(
        "launch_template_versions",
        sa.Column("launch_template_id", sa.String(), template, primary_key=True),
        sa.Column("version_number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("launch_template_versions")
    op.drop_table("launch_templates")
