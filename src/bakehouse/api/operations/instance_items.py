"""How an instance looks to clients: row -> the model's Instance shape. States only what is true."""

from collections.abc import Sequence
from typing import Any

from bakehouse.database.models import Instance, NetworkInterface, Volume
from bakehouse.domain import instance_types
from bakehouse.domain.instances import STATE_CODES, State
from bakehouse.domain.vpcs import zone_id
from bakehouse.network.names import private_dns_name, public_dns_name

Item = dict[str, Any]

# Names are made of addresses here, in every subnet.
PRIVATE_DNS_NAME_OPTIONS = {
    "EnableResourceNameDnsAAAARecord": False,
    "EnableResourceNameDnsARecord": False,
    "HostnameType": "ip-name",
}
# What is so of every instance.
_COMMON = {
    "Architecture": "x86_64",
    "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
    "EnaSupport": True,
    "EnclaveOptions": {"Enabled": False},
    "HibernationOptions": {"Configured": False},
    "Hypervisor": "xen",
    "MaintenanceOptions": {"AutoRecovery": "default"},
    "NetworkPerformanceOptions": {"BandwidthWeighting": "default"},
    "Operator": {"Managed": False},
    "PlatformDetails": "Linux/UNIX",
    "PrivateDnsNameOptions": PRIVATE_DNS_NAME_OPTIONS,
    "RootDeviceType": "ebs",
    "UsageOperation": "RunInstances",
    "VirtualizationType": "hvm",
}


def state_item(state: str) -> Item:
    """The InstanceState shape: EC2's numeric code and name."""
    return {"Code": STATE_CODES[State(state)], "Name": state}


def group_items(interface: NetworkInterface, group_names: dict[str, str]) -> list[Item]:
    """The GroupIdentifier list of an interface, in the order the groups were given."""
    return [
        {"GroupId": member.group_id, "GroupName": group_names[member.group_id]}
        for member in interface.groups
        if member.group_id in group_names
    ]


def block_device_item(volume: Volume) -> Item:
    """The InstanceBlockDeviceMapping shape of an attached volume."""
    return {
        "DeviceName": volume.device_name,
        "Ebs": {
            "AttachTime": volume.attached_at,
            "DeleteOnTermination": volume.delete_on_termination,
            "Status": volume.attachment_state,
            "VolumeId": volume.volume_id,
        },
    }


def association_item(interface: NetworkInterface) -> Item | None:
    """The association of an interface with its public address, elastic or not."""
    if interface.public_ip is None:
        return None
    owner = "amazon" if interface.elastic_address is None else interface.elastic_address.account_id
    return {"IpOwnerId": owner, "PublicDnsName": public_name(interface), "PublicIp": interface.public_ip}


def public_name(interface: NetworkInterface) -> str:
    """The name that guests of the VPC know a public address by; empty without one."""
    return public_dns_name(interface.public_ip, interface.region) if interface.public_ip else ""


def interface_item(interface: NetworkInterface, group_names: dict[str, str], source_dest_check: bool) -> Item:
    """The InstanceNetworkInterface shape."""
    dns_name = private_dns_name(interface.private_ip, interface.region)
    address = {
        "Association": association_item(interface),
        "Primary": True,
        "PrivateDnsName": dns_name,
        "PrivateIpAddress": interface.private_ip,
    }
    return {
        "Association": association_item(interface),
        "Attachment": {
            "AttachTime": interface.attached_at,
            "AttachmentId": interface.attachment_id,
            "DeleteOnTermination": True,
            "DeviceIndex": 0,
            "NetworkCardIndex": 0,
            "Status": "attached",
        },
        "Description": interface.description,
        "Groups": group_items(interface, group_names),
        "InterfaceType": "interface",
        "Ipv6Addresses": [],
        "MacAddress": interface.mac_address,
        "NetworkInterfaceId": interface.interface_id,
        "Operator": {"Managed": False},
        "OwnerId": interface.account_id,
        "PrivateDnsName": dns_name,
        "PrivateIpAddress": interface.private_ip,
        "PrivateIpAddresses": [address],
        "SourceDestCheck": source_dest_check,
        "Status": "in-use",
        "SubnetId": interface.subnet_id,
        "VpcId": interface.vpc_id,
    }


def instance_item(instance: Instance, tags: Sequence[Item], group_names: dict[str, str]) -> Item:
    """The Instance shape of one row; a terminated instance has no network and no volumes any more."""
    item: Item = {
        **_COMMON,
        "AmiLaunchIndex": instance.ami_launch_index,
        "BlockDeviceMappings": [block_device_item(volume) for volume in instance.volumes],
        "BootMode": instance.boot_mode,
        "ClientToken": instance.client_token or "",
        "CurrentInstanceBootMode": instance.boot_mode,
        "EbsOptimized": instance.ebs_optimized,
        "IamInstanceProfile": profile_item(instance),
        "ImageId": instance.image_id,
        "InstanceId": instance.instance_id,
        "InstanceType": instance.instance_type,
        "KeyName": instance.key_name,
        "LaunchTime": instance.launched_at,
        "MetadataOptions": {"State": "applied", **instance.metadata_options},
        "Monitoring": {"State": instance.monitoring},
        "NetworkInterfaces": [],
        "Placement": {
            "AvailabilityZone": instance.availability_zone,
            "AvailabilityZoneId": zone_id(instance.availability_zone),
            "GroupName": "",
            "Tenancy": "default",
        },
        "PrivateDnsName": "",
        "ProductCodes": instance.product_codes,
        "PublicDnsName": "",
        "RootDeviceName": instance.root_device_name,
        "SecurityGroups": [],
        "State": state_item(instance.state),
        "StateReason": state_reason_item(instance),
        "StateTransitionReason": instance.state_transition_reason,
        "Tags": list(tags),
    }
    if instance.state != State.TERMINATED:
        cores = instance_types.get_instance_type(instance.instance_type).vcpus
        item["CpuOptions"] = {"CoreCount": cores, "ThreadsPerCore": 1}
    if instance.interface is not None:
        item |= _network_members(instance, instance.interface, group_names)
    return item


def profile_item(instance: Instance) -> Item | None:
    """The IamInstanceProfile shape of an instance that has one."""
    if instance.instance_profile_arn is None:
        return None
    return {"Arn": instance.instance_profile_arn, "Id": instance.instance_profile_id}


def _network_members(instance: Instance, interface: NetworkInterface, group_names: dict[str, str]) -> Item:
    return {
        "NetworkInterfaces": [interface_item(interface, group_names, instance.source_dest_check)],
        "PrivateDnsName": private_dns_name(interface.private_ip, interface.region),
        "PrivateIpAddress": interface.private_ip,
        "PublicDnsName": public_name(interface),
        "PublicIpAddress": interface.public_ip,
        "SecurityGroups": group_items(interface, group_names),
        "SourceDestCheck": instance.source_dest_check,
        "SubnetId": instance.subnet_id,
        "VpcId": instance.vpc_id,
    }


def state_reason_item(instance: Instance) -> Item | None:
    """The StateReason shape, or None while nothing is to be said."""
    if instance.state_reason_code is None:
        return None
    return {"Code": instance.state_reason_code, "Message": instance.state_reason_message}


def state_change_item(instance: Instance, previous: str) -> Item:
    """The InstanceStateChange shape that start, stop and terminate answer with."""
    return {
        "CurrentState": state_item(instance.state),
        "InstanceId": instance.instance_id,
        "PreviousState": state_item(previous),
    }
