"""From rows to the frozen values the parts take. Pure: reads rows, decides nothing."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, SecurityGroup, SecurityGroupRule, Subnet, Volume, Vpc
from bakehouse.domain import instance_types
from bakehouse.hypervisor.spec import BootMode, DiskSpec, MachineSpec, NicSpec
from bakehouse.network.spec import GroupSpec, InterfaceSpec, RuleSpec, VpcSpec
from bakehouse.workflows.host import Host

# The machine's first slot is its interface's; volumes follow.
_NIC_SLOT = 0
_AGENT_UIDS_FROM = 65_536


def vpc_spec(host: Host, vpc: Vpc) -> VpcSpec:
    """A VPC; agents' uids lie above all machines' uids."""
    base = host.settings.uid_base
    return VpcSpec(
        vpc_id=vpc.vpc_id,
        region=vpc.region,
        cidr=vpc.cidr_block,
        agent_uid=base + _AGENT_UIDS_FROM + vpc.agent_uid_number if host.is_root else None,
        uid_base=base if host.is_root else None,
    )


def disk_spec(host: Host, volume: Volume, *, root_device_name: str | None) -> DiskSpec:
    """One volume; its base must be hydrated by now."""
    state = host.settings.state
    return DiskSpec(
        volume_id=volume.volume_id,
        overlay=state.volume(volume.volume_id).disk,
        base=state.base(volume.snapshot_id) if volume.snapshot_id else None,
        serial=volume.volume_id.replace("-", ""),
        slot=(volume.slot or 0) + 1,
        is_boot=volume.device_name == root_device_name,
    )


def machine_spec(host: Host, instance: Instance) -> MachineSpec:
    """A whole machine, with every volume attached to the instance."""
    size = instance_types.get_instance_type(instance.instance_type)
    interface = instance.interface
    assert interface is not None, "a live instance has its interface"
    return MachineSpec(
        instance_id=instance.instance_id,
        uuid=instance.machine_uuid,
        instance_type=instance.instance_type,
        vcpus=size.vcpus,
        memory_mib=size.memory_mib,
        accelerator=host.accelerator,
        # uefi-preferred means UEFI where there is a choice; we have both firmwares.
        boot_mode=BootMode.LEGACY_BIOS if instance.boot_mode == "legacy-bios" else BootMode.UEFI,
        disks=tuple(
            disk_spec(host, volume, root_device_name=instance.root_device_name)
            for volume in instance.volumes
            if volume.attachment_state != "detaching"
        ),
        nics=(NicSpec(interface_id=interface.interface_id, mac=interface.mac_address, slot=_NIC_SLOT),),
        uid=host.uid_of(instance.uid_number),
    )


def interface_spec(session: Session, instance: Instance) -> InterfaceSpec:
    """The instance's network interface."""
    interface = instance.interface
    assert interface is not None, "a live instance has its interface"
    subnet = session.get_one(Subnet, interface.subnet_id)
    return InterfaceSpec(
        interface_id=interface.interface_id,
        vpc_id=interface.vpc_id,
        mac=interface.mac_address,
        private_ip=interface.private_ip,
        subnet_cidr=subnet.cidr_block,
        group_ids=tuple(member.group_id for member in interface.groups),
        public_ip=interface.public_ip,
        hostname=f"ip-{interface.private_ip.replace('.', '-')}",
    )


def _rule_spec(rule: SecurityGroupRule) -> RuleSpec:
    return RuleSpec(
        protocol=rule.ip_protocol,
        from_port=rule.from_port,
        to_port=rule.to_port,
        cidr=rule.cidr_ipv4 or rule.cidr_ipv6,
        group_id=rule.referenced_group_id,
    )


def group_specs(session: Session, vpc_id: str) -> list[GroupSpec]:
    """All security groups of a VPC."""
    groups = session.scalars(select(SecurityGroup).where(SecurityGroup.vpc_id == vpc_id)).all()
    return [
        GroupSpec(
            group_id=group.group_id,
            ingress=tuple(_rule_spec(rule) for rule in group.rules if not rule.is_egress),
            egress=tuple(_rule_spec(rule) for rule in group.rules if rule.is_egress),
        )
        for group in groups
    ]
