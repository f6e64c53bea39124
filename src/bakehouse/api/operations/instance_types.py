"""DescribeInstanceTypes and DescribeInstanceTypeOfferings: what is stated is true of our machines."""

from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.domain import vpcs
from bakehouse.domain.instance_types import INSTANCE_TYPES, InstanceType, select_types
from bakehouse.domain.volumes import MAX_ATTACHED


def _type_item(one: InstanceType) -> dict[str, Any]:
    return {
        "AutoRecoverySupported": False,
        "BareMetal": False,
        # Nothing is throttled here, so there are no CPU credits, whatever the family.
        "BurstablePerformanceSupported": False,
        "CurrentGeneration": one.is_current_generation,
        "DedicatedHostsSupported": False,
        "EbsInfo": {
            "AttachmentLimitType": "dedicated",
            "EbsOptimizedSupport": "unsupported",
            "EncryptionSupport": "unsupported",
            "MaximumEbsAttachments": MAX_ATTACHED,
            "NvmeSupport": "unsupported",
        },
        "FreeTierEligible": one.is_free_tier,
        "HibernationSupported": False,
        "InstanceStorageSupported": False,
        "InstanceType": one.name,
        "MemoryInfo": {"SizeInMiB": one.memory_mib},
        "NetworkInfo": {
            "DefaultNetworkCardIndex": 0,
            "EfaSupported": False,
            "EnaSrdSupported": False,
            "EnaSupport": "unsupported",
            "EncryptionInTransitSupported": False,
            "FlexibleEnaQueuesSupport": "unsupported",
            "Ipv4AddressesPerInterface": 1,
            "Ipv6AddressesPerInterface": 0,
            "Ipv6Supported": False,
            "MaximumNetworkCards": 1,
            "MaximumNetworkInterfaces": 1,
            "NetworkCards": [{"MaximumNetworkInterfaces": 1, "NetworkCardIndex": 0}],
        },
        "NitroEnclavesSupport": "unsupported",
        "NitroTpmSupport": "unsupported",
        "PhcSupport": "unsupported",
        "PlacementGroupInfo": {"SupportedStrategies": []},
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "RebootMigrationSupport": "unsupported",
        "SupportedBootModes": ["legacy-bios", "uefi"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedUsageClasses": ["on-demand"],
        "SupportedVirtualizationTypes": ["hvm"],
        "VCpuInfo": {
            "DefaultCores": one.vcpus,
            "DefaultThreadsPerCore": 1,
            "DefaultVCpus": one.vcpus,
            "ValidCores": [one.vcpus],
            "ValidThreadsPerCore": [1],
        },
    }


@operation(
    "ec2",
    "DescribeInstanceTypes",
    mutates=False,
    honours=("InstanceTypes",),
    own_codes=("InstanceTypes[]",),
    filters=FilterTable(
        item="InstanceTypes[]",
        paths={
            "auto-recovery-supported": "AutoRecoverySupported",
            "bare-metal": "BareMetal",
            "burstable-performance-supported": "BurstablePerformanceSupported",
            "current-generation": "CurrentGeneration",
            "dedicated-hosts-supported": "DedicatedHostsSupported",
            "ebs-info.attachment-limit-type": "EbsInfo.AttachmentLimitType",
            "ebs-info.ebs-optimized-support": "EbsInfo.EbsOptimizedSupport",
            "ebs-info.encryption-support": "EbsInfo.EncryptionSupport",
            "ebs-info.maximum-ebs-attachments": "EbsInfo.MaximumEbsAttachments",
            "ebs-info.nvme-support": "EbsInfo.NvmeSupport",
            "free-tier-eligible": "FreeTierEligible",
            "hibernation-supported": "HibernationSupported",
            "hypervisor": "Hypervisor",
            "instance-storage-info.disk.count": "InstanceStorageInfo.Disks[].Count",
            "instance-storage-info.disk.size-in-gb": "InstanceStorageInfo.Disks[].SizeInGB",
            "instance-storage-info.disk.type": "InstanceStorageInfo.Disks[].Type",
            "instance-storage-info.encryption-support": "InstanceStorageInfo.EncryptionSupport",
            "instance-storage-info.nvme-support": "InstanceStorageInfo.NvmeSupport",
            "instance-storage-info.total-size-in-gb": "InstanceStorageInfo.TotalSizeInGB",
            "instance-storage-supported": "InstanceStorageSupported",
            "instance-type": "InstanceType",
            "memory-info.size-in-mib": "MemoryInfo.SizeInMiB",
            "network-info.bandwidth-weightings": "NetworkInfo.BandwidthWeightings[]",
            "network-info.efa-info.maximum-efa-interfaces": "NetworkInfo.EfaInfo.MaximumEfaInterfaces",
            "network-info.efa-supported": "NetworkInfo.EfaSupported",
            "network-info.ena-support": "NetworkInfo.EnaSupport",
            "network-info.encryption-in-transit-supported": "NetworkInfo.EncryptionInTransitSupported",
            "network-info.flexible-ena-queues-support": "NetworkInfo.FlexibleEnaQueuesSupport",
            "network-info.ipv4-addresses-per-interface": "NetworkInfo.Ipv4AddressesPerInterface",
            "network-info.ipv6-addresses-per-interface": "NetworkInfo.Ipv6AddressesPerInterface",
            "network-info.ipv6-supported": "NetworkInfo.Ipv6Supported",
            "network-info.maximum-network-cards": "NetworkInfo.MaximumNetworkCards",
            "network-info.maximum-network-interfaces": "NetworkInfo.MaximumNetworkInterfaces",
            "network-info.network-performance": "NetworkInfo.NetworkPerformance",
            "nitro-enclaves-support": "NitroEnclavesSupport",
            "nitro-tpm-info.supported-versions": "NitroTpmInfo.SupportedVersions[]",
            "nitro-tpm-support": "NitroTpmSupport",
            "processor-info.supported-architecture": "ProcessorInfo.SupportedArchitectures[]",
            "processor-info.supported-features": "ProcessorInfo.SupportedFeatures[]",
            "processor-info.sustained-clock-speed-in-ghz": "ProcessorInfo.SustainedClockSpeedInGhz",
            "reboot-migration-support": "RebootMigrationSupport",
            "supported-boot-mode": "SupportedBootModes[]",
            "supported-root-device-type": "SupportedRootDeviceTypes[]",
            "supported-usage-class": "SupportedUsageClasses[]",
            "supported-virtualization-type": "SupportedVirtualizationTypes[]",
            "vcpu-info.default-cores": "VCpuInfo.DefaultCores",
            "vcpu-info.default-threads-per-core": "VCpuInfo.DefaultThreadsPerCore",
            "vcpu-info.default-vcpus": "VCpuInfo.DefaultVCpus",
            "vcpu-info.valid-cores": "VCpuInfo.ValidCores[]",
            "vcpu-info.valid-threads-per-core": "VCpuInfo.ValidThreadsPerCore[]",
        },
    ),
    paged=Paged(result="InstanceTypes", minimum=5, maximum=100, ids=("InstanceTypes",), key="InstanceType"),
)
def describe_instance_types(context: RequestContext, request: Parameters) -> Reply:
    """List the types."""
    del context
    return {"InstanceTypes": [_type_item(one) for one in select_types(request.get("InstanceTypes", []))]}


@operation(
    "ec2",
    "DescribeInstanceTypeOfferings",
    mutates=False,
    honours=("LocationType",),
    filters=FilterTable(
        item="InstanceTypeOfferings[]", paths={"instance-type": "InstanceType", "location": "Location"}
    ),
    paged=Paged(result="InstanceTypeOfferings", minimum=5, maximum=1000, key=("InstanceType", "Location")),
)
def describe_instance_type_offerings(context: RequestContext, request: Parameters) -> Reply:
    """Every type is offered in every zone."""
    kind = request.get("LocationType", "region")
    zones = vpcs.zone_names(context.region)
    places = {
        "availability-zone": zones,
        "availability-zone-id": tuple(vpcs.zone_id(zone) for zone in zones),
        "outpost": (),
    }.get(kind, (context.region,))
    return {
        "InstanceTypeOfferings": [
            {"InstanceType": name, "Location": place, "LocationType": kind}
            for name in INSTANCE_TYPES
            for place in places
        ]
    }
