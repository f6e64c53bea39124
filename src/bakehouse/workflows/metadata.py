"""What the metadata service tells an instance about itself, read from its rows at each question."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, NetworkInterface, SecurityGroup, Subnet, Vpc
from bakehouse.database.session import Database
from bakehouse.domain import tags, vpcs
from bakehouse.domain.iam import sessions
from bakehouse.guest.metadata_tree import GroupName, InstanceMetadata, ProfileMetadata, RoleCredentials
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
        profile=_profile(session, instance),
        launch_index=instance.ami_launch_index,
        product_codes=tuple(code["ProductCodeId"] for code in instance.product_codes),
        tags={one["Key"]: one["Value"] for one in own_tags.get(instance.instance_id, [])},
        shows_tags=options.get("InstanceMetadataTags") == "enabled",
        is_enabled=options.get("HttpEndpoint") == "enabled",
        requires_token=options.get("HttpTokens") == "required",
        hop_limit=int(options.get("HttpPutResponseHopLimit", 1)),
    )


def mint_credentials(database: Database, instance_id: str) -> RoleCredentials | None:
    """Return an instance's keys as its role, the last ones or new ones; None when the role does not trust EC2."""
    with database.transaction() as session:
        instance = session.get_one(Instance, instance_id)
        role = sessions.role_of_instance(session, instance)
        made = sessions.instance_credentials(session, instance, role) if role is not None else None
        if made is None:
            return None
        return RoleCredentials(
            access_key_id=made.access_key_id,
            secret_access_key=made.secret_access_key,
            session_token=made.session_token,
            made_at=made.created_at,
            expires_at=made.expires_at,
        )


def _profile(session: Session, instance: Instance) -> ProfileMetadata | None:
    arn, profile_id, associated_at = (
        instance.instance_profile_arn,
        instance.instance_profile_id,
        instance.profile_associated_at,
    )
    if arn is None or profile_id is None or associated_at is None:
        return None
    role = sessions.role_of_instance(session, instance)
    role_name = role.role_name if role is not None else None
    return ProfileMetadata(arn=arn, profile_id=profile_id, associated_at=associated_at, role_name=role_name)


def _groups(session: Session, interface: NetworkInterface) -> tuple[GroupName, ...]:
    rows = [session.get_one(SecurityGroup, member.group_id) for member in interface.groups]
    return tuple(GroupName(group_id=row.group_id, group_name=row.group_name) for row in rows)


def _block_devices(instance: Instance) -> dict[str, str]:
    root = instance.root_device_name
    others = [one.device_name for one in instance.volumes if one.device_name and one.device_name != root]
    named = {f"ebs{number}": name.removeprefix("/dev/") for number, name in enumerate(others, 1)}
    return {"ami": root.removeprefix("/dev/"), "root": root, **named}
