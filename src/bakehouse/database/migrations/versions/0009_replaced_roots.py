"""What an instance was before its root was replaced."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLE = "replace_root_volume_tasks"


def upgrade() -> None:
    """Apply; no task was ever written without."""
    op.add_column(_TABLE, sa.Column("boot_mode", sa.String(), nullable=True))
    for name in ("replaced_image_id", "replaced_boot_mode"):
        op.add_column(_TABLE, sa.Column(name, sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table(_TABLE) as batch:
        for name in ("boot_mode", "replaced_image_id", "replaced_boot_mode"):
            batch.drop_column(name)
