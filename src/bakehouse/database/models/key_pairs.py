"""Key pairs."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Regional, Row, now


class KeyPair(Regional, Row):
    """A public key; we never keep the private half."""

    __tablename__ = "key_pairs"
    __table_args__ = (UniqueConstraint("account_id", "region", "key_name"),)
    key_pair_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(index=True)
    key_name: Mapped[str]
    key_type: Mapped[str]
    fingerprint: Mapped[str]
    public_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
