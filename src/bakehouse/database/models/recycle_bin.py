"""Recycle Bin: the rules that keep what is deleted, and what they keep."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Regional, Row, now


class RetentionRule(Regional, Row):
    """A retention rule. Without ``resource_tags`` it is for a whole region, but for what has an excluded tag.

    Tags are lists in the API's shape. ``unlock_delay_days`` is set while the rule is locked or about to be unlocked;
    ``unlocks_at`` from the request to unlock it on.
    """

    __tablename__ = "retention_rules"
    identifier: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    resource_type: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    retention_days: Mapped[int]
    resource_tags: Mapped[list[dict[str, Any]]]
    exclude_resource_tags: Mapped[list[dict[str, Any]]]
    tags: Mapped[dict[str, Any]]
    unlock_delay_days: Mapped[int | None]
    unlocks_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class BinEntry(Regional, Row):
    """A deleted image or snapshot that can be restored.

    The row of a snapshot is gone, so that nothing finds it, and ``contents`` has its columns; an image's row stays,
    deregistered, and ``contents`` has what deregistering takes from it. Both have their tags and permissions there.
    """

    __tablename__ = "bin_entries"
    resource_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    resource_type: Mapped[str]
    contents: Mapped[dict[str, Any]]
    entered_at: Mapped[datetime] = mapped_column(default=now)
    exits_at: Mapped[datetime] = mapped_column(index=True)
