"""Launch templates and their versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Regional, Row, now


class LaunchTemplate(Regional, Row):
    """A launch template. ``last_version_number`` is the highest ever given out: no number comes twice.

    ``data_bytes`` is what the data of all its versions takes.
    """

    __tablename__ = "launch_templates"
    __table_args__ = (UniqueConstraint("account_id", "region", "name"),)
    launch_template_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str]
    default_version_number: Mapped[int] = mapped_column(default=1)
    latest_version_number: Mapped[int] = mapped_column(default=1)
    last_version_number: Mapped[int] = mapped_column(default=1)
    data_bytes: Mapped[int] = mapped_column(BigInteger, default=0)


class LaunchTemplateVersion(Regional, Row):
    """One version, which never changes. ``data`` is what was given, in the API's shape; it can hold secrets."""

    __tablename__ = "launch_template_versions"
    launch_template_id: Mapped[str] = mapped_column(ForeignKey("launch_templates.launch_template_id"), primary_key=True)
    version_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str]
    data: Mapped[dict[str, Any]]
