"""Elastic addresses, and public addresses between two owners."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bakehouse.database.models.base import Regional, Row, now

if TYPE_CHECKING:
    from bakehouse.database.models.networks import NetworkInterface


class ElasticAddress(Regional, Row):
    """A public address that is the account's until it is released. Interface and association come and go together."""

    __tablename__ = "elastic_addresses"
    allocation_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    public_ip: Mapped[str] = mapped_column(unique=True)
    allocated_at: Mapped[datetime] = mapped_column(default=now)
    association_id: Mapped[str | None] = mapped_column(unique=True)
    interface_id: Mapped[str | None] = mapped_column(ForeignKey("network_interfaces.interface_id"), unique=True)
    interface: Mapped["NetworkInterface | None"] = relationship(back_populates="elastic_address")


class RestingAddress(Regional, Row):
    """A public address an interface has lost while its VPC may still listen on it: nobody else is given it yet."""

    __tablename__ = "resting_addresses"
    resting_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    vpc_id: Mapped[str] = mapped_column(index=True)
    public_ip: Mapped[str]
