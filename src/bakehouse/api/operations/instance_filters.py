"""What instances are filtered by. A filter on what no instance here has (a host, IPv6, an outpost) finds none."""

from collections.abc import Iterable, Mapping
from typing import Any

from bakehouse.api.filters import FilterTable, paths_under


def _nothing(item: Mapping[str, Any]) -> Iterable[Any]:
    """What no interface here has, and the reply has no member for."""
    del item
    return ()


def _off_for_each_interface(item: Mapping[str, Any]) -> Iterable[Any]:
    """What no interface here is, and the reply has no member for."""
    return (False for _ in item["NetworkInterfaces"])


def _zone_of_each_interface(item: Mapping[str, Any]) -> Iterable[Any]:
    return (item["Placement"]["AvailabilityZone"] for _ in item["NetworkInterfaces"])


INSTANCE_FILTERS = FilterTable(
    item="Reservations[].Instances[]",
    paths={
        "affinity": "Placement.Affinity",
        "architecture": "Architecture",
        "availability-zone": "Placement.AvailabilityZone",
        "availability-zone-id": "Placement.AvailabilityZoneId",
        "boot-mode": "BootMode",
        "capacity-reservation-id": "CapacityReservationId",
        "capacity-reservation-specification.capacity-reservation-preference": (
            "CapacityReservationSpecification.CapacityReservationPreference"
        ),
        "client-token": "ClientToken",
        "current-instance-boot-mode": "CurrentInstanceBootMode",
        "dns-name": "PublicDnsName",
        "ebs-optimized": "EbsOptimized",
        "ena-support": "EnaSupport",
        "enclave-options.enabled": "EnclaveOptions.Enabled",
        "group-id": "SecurityGroups[].GroupId",
        "group-name": "SecurityGroups[].GroupName",
        "hibernation-options.configured": "HibernationOptions.Configured",
        "host-id": "Placement.HostId",
        "hypervisor": "Hypervisor",
        "iam-instance-profile.arn": "IamInstanceProfile.Arn",
        "iam-instance-profile.id": "IamInstanceProfile.Id",
        "image-id": "ImageId",
        "instance-id": "InstanceId",
        "instance-lifecycle": "InstanceLifecycle",
        "instance-state-code": "State.Code",
        "instance-state-name": "State.Name",
        "instance-type": "InstanceType",
        "instance.group-id": "SecurityGroups[].GroupId",
        "instance.group-name": "SecurityGroups[].GroupName",
        "ip-address": "PublicIpAddress",
        "ipv6-address": "Ipv6Address",
        "kernel-id": "KernelId",
        "key-name": "KeyName",
        "launch-index": "AmiLaunchIndex",
        "launch-time": "LaunchTime",
        "maintenance-options.auto-recovery": "MaintenanceOptions.AutoRecovery",
        "monitoring-state": "Monitoring.State",
        "network-interface.addresses.association.public-ip": "NetworkInterfaces[].Association.PublicIp",
        "network-interface.addresses.private-ip-address": "NetworkInterfaces[].PrivateIpAddress",
        "network-interface.attachment.instance-id": "InstanceId",
        "network-interface.attachment.instance-owner-id": "NetworkInterfaces[].OwnerId",
        "network-interface.availability-zone": _zone_of_each_interface,
        "network-interface.deny-all-igw-traffic": _off_for_each_interface,
        "network-interface.description": "NetworkInterfaces[].Description",
        "network-interface.group-id": "NetworkInterfaces[].Groups[].GroupId",
        "network-interface.group-name": "NetworkInterfaces[].Groups[].GroupName",
        "network-interface.ipv4-prefixes.ipv4-prefix": "NetworkInterfaces[].Ipv4Prefixes[].Ipv4Prefix",
        "network-interface.ipv6-address": "NetworkInterfaces[].Ipv6Addresses[].Ipv6Address",
        "network-interface.ipv6-addresses.ipv6-address": "NetworkInterfaces[].Ipv6Addresses[].Ipv6Address",
        "network-interface.ipv6-addresses.is-primary-ipv6": "NetworkInterfaces[].Ipv6Addresses[].IsPrimaryIpv6",
        "network-interface.ipv6-native": _off_for_each_interface,
        "network-interface.ipv6-prefixes.ipv6-prefix": "NetworkInterfaces[].Ipv6Prefixes[].Ipv6Prefix",
        "network-interface.mac-address": "NetworkInterfaces[].MacAddress",
        "network-interface.network-interface-id": "NetworkInterfaces[].NetworkInterfaceId",
        "network-interface.operator.managed": "NetworkInterfaces[].Operator.Managed",
        "network-interface.operator.principal": "NetworkInterfaces[].Operator.Principal",
        "network-interface.outpost-arn": _nothing,
        "network-interface.owner-id": "NetworkInterfaces[].OwnerId",
        "network-interface.private-dns-name": "NetworkInterfaces[].PrivateDnsName",
        "network-interface.private-ip-address": "NetworkInterfaces[].PrivateIpAddress",
        "network-interface.public-dns-name": "NetworkInterfaces[].Association.PublicDnsName",
        "network-interface.requester-id": _nothing,
        "network-interface.requester-managed": _off_for_each_interface,
        "network-interface.source-dest-check": "NetworkInterfaces[].SourceDestCheck",
        "network-interface.status": "NetworkInterfaces[].Status",
        "network-interface.subnet-id": "NetworkInterfaces[].SubnetId",
        "network-interface.vpc-id": "NetworkInterfaces[].VpcId",
        "network-performance-options.bandwidth-weighting": "NetworkPerformanceOptions.BandwidthWeighting",
        "operator.managed": "Operator.Managed",
        "operator.principal": "Operator.Principal",
        "outpost-arn": "OutpostArn",
        "placement-group-name": "Placement.GroupName",
        "placement-partition-number": "Placement.PartitionNumber",
        "platform": "Platform",
        "platform-details": "PlatformDetails",
        "private-dns-name": "PrivateDnsName",
        "private-ip-address": "PrivateIpAddress",
        "product-code": "ProductCodes[].ProductCodeId",
        "product-code.type": "ProductCodes[].ProductCodeType",
        "ramdisk-id": "RamdiskId",
        "reason": "StateTransitionReason",
        "root-device-name": "RootDeviceName",
        "root-device-type": "RootDeviceType",
        "source-dest-check": "SourceDestCheck",
        "spot-instance-request-id": "SpotInstanceRequestId",
        "state-reason-code": "StateReason.Code",
        "state-reason-message": "StateReason.Message",
        "subnet-id": "SubnetId",
        "tenancy": "Placement.Tenancy",
        "tpm-support": "TpmSupport",
        "usage-operation": "UsageOperation",
        "usage-operation-update-time": "UsageOperationUpdateTime",
        "virtualization-type": "VirtualizationType",
        "vpc-id": "VpcId",
        **paths_under(
            "capacity-reservation-specification.capacity-reservation-target",
            "CapacityReservationSpecification.CapacityReservationTarget",
            {
                "capacity-reservation-id": "CapacityReservationId",
                "capacity-reservation-resource-group-arn": "CapacityReservationResourceGroupArn",
            },
        ),
        **paths_under(
            "network-interface.addresses",
            "NetworkInterfaces[].PrivateIpAddresses[]",
            {
                "association.carrier-ip": "Association.CarrierIp",
                "association.customer-owned-ip": "Association.CustomerOwnedIp",
                "association.ip-owner-id": "Association.IpOwnerId",
                "association.public-dns-name": "Association.PublicDnsName",
                "primary": "Primary",
                "private-dns-name": "PrivateDnsName",
            },
        ),
        **paths_under(
            "private-dns-name-options",
            "PrivateDnsNameOptions",
            {
                "enable-resource-name-dns-a-record": "EnableResourceNameDnsARecord",
                "enable-resource-name-dns-aaaa-record": "EnableResourceNameDnsAAAARecord",
                "hostname-type": "HostnameType",
            },
        ),
        **paths_under(
            "metadata-options",
            "MetadataOptions",
            {
                "http-endpoint": "HttpEndpoint",
                "http-protocol-ipv4": "HttpEndpoint",
                "http-protocol-ipv6": "HttpProtocolIpv6",
                "http-put-response-hop-limit": "HttpPutResponseHopLimit",
                "http-tokens": "HttpTokens",
                "instance-metadata-tags": "InstanceMetadataTags",
                "state": "State",
            },
        ),
        **paths_under(
            "network-interface.attachment",
            "NetworkInterfaces[].Attachment",
            {
                "attach-time": "AttachTime",
                "attachment-id": "AttachmentId",
                "delete-on-termination": "DeleteOnTermination",
                "device-index": "DeviceIndex",
                "network-card-index": "NetworkCardIndex",
                "status": "Status",
            },
        ),
        **paths_under(
            "network-interface.association",
            "NetworkInterfaces[].Association",
            {
                "carrier-ip": "CarrierIp",
                "customer-owned-ip": "CustomerOwnedIp",
                "ip-owner-id": "IpOwnerId",
                "public-dns-name": "PublicDnsName",
                "public-ip": "PublicIp",
            },
        ),
        **paths_under(
            "block-device-mapping",
            "BlockDeviceMappings[]",
            {
                "attach-time": "Ebs.AttachTime",
                "delete-on-termination": "Ebs.DeleteOnTermination",
                "device-name": "DeviceName",
                "status": "Ebs.Status",
                "volume-id": "Ebs.VolumeId",
            },
        ),
    },
    outer={"owner-id": "OwnerId", "requester-id": "RequesterId", "reservation-id": "ReservationId"},
    tags="Tags",
)
