"""Tags, of every kind of resource."""

from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Regional, Row


class Tag(Regional, Row):
    """A tag. Each account sees only its own tags, also on what another account shares with it."""

    __tablename__ = "tags"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    resource_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    resource_type: Mapped[str]
