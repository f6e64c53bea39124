"""Which region a row is in."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_REGIONAL = (
    "images",
    "instances",
    "network_interfaces",
    "security_groups",
    "snapshots",
    "subnets",
    "tags",
    "volumes",
    "vpcs",
)
_KEY_PAIR_COLUMNS = "key_pair_id, account_id, key_name, key_type, fingerprint, public_key, created_at"


def upgrade() -> None:
    """Apply: all that was there before is in the one region there was, which the zones' names tell."""
    zone = op.get_bind().execute(sa.text("SELECT availability_zone FROM subnets LIMIT 1")).scalar()
    region = str(zone)[:-1] if zone else "us-east-1"
    for table in _REGIONAL:
        op.add_column(table, sa.Column("region", sa.String(), nullable=False, server_default=region))
    _make_key_pairs_anew(region)


def _make_key_pairs_anew(region: str) -> None:
    """Names are unique in a region now; SQLite changes no constraint in place."""
    op.rename_table("key_pairs", "key_pairs_before")
    op.drop_index("ix_key_pairs_account_id", "key_pairs_before")
    op.create_table(
        "key_pairs",
        sa.Column("key_pair_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), nullable=False, index=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("key_name", sa.String(), nullable=False),
        sa.Column("key_type", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("account_id", "region", "key_name", name="key_pairs_by_name"),
    )
    copy = (
        f"INSERT INTO key_pairs ({_KEY_PAIR_COLUMNS}, region) SELECT {_KEY_PAIR_COLUMNS}, :region FROM key_pairs_before"  # noqa: S608
    )
    op.get_bind().execute(sa.text(copy), {"region": region})
    op.drop_table("key_pairs_before")


def downgrade() -> None:
    """Undo; key pairs' names stay unique in a region."""
    for table in (*_REGIONAL, "key_pairs"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("region")
