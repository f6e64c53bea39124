"""Since when a guest has been silent."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("instances", sa.Column("unreachable_since", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.drop_column("instances", "unreachable_since")
