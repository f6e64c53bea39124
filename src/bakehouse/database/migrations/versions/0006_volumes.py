"""Sets of snapshots, modifications of volumes, exchanges of root volumes."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("snapshots", sa.Column("set_id", sa.String(), nullable=True))
    op.create_index("ix_snapshots_set_id", "snapshots", ["set_id"])
    op.add_column("volumes", sa.Column("auto_enable_io", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "volume_modifications",
        sa.Column("volume_id", sa.String(), primary_key=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("status_message", sa.String(), nullable=True),
        sa.Column("progress_percent", sa.Integer(), nullable=False),
        *_figures("original"),
        *_figures("target"),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
    )
    op.create_table(
        "replace_root_volume_tasks",
        sa.Column("task_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.account_id"), nullable=False, index=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False, index=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("snapshot_id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("old_volume_id", sa.String(), nullable=False),
        sa.Column("new_volume_id", sa.String(), nullable=False),
        sa.Column("delete_replaced", sa.Boolean(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
    )


def _figures(which: str) -> list[sa.Column[int] | sa.Column[str]]:
    return [
        sa.Column(f"{which}_size_gib", sa.Integer(), nullable=False),
        sa.Column(f"{which}_type", sa.String(), nullable=False),
        sa.Column(f"{which}_iops", sa.Integer(), nullable=True),
        sa.Column(f"{which}_throughput_mibps", sa.Integer(), nullable=True),
    ]


def downgrade() -> None:
    """Undo."""
    op.drop_table("replace_root_volume_tasks")
    op.drop_table("volume_modifications")
    op.drop_index("ix_snapshots_set_id", "snapshots")
    for table, column in (("volumes", "auto_enable_io"), ("snapshots", "set_id")):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
