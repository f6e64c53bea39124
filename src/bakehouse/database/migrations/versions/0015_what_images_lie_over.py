"""Which snapshots images lie over, the network drivers their guests have, and how much data templates hold."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_IMAGES = sa.table("images", sa.column("image_id", sa.String), sa.column("block_device_mappings", sa.JSON))


def upgrade() -> None:
    """Apply."""
    op.add_column("images", sa.Column("ena_support", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("images", sa.Column("sriov_net_support", sa.String(), nullable=True))
    table = op.create_table(
        "image_snapshots",
        sa.Column("image_id", sa.String(), sa.ForeignKey("images.image_id"), primary_key=True),
        sa.Column("snapshot_id", sa.String(), primary_key=True, index=True),
    )
    op.bulk_insert(table, list(_pairs()))
    op.add_column("launch_templates", sa.Column("data_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    # What is kept is ASCII: as many bytes as characters.
    op.execute(
        "UPDATE launch_templates SET data_bytes = (SELECT COALESCE(SUM(LENGTH(CAST(data AS TEXT))), 0) "
        "FROM launch_template_versions AS version "
        "WHERE version.launch_template_id = launch_templates.launch_template_id)"
    )


def _pairs() -> Iterator[dict[str, str]]:
    for image_id, mappings in op.get_bind().execute(sa.select(_IMAGES.c.image_id, _IMAGES.c.block_device_mappings)):
        found = {mapping.get("Ebs", {}).get("SnapshotId") for mapping in mappings} - {None}
        yield from ({"image_id": image_id, "snapshot_id": snapshot_id} for snapshot_id in sorted(found))


def downgrade() -> None:
    """Undo."""
    op.drop_column("launch_templates", "data_bytes")
    op.drop_table("image_snapshots")
    op.drop_column("images", "sriov_net_support")
    op.drop_column("images", "ena_support")
