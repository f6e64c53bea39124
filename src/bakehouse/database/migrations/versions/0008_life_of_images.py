"""Deprecation, protection and last launch of images."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MOMENTS = ("last_launched_at", "deprecate_at", "protected_until")


def upgrade() -> None:
    """Apply."""
    for name in _MOMENTS:
        op.add_column("images", sa.Column(name, UtcDateTime(), nullable=True))
    protection = sa.Column("deregistration_protection", sa.String(), nullable=False, server_default="disabled")
    op.add_column("images", protection)


def downgrade() -> None:
    """Undo."""
    for name in (*_MOMENTS, "deregistration_protection"):
        op.drop_column("images", name)
