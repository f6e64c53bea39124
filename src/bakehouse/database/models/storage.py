"""Snapshots and volumes."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bakehouse.database.models.base import Regional, Row, now


class Snapshot(Regional, Row):
    """A snapshot: its bytes are the manifest of the same id in the block store."""

    __tablename__ = "snapshots"
    snapshot_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    # What it was taken of; the volume may be gone. Imports have none.
    volume_id: Mapped[str | None]
    # What it is a copy of, whose manifest must stay until the copy is complete.
    source_snapshot_id: Mapped[str | None]
    volume_size_gib: Mapped[int]
    # The first of those CreateSnapshots took at the same instant; null when it was taken alone, or for an image.
    set_id: Mapped[str | None] = mapped_column(index=True)
    description: Mapped[str] = mapped_column(default="")
    state: Mapped[str]
    state_message: Mapped[str | None]
    progress_percent: Mapped[int] = mapped_column(default=0)
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[datetime] = mapped_column(default=now)
    completed_at: Mapped[datetime | None]
    is_public: Mapped[bool] = mapped_column(default=False)
    product_codes: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    create_volume_permissions: Mapped[list["CreateVolumePermission"]] = relationship(
        cascade="all, delete-orphan", order_by="CreateVolumePermission.user_id"
    )


class CreateVolumePermission(Row):
    """An account that may read a snapshot it does not own; ``Snapshot.is_public`` holds the group ``all``."""

    __tablename__ = "create_volume_permissions"
    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.snapshot_id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True, index=True)


class Volume(Regional, Row):
    """An EBS volume and its attachment (one at most).

    ``snapshot_id`` is what its overlay lies over; ``captured_snapshot_id`` is the newest completed capture,
    the parent of the next one. ``slot`` is where it sits in the machine.
    """

    __tablename__ = "volumes"
    volume_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    availability_zone: Mapped[str]
    size_gib: Mapped[int]
    volume_type: Mapped[str] = mapped_column(default="gp3")
    iops: Mapped[int | None]
    throughput_mibps: Mapped[int | None]
    snapshot_id: Mapped[str | None]
    captured_snapshot_id: Mapped[str | None]
    state: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    instance_id: Mapped[str | None] = mapped_column(ForeignKey("instances.instance_id"), index=True)
    device_name: Mapped[str | None]
    slot: Mapped[int | None]
    attachment_state: Mapped[str | None]
    attached_at: Mapped[datetime | None]
    delete_on_termination: Mapped[bool] = mapped_column(default=False)
    auto_enable_io: Mapped[bool] = mapped_column(default=False)
    deleted_at: Mapped[datetime | None]
    product_codes: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
