"""Instances."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bakehouse.database.models.base import Regional, Row, now

if TYPE_CHECKING:
    from bakehouse.database.models.networks import NetworkInterface
    from bakehouse.database.models.storage import Volume


class Instance(Regional, Row):
    """An EC2 instance: the record, not the QEMU process (that is the *machine*)."""

    __tablename__ = "instances"
    instance_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    reservation_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    state_reason_code: Mapped[str | None]
    state_reason_message: Mapped[str | None]
    state_transition_reason: Mapped[str] = mapped_column(default="")
    instance_type: Mapped[str]
    image_id: Mapped[str]
    boot_mode: Mapped[str]
    machine_uuid: Mapped[str]
    # Picks the host uid of the machine when the service runs as root; free again after termination.
    uid_number: Mapped[int | None] = mapped_column(unique=True)
    vpc_id: Mapped[str]
    subnet_id: Mapped[str]
    availability_zone: Mapped[str]
    key_name: Mapped[str | None]
    # The key as it was at launch: deleting the key pair later changes nothing for the instance.
    public_key: Mapped[str | None]
    user_data: Mapped[bytes | None] = mapped_column(LargeBinary)
    root_device_name: Mapped[str]
    ami_launch_index: Mapped[int] = mapped_column(default=0)
    client_token: Mapped[str | None]
    # The same for all of a reservation, and for ever; lists go by it.
    created_at: Mapped[datetime] = mapped_column(default=now)
    # Since when it has been up, or will be: each start sets it.
    launched_at: Mapped[datetime] = mapped_column(default=now)
    terminated_at: Mapped[datetime | None]
    disable_api_termination: Mapped[bool] = mapped_column(default=False)
    disable_api_stop: Mapped[bool] = mapped_column(default=False)
    shutdown_behavior: Mapped[str] = mapped_column(default="stop")
    ebs_optimized: Mapped[bool] = mapped_column(default=False)
    source_dest_check: Mapped[bool] = mapped_column(default=True)
    monitoring: Mapped[str] = mapped_column(default="disabled")
    metadata_options: Mapped[dict[str, Any]]
    product_codes: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # The instance profile that is associated, if one is; the ARN stays true when the profile is gone.
    instance_profile_id: Mapped[str | None]
    instance_profile_arn: Mapped[str | None]
    profile_association_id: Mapped[str | None] = mapped_column(unique=True, index=True)
    profile_associated_at: Mapped[datetime | None]
    # When the running machine was first seen to answer (guest agent or network); null until then.
    reachable_at: Mapped[datetime | None]
    # Since when the running machine has been found to answer to nothing, for too long; null when it is well.
    unreachable_since: Mapped[datetime | None]
    interface: Mapped["NetworkInterface | None"] = relationship(back_populates="instance", uselist=False)
    volumes: Mapped[list["Volume"]] = relationship(order_by="Volume.slot")
