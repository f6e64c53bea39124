"""VPCs, subnets, security groups and network interfaces."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bakehouse.database.models.base import Regional, Row, now

if TYPE_CHECKING:
    from bakehouse.database.models.addresses import ElasticAddress
    from bakehouse.database.models.instances import Instance


class Vpc(Regional, Row):
    """A VPC; ``agent_uid_number`` picks the host uid of its namespace agent."""

    __tablename__ = "vpcs"
    vpc_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    cidr_block: Mapped[str]
    is_default: Mapped[bool]
    agent_uid_number: Mapped[int] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Subnet(Regional, Row):
    """A subnet of a VPC, in one availability zone."""

    __tablename__ = "subnets"
    subnet_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.vpc_id"), index=True)
    availability_zone: Mapped[str]
    cidr_block: Mapped[str]
    is_default_for_az: Mapped[bool]
    map_public_ip_on_launch: Mapped[bool]


class SecurityGroup(Regional, Row):
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


class NetworkInterface(Regional, Row):
    """The primary network interface of an instance, with its private and public address.

    ``public_ip`` is its elastic address where it has one; else the one it is given, while its instance runs, because
    ``associates_public_ip``.
    """

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
    associates_public_ip: Mapped[bool] = mapped_column(default=False)
    description: Mapped[str] = mapped_column(default="")
    attached_at: Mapped[datetime] = mapped_column(default=now)
    instance: Mapped["Instance"] = relationship(back_populates="interface")
    elastic_address: Mapped["ElasticAddress | None"] = relationship(back_populates="interface", uselist=False)
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
