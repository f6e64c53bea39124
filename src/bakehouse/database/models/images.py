"""Images and with whom they are shared."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bakehouse.database.models.base import Regional, Row, now


class Image(Regional, Row):
    """An AMI. ``block_device_mappings`` is a list in the API's own shape, root first."""

    __tablename__ = "images"
    image_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    state: Mapped[str]
    state_reason_code: Mapped[str | None]
    state_reason_message: Mapped[str | None]
    is_public: Mapped[bool] = mapped_column(default=False)
    architecture: Mapped[str] = mapped_column(default="x86_64")
    boot_mode: Mapped[str] = mapped_column(default="legacy-bios")
    root_device_name: Mapped[str]
    block_device_mappings: Mapped[list[dict[str, Any]]]
    source_instance_id: Mapped[str | None]
    # What it was copied from, or the image of the instance it was taken of.
    source_image_id: Mapped[str | None]
    source_image_region: Mapped[str | None]
    imds_support: Mapped[str | None]
    # In the API's shape. They are never taken back, and what is made of the image has them too.
    product_codes: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_launched_at: Mapped[datetime | None]
    # When its owner wants it deprecated; a public image is after two years in any case.
    deprecate_at: Mapped[datetime | None]
    deregistration_protection: Mapped[str] = mapped_column(default="disabled")
    # The end of the cooldown after a protection that had one.
    protected_until: Mapped[datetime | None]
    deregistered_at: Mapped[datetime | None]
    launch_permissions: Mapped[list["LaunchPermission"]] = relationship(cascade="all, delete-orphan")

    # A name is free again once its image is deregistered; the domain checks, the index speeds it up.
    __table_args__ = (Index("images_by_name", "account_id", "name"),)


class LaunchPermission(Row):
    """Who may launch an image besides its owner; ``Image.is_public`` holds the group ``all``.

    ``grantee`` is an account's id, or the ARN of an organization or of an organizational unit.
    """

    __tablename__ = "launch_permissions"
    image_id: Mapped[str] = mapped_column(ForeignKey("images.image_id"), primary_key=True)
    grantee: Mapped[str] = mapped_column(primary_key=True, index=True)
