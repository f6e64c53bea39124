"""Elastic addresses; which interfaces ask for an automatic public address."""

import sqlalchemy as sa
from alembic import op

from bakehouse.database.models import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: what was launched before is taken to ask for what its subnet gives."""
    op.create_table(
        "elastic_addresses",
        sa.Column("allocation_id", sa.String(), primary_key=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(12), sa.ForeignKey("accounts.account_id"), nullable=False, index=True),
        sa.Column("public_ip", sa.String(), nullable=False, unique=True),
        sa.Column("allocated_at", UtcDateTime(), nullable=False),
        sa.Column("association_id", sa.String(), nullable=True, unique=True),
        sa.Column(
            "interface_id", sa.String(), sa.ForeignKey("network_interfaces.interface_id"), nullable=True, unique=True
        ),
    )
    op.create_table(
        "resting_addresses",
        sa.Column("resting_id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("vpc_id", sa.String(), nullable=False, index=True),
        sa.Column("public_ip", sa.String(), nullable=False),
    )
    column: sa.Column[bool] = sa.Column("associates_public_ip", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("network_interfaces", column)
    op.execute(
        "UPDATE network_interfaces SET associates_public_ip = "
        "(SELECT map_public_ip_on_launch FROM subnets WHERE subnets.subnet_id = network_interfaces.subnet_id)"
    )


def downgrade() -> None:
    """Undo; addresses that were allocated are free."""
    with op.batch_alter_table("network_interfaces") as batch:
        batch.drop_column("associates_public_ip")
    op.drop_table("resting_addresses")
    op.drop_table("elastic_addresses")
