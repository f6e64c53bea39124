"""Systems Manager parameters and their versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bakehouse.database.models.base import Regional, Row, now


class Parameter(Regional, Row):
    """A parameter by its name. ``tags`` are its own: EC2's DescribeTags does not know them."""

    __tablename__ = "parameters"
    parameter_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    name: Mapped[str]
    parameter_type: Mapped[str]
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict)
    versions: Mapped[list["ParameterVersion"]] = relationship(
        cascade="all, delete-orphan", order_by="ParameterVersion.version", lazy="selectin"
    )

    __table_args__ = (UniqueConstraint("account_id", "region", "name"),)


class ParameterVersion(Row):
    """One value of a parameter. ``value`` is UTF-8, or of a SecureString what the service's key made of it."""

    __tablename__ = "parameter_versions"
    parameter_id: Mapped[str] = mapped_column(ForeignKey("parameters.parameter_id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    data_type: Mapped[str]
    tier: Mapped[str]
    description: Mapped[str | None]
    key_id: Mapped[str | None]
    labels: Mapped[list[str]] = mapped_column(JSON, default=list)
    modified_at: Mapped[datetime] = mapped_column(default=now)
    modified_by: Mapped[str]
