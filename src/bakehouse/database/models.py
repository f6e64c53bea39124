"""Every table, in EC2's nouns. Columns hold facts; what a client sees is derived in api/operations.

Invariant: rows change only inside the one transaction of a request or of a workflow step.
Times are timezone-aware UTC. Sizes carry their unit in the name.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware moment; SQLite forgets zones, so they are put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give a value read from the database its zone."""
        del dialect
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def now() -> datetime:
    """The present moment, to the millisecond (EC2's resolution)."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Row(DeclarativeBase):
    """The declarative base of all tables."""

    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[dict[str, Any]]: JSON}  # noqa: RUF012


class Account(Row):
    """A 12-digit account. ``alias`` is what clients may use as an owner (``amazon`` for base images)."""

    __tablename__ = "accounts"
    account_id: Mapped[str] = mapped_column(String(12), primary_key=True)
    alias: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class AccessKey(Row):
    """A key that signs requests. The secret must be kept readable: SigV4 is an HMAC with it."""

    __tablename__ = "access_keys"
    access_key_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    secret_access_key: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class ServiceSecret(Row):
    """Keys the service makes for itself, e.g. the one that authenticates page tokens."""

    __tablename__ = "service_secrets"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class ClientToken(Row):
    """A remembered idempotency token: the digest of the request it came with and the response it got."""

    __tablename__ = "client_tokens"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    response: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Tag(Row):
    """A tag. Each account sees only its own tags, also on what another account shares with it."""

    __tablename__ = "tags"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    resource_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    resource_type: Mapped[str]


class Vpc(Row):
    """A VPC; ``agent_uid_number`` picks the host uid of its namespace agent."""

    __tablename__ = "vpcs"
    vpc_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    cidr_block: Mapped[str]
    is_default: Mapped[bool]
    agent_uid_number: Mapped[int] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Subnet(Row):
    """A subnet of a VPC, in one availability zone."""

    __tablename__ = "subnets"
    subnet_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.vpc_id"), index=True)
    availability_zone: Mapped[str]
    cidr_block: Mapped[str]
    is_default_for_az: Mapped[bool]
    map_public_ip_on_launch: Mapped[bool]


class SecurityGroup(Row):
    """A security group of a VPC."""

    __tablename__ = "security_groups"
    __table_args__ = (UniqueConstraint("vpc_id", "group_name"),)
    group_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.vpc_id"), index=True)
    group_name: Mapped[str]
    description: Mapped[str]
    rules: Mapped[list["SecurityGroupRule"]] = relationship(
        cascade="all, delete-orphan",
        foreign_keys="SecurityGroupRule.group_id",
        order_by="SecurityGroupRule.created_at, SecurityGroupRule.rule_id",
    )


class SecurityGroupRule(Row):
    """One rule: exactly one of cidr_ipv4, cidr_ipv6, referenced_group_id is set. Ports are -1 for 'all'."""

    __tablename__ = "security_group_rules"
    rule_id: Mapped[str] = mapped_column(primary_key=True)
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.group_id"), index=True)
    account_id: Mapped[str]
    is_egress: Mapped[bool]
    ip_protocol: Mapped[str]
    from_port: Mapped[int] = mapped_column(default=-1)
    to_port: Mapped[int] = mapped_column(default=-1)
    cidr_ipv4: Mapped[str | None]
    cidr_ipv6: Mapped[str | None]
    referenced_group_id: Mapped[str | None]
    description: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class KeyPair(Row):
    """A public key; we never keep the private half."""

    __tablename__ = "key_pairs"
    __table_args__ = (UniqueConstraint("account_id", "key_name"),)
    key_pair_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(index=True)
    key_name: Mapped[str]
    key_type: Mapped[str]
    fingerprint: Mapped[str]
    public_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Image(Row):
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
    source_image_id: Mapped[str | None]
    imds_support: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    deregistered_at: Mapped[datetime | None]
    launch_permissions: Mapped[list["LaunchPermission"]] = relationship(cascade="all, delete-orphan")

    # A name is free again once its image is deregistered; the domain checks, the index speeds it up.
    __table_args__ = (Index("images_by_name", "account_id", "name"),)


class LaunchPermission(Row):
    """An account that may launch an image it does not own; ``Image.is_public`` holds the group ``all``."""

    __tablename__ = "launch_permissions"
    image_id: Mapped[str] = mapped_column(ForeignKey("images.image_id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True, index=True)


class Snapshot(Row):
    """A snapshot: its bytes are the manifest of the same id in the block store."""

    __tablename__ = "snapshots"
    snapshot_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    # What it was taken of; the volume may be gone. Imports have none.
    volume_id: Mapped[str | None]
    volume_size_gib: Mapped[int]
    description: Mapped[str] = mapped_column(default="")
    state: Mapped[str]
    state_message: Mapped[str | None]
    progress_percent: Mapped[int] = mapped_column(default=0)
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[datetime] = mapped_column(default=now)
    completed_at: Mapped[datetime | None]


class Volume(Row):
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
    deleted_at: Mapped[datetime | None]


class Instance(Row):
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
    launched_at: Mapped[datetime] = mapped_column(default=now)
    terminated_at: Mapped[datetime | None]
    disable_api_termination: Mapped[bool] = mapped_column(default=False)
    disable_api_stop: Mapped[bool] = mapped_column(default=False)
    shutdown_behavior: Mapped[str] = mapped_column(default="stop")
    ebs_optimized: Mapped[bool] = mapped_column(default=False)
    source_dest_check: Mapped[bool] = mapped_column(default=True)
    monitoring: Mapped[str] = mapped_column(default="disabled")
    metadata_options: Mapped[dict[str, Any]]
    # When the running machine was first seen to answer (guest agent or network); null until then.
    reachable_at: Mapped[datetime | None]
    # Since when the running machine has been found to answer to nothing, for too long; null when it is well.
    unreachable_since: Mapped[datetime | None]
    interface: Mapped["NetworkInterface | None"] = relationship(back_populates="instance", uselist=False)
    volumes: Mapped[list[Volume]] = relationship(order_by="Volume.slot")


class NetworkInterface(Row):
    """The primary network interface of an instance, with its private and public address."""

    __tablename__ = "network_interfaces"
    interface_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(index=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.instance_id"), index=True)
    attachment_id: Mapped[str]
    vpc_id: Mapped[str] = mapped_column(index=True)
    subnet_id: Mapped[str]
    mac_address: Mapped[str]
    private_ip: Mapped[str]
    public_ip: Mapped[str | None] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(default="")
    attached_at: Mapped[datetime] = mapped_column(default=now)
    instance: Mapped[Instance] = relationship(back_populates="interface")
    groups: Mapped[list["InterfaceGroup"]] = relationship(
        cascade="all, delete-orphan", order_by="InterfaceGroup.position"
    )
    __table_args__ = (UniqueConstraint("vpc_id", "private_ip"),)


class InterfaceGroup(Row):
    """Membership of a network interface in a security group, in the order it was given."""

    __tablename__ = "interface_groups"
    interface_id: Mapped[str] = mapped_column(ForeignKey("network_interfaces.interface_id"), primary_key=True)
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.group_id"), primary_key=True, index=True)
    position: Mapped[int]
