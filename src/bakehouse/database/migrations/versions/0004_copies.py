"""What images and snapshots are copies of."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; an image was of its instance's region until now."""
    op.add_column("images", sa.Column("source_image_region", sa.String(), nullable=True))
    op.execute("UPDATE images SET source_image_region = region WHERE source_image_id IS NOT NULL")
    op.add_column("snapshots", sa.Column("source_snapshot_id", sa.String(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.drop_column("images", "source_image_region")
    op.drop_column("snapshots", "source_snapshot_id")
