"""What is, or was last, done to volumes: modifications, and exchanges of instances' roots."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Regional, Row, now


class VolumeModification(Regional, Row):
    """The newest change of a volume's size, type or performance: what it had, what it is to have, how far it is."""

    __tablename__ = "volume_modifications"
    volume_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    status_message: Mapped[str | None]
    progress_percent: Mapped[int] = mapped_column(default=0)
    original_size_gib: Mapped[int]
    original_type: Mapped[str]
    original_iops: Mapped[int | None]
    original_throughput_mibps: Mapped[int | None]
    target_size_gib: Mapped[int]
    target_type: Mapped[str]
    target_iops: Mapped[int | None]
    target_throughput_mibps: Mapped[int | None]
    started_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class ReplaceRootVolumeTask(Regional, Row):
    """An exchange of an instance's root volume; it is forgotten with its instance."""

    __tablename__ = "replace_root_volume_tasks"
    task_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    instance_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    # What the new root is made of; image and boot mode only where the client named an image.
    snapshot_id: Mapped[str]
    image_id: Mapped[str | None]
    boot_mode: Mapped[str | None]
    # What the instance was before, should it have to be so again.
    replaced_image_id: Mapped[str]
    replaced_boot_mode: Mapped[str]
    old_volume_id: Mapped[str]
    new_volume_id: Mapped[str]
    delete_replaced: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime] = mapped_column(default=now)
    completed_at: Mapped[datetime | None]
