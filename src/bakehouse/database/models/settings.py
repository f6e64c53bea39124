"""What an account has set for itself in a region."""

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Regional, Row


class RegionSetting(Regional, Row):
    """One setting of an account in a region; absent while it is the default. See domain/region_settings.py."""

    __tablename__ = "region_settings"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    region: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
