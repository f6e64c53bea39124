"""Images and with whom they are shared."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

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
    # Which network drivers its guests have, as whoever registered it says.
    ena_support: Mapped[bool] = mapped_column(default=True)
    sriov_net_support: Mapped[str | None]
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
    snapshots_named: Mapped[list["ImageSnapshot"]] = relationship(cascade="all, delete-orphan")

    # A name is free again once its image is deregistered; the domain checks, the index speeds it up.
    __table_args__ = (Index("images_by_name", "account_id", "name"),)

    @validates("block_device_mappings")
    def _name_snapshots(self, _key: str, mappings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Whoever sets the mappings sets by that which snapshots can be asked for."""
        wanted = dict.fromkeys(snapshot_ids_in(mappings))
        stay = [one for one in self.snapshots_named if one.snapshot_id in wanted]
        new = [name for name in wanted if name not in {one.snapshot_id for one in stay}]
        self.snapshots_named[:] = [*stay, *(ImageSnapshot(snapshot_id=name) for name in new)]
        return mappings


def snapshot_ids_in(mappings: list[dict[str, Any]]) -> list[str]:
    """The snapshots that block device mappings name, each once, in their order."""
    ebs = (mapping.get("Ebs", {}) for mapping in mappings)
    return list(dict.fromkeys(one["SnapshotId"] for one in ebs if "SnapshotId" in one))


class ImageSnapshot(Row):
    """A snapshot that an image's mappings name: the same once more, to be asked for by the snapshot."""

    __tablename__ = "image_snapshots"
    image_id: Mapped[str] = mapped_column(ForeignKey("images.image_id"), primary_key=True)
    snapshot_id: Mapped[str] = mapped_column(primary_key=True, index=True)


class LaunchPermission(Row):
    """Who may launch an image besides its owner; ``Image.is_public`` holds the group ``all``.

    ``grantee`` is an account's id, or the ARN of an organization or of an organizational unit.
    """

    __tablename__ = "launch_permissions"
    image_id: Mapped[str] = mapped_column(ForeignKey("images.image_id"), primary_key=True)
    grantee: Mapped[str] = mapped_column(primary_key=True, index=True)
