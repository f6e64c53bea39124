"""DescribeInstanceTypes and DescribeInstanceTypeOfferings: what is stated is true of our machines."""

from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.domain import vpcs
from bakehouse.domain.instance_types import INSTANCE_TYPES, InstanceType, select_types


def _type_item(one: InstanceType) -> dict[str, Any]:
    return {
        "BareMetal": False,
        "BurstablePerformanceSupported": one.is_burstable,
        "CurrentGeneration": one.is_current_generation,
        "DedicatedHostsSupported": False,
        "EbsInfo": {
            "EbsOptimizedSupport": "unsupported",
            "EncryptionSupport": "unsupported",
            "NvmeSupport": "unsupported",
        },
        "FreeTierEligible": one.is_free_tier,
        "HibernationSupported": False,
        "InstanceStorageSupported": False,
        "InstanceType": one.name,
        "MemoryInfo": {"SizeInMiB": one.memory_mib},
        "NetworkInfo": {
            "EfaSupported": False,
            "Ipv6Supported": False,
            "MaximumNetworkInterfaces": 1,
            "Ipv4AddressesPerInterface": 1,
        },
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "SupportedBootModes": ["legacy-bios", "uefi"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedUsageClasses": ["on-demand"],
        "SupportedVirtualizationTypes": ["hvm"],
        "VCpuInfo": {"DefaultVCpus": one.vcpus, "DefaultCores": one.vcpus, "DefaultThreadsPerCore": 1},
    }


@operation(
    "ec2",
    "DescribeInstanceTypes",
    mutates=False,
    honours=("InstanceTypes",),
    filters=FilterTable(
        item="InstanceTypes[]",
        paths={
            "bare-metal": "BareMetal",
            "burstable-performance-supported": "BurstablePerformanceSupported",
            "current-generation": "CurrentGeneration",
            "free-tier-eligible": "FreeTierEligible",
            "instance-type": "InstanceType",
            "memory-info.size-in-mib": "MemoryInfo.SizeInMiB",
            "processor-info.supported-architecture": "ProcessorInfo.SupportedArchitectures[]",
            "supported-boot-mode": "SupportedBootModes[]",
            "supported-root-device-type": "SupportedRootDeviceTypes[]",
            "supported-usage-class": "SupportedUsageClasses[]",
            "supported-virtualization-type": "SupportedVirtualizationTypes[]",
            "vcpu-info.default-vcpus": "VCpuInfo.DefaultVCpus",
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
    places = vpcs.zone_names(context.region) if kind == "availability-zone" else (context.region,)
    return {
        "InstanceTypeOfferings": [
            {"InstanceType": name, "Location": place, "LocationType": kind}
            for name in INSTANCE_TYPES
            for place in places
        ]
    }
