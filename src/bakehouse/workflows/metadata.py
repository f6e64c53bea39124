"""What the metadata service tells an instance about itself, read from its rows at each question."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, NetworkInterface, SecurityGroup, Subnet, Vpc
from bakehouse.database.session import Database
from bakehouse.domain import tags, vpcs
from bakehouse.guest.metadata_tree import GroupName, InstanceMetadata
from bakehouse.network.names import private_dns_name, public_dns_name


def find_metadata(database: Database, vpc_id: str, private_ip: str) -> InstanceMetadata | None:
    """Return what the guest behind an address may know; None for an address nobody has."""
    with database.transaction(mutates=False) as session:
        query = select(NetworkInterface).where(
            NetworkInterface.vpc_id == vpc_id, NetworkInterface.private_ip == private_ip
        )
        interface = session.scalars(query).first()
        return _describe(session, interface) if interface else None


def _describe(session: Session, interface: NetworkInterface) -> InstanceMetadata:
    instance = interface.instance
    options = instance.metadata_options
    own_tags = tags.tags_of(session, instance.account_id, [instance.instance_id])
    return InstanceMetadata(
        instance_id=instance.instance_id,
        account_id=instance.account_id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        reservation_id=instance.reservation_id,
        launched_at=instance.launched_at,
        region=instance.region,
        availability_zone=instance.availability_zone,
        availability_zone_id=vpcs.zone_id(instance.availability_zone),
        architecture="x86_64",
        vpc_id=interface.vpc_id,
        vpc_cidr=session.get_one(Vpc, interface.vpc_id).cidr_block,
        subnet_id=interface.subnet_id,
        subnet_cidr=session.get_one(Subnet, interface.subnet_id).cidr_block,
        interface_id=interface.interface_id,
        mac=interface.mac_address,
        private_ip=interface.private_ip,
        private_dns_name=private_dns_name(interface.private_ip, instance.region),
        public_ip=interface.public_ip,
        public_dns_name=public_dns_name(interface.public_ip, instance.region) if interface.public_ip else None,
        groups=_groups(session, interface),
        key_name=instance.key_name,
        public_key=instance.public_key,
        user_data=instance.user_data,
        block_devices=_block_devices(instance),
        launch_index=instance.ami_launch_index,
        product_codes=tuple(code["ProductCodeId"] for code in instance.product_codes),
        tags={one["Key"]: one["Value"] for one in own_tags.get(instance.instance_id, [])},
        shows_tags=options.get("InstanceMetadataTags") == "enabled",
        is_enabled=options.get("HttpEndpoint") == "enabled",
        requires_token=options.get("HttpTokens") == "required",
        hop_limit=int(options.get("HttpPutResponseHopLimit", 1)),
    )


def _groups(session: Session, interface: NetworkInterface) -> tuple[GroupName, ...]:
    rows = [session.get_one(SecurityGroup, member.group_id) for member in interface.groups]
    return tuple(GroupName(group_id=row.group_id, group_name=row.group_name) for row in rows)


def _block_devices(instance: Instance) -> dict[str, str]:
    root = instance.root_device_name
    others = [one.device_name for one in instance.volumes if one.device_name and one.device_name != root]
    named = {f"ebs{number}": name.removeprefix("/dev/") for number, name in enumerate(others, 1)}
    return {"ami": root.removeprefix("/dev/"), "root": root, **named}
