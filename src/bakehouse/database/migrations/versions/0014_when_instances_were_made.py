"""When an instance was made, which a start does not change as it does the time of its launch."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# SQLite adds no column that must have a value without one for the rows that are there; each gets its own at once.
_NEVER_SEEN = "1970-01-01 00:00:00"


def upgrade() -> None:
    """Apply: the instances of a reservation were made together, before the first of them was started again."""
    op.add_column("instances", sa.Column("created_at", UtcDateTime(), nullable=False, server_default=_NEVER_SEEN))
    op.execute(
        "UPDATE instances SET created_at = (SELECT min(others.launched_at) FROM instances AS others "
        "WHERE others.reservation_id = instances.reservation_id)"
    )


def downgrade() -> None:
    """Undo."""
    op.drop_column("instances", "created_at")
