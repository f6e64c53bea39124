"""RunInstances, DescribeInstances, and start, stop, reboot, terminate."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.launch_authorization import authorize_launch
from bakehouse.api.operations import block_devices
from bakehouse.api.operations.image_alias import with_image_id
from bakehouse.api.operations.instance_filters import INSTANCE_FILTERS
from bakehouse.api.operations.instance_items import instance_item, state_change_item
from bakehouse.api.operations.template_use import TemplateUse, under_request
from bakehouse.api.operations.vpc_network import apply_network
from bakehouse.api.pagination import Paged
from bakehouse.api.protocol.ec2_query import Ec2Query
from bakehouse.api.registry import operation
from bakehouse.api.validation import Validator
from bakehouse.database.models import Instance
from bakehouse.domain import instances, launch_request, lifecycle, metadata_options, security_groups, tags
from bakehouse.errors import ApiError

_TAGGED = ("instance", "volume", "network-interface")
# A request for more than this many instances at once is refused before anything is written.
_MAX_COUNT = 100


@operation(
    "ec2",
    "RunInstances",
    mutates=True,
    honours=(
        *block_devices.HONOURED,
        "DisableApiStop",
        "DisableApiTermination",
        "EbsOptimized",
        "IamInstanceProfile.Arn",
        "IamInstanceProfile.Name",
        "ImageId",
        "InstanceInitiatedShutdownBehavior",
        "InstanceType",
        "KeyName",
        "LaunchTemplate",
        "MaxCount",
        "MetadataOptions.HttpEndpoint",
        "MetadataOptions.HttpPutResponseHopLimit",
        "MetadataOptions.HttpTokens",
        "MetadataOptions.InstanceMetadataTags",
        "MinCount",
        "NetworkInterfaces[].AssociatePublicIpAddress",
        "NetworkInterfaces[].Description",
        "NetworkInterfaces[].DeviceIndex",
        "NetworkInterfaces[].Groups",
        "NetworkInterfaces[].PrivateIpAddress",
        "NetworkInterfaces[].SubnetId",
        "Placement.AvailabilityZone",
        "PrivateIpAddress",
        "SecurityGroupIds",
        "SecurityGroups",
        "SubnetId",
        "TagSpecifications",
        "UserData",
    ),
    harmless={
        **block_devices.HARMLESS,
        "CapacityReservationSpecification.CapacityReservationPreference": ("open",),
        "CpuOptions.AmdSevSnp": ("disabled",),
        "CreditSpecification.CpuCredits": ("standard",),
        "EnablePrimaryIpv6": (False,),
        "EnclaveOptions.Enabled": (False,),
        "HibernationOptions.Configured": (False,),
        "Ipv6AddressCount": (0,),
        "MaintenanceOptions.AutoRecovery": ("default",),
        "MetadataOptions.HttpProtocolIpv6": ("disabled",),
        "Monitoring.Enabled": (False,),
        "NetworkInterfaces[].AssociateCarrierIpAddress": (False,),
        "NetworkInterfaces[].DeleteOnTermination": (True,),
        "NetworkInterfaces[].InterfaceType": ("interface",),
        "NetworkInterfaces[].Ipv4PrefixCount": (0,),
        "NetworkInterfaces[].Ipv6AddressCount": (0,),
        "NetworkInterfaces[].Ipv6PrefixCount": (0,),
        "NetworkInterfaces[].NetworkCardIndex": (0,),
        "NetworkInterfaces[].PrimaryIpv6": (False,),
        "NetworkInterfaces[].SecondaryPrivateIpAddressCount": (0,),
        "NetworkPerformanceOptions.BandwidthWeighting": ("default",),
        "Placement.Affinity": ("default",),
        "Placement.Tenancy": ("default",),
        "PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord": (False,),
        "PrivateDnsNameOptions.EnableResourceNameDnsARecord": (False,),
        "PrivateDnsNameOptions.HostnameType": ("ip-name",),
    },
    sees_harmless=True,  # they override a template's
    keeps_empty=block_devices.KEEPS_EMPTY,
)
def run_instances(context: RequestContext, request: Parameters) -> Reply:
    """Write pending instances and enqueue their launches; the answer does not wait for any machine."""
    session = context.session
    request, template = under_request(context, request, as_if_sent)
    request = with_image_id(context, request)
    minimum, maximum = _launch_counts(request)
    launch = launch_request.read_launch_request(session, context.account_id, request, context.host.settings)
    authorize_launch(context, request, launch, template_id=template.template_id if template else None)
    if maximum > 1 and launch.private_ip:
        raise ApiError("InvalidParameterCombination", "A private IP address goes with one instance only.")
    host = context.host
    count = instances.count_fitting(
        session,
        launch.instance_type,
        minimum,
        maximum,
        memory_mib=host.memory_mib,
        overhead_mib=host.machine_overhead_mib,
    )
    launched = instances.launch(session, context.account_id, launch, count)
    for instance in launched:
        _tag(context, instance, request.get("TagSpecifications", []), template)
        _enqueue(context, "launch_instance", instance.instance_id)
    # Groups that refer to the new instances' groups must learn their addresses.
    apply_network(context, launch.subnet.vpc_id)
    return _reservation(context, launched)


@cache
def _validator() -> Validator:
    return Validator(run_instances, Ec2Query("ec2"))


def as_if_sent(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Launch parameters of a template, checked as if a client had sent them: what is not honoured is refused."""
    return _validator().validate(parameters)


def _launch_counts(request: Parameters) -> tuple[int, int]:
    """How many are to be launched at least and at most; as many as fit will be."""
    minimum, maximum = request["MinCount"], request["MaxCount"]
    if not 1 <= minimum <= maximum:
        raise ApiError("InvalidParameterValue", "MinCount must be at least 1 and at most MaxCount.")
    if maximum > _MAX_COUNT:
        raise ApiError(
            "InstanceLimitExceeded",
            f"You have requested more instances ({maximum}) than the limit of {_MAX_COUNT}.",
        )
    return minimum, maximum


def _tag(
    context: RequestContext, instance: Instance, specifications: Sequence[dict[str, Any]], template: TemplateUse | None
) -> None:
    resources = {
        "instance": [instance.instance_id],
        "volume": [volume.volume_id for volume in instance.volumes],
    }
    if instance.interface is not None:
        resources["network-interface"] = [instance.interface.interface_id]
    for resource_type, resource_ids in resources.items():
        wanted = tags.tags_for(specifications, resource_type, allowed=_TAGGED)
        if resource_type == "instance":
            metadata_options.check_tag_keys(instance, (tag["Key"] for tag in wanted))
        wanted += template.tags_for(resource_type) if template else []
        for resource_id in resource_ids:
            tags.put_tags(context.session, context.account_id, resource_id, resource_type, wanted)


def _enqueue(context: RequestContext, workflow: str, instance_id: str, *arguments: object) -> None:
    context.host.enqueue(
        context.session,
        workflow,
        instance_id,
        *arguments,
        key=instance_id,
        workflow_id=f"{workflow}-{instance_id}-{instances.new_token()}",
    )


def _reservation(context: RequestContext, members: Sequence[Instance]) -> Reply:
    by_id = tags.tags_of(context.session, context.account_id, [member.instance_id for member in members])
    return _reservation_item(members, by_id, security_groups.names(context.session, context.account_id))


def _reservation_item(
    members: Sequence[Instance], tags_by_id: dict[str, list[dict[str, str]]], group_names: dict[str, str]
) -> dict[str, Any]:
    return {
        "Groups": [],
        "Instances": [instance_item(one, tags_by_id.get(one.instance_id, []), group_names) for one in members],
        "OwnerId": members[0].account_id,
        "ReservationId": members[0].reservation_id,
    }


@operation(
    "ec2",
    "DescribeInstances",
    mutates=False,
    honours=("InstanceIds",),
    filters=INSTANCE_FILTERS,
    paged=Paged(result="Reservations", minimum=5, maximum=1000, ids=("InstanceIds",), key="ReservationId"),
)
def describe_instances(context: RequestContext, request: Parameters) -> Reply:
    """List the account's instances by reservation."""
    found = instances.visible(context.session, context.account_id, request.get("InstanceIds", ()))
    tags_by_id = tags.tags_of(context.session, context.account_id, [one.instance_id for one in found])
    group_names = security_groups.names(context.session, context.account_id)
    reservations = groupby(found, key=lambda one: one.reservation_id)
    return {"Reservations": [_reservation_item(list(members), tags_by_id, group_names) for _, members in reservations]}


def _selected(context: RequestContext, request: Parameters) -> tuple[list[Instance], dict[str, str]]:
    members = instances.visible(context.session, context.account_id, request["InstanceIds"])
    return members, {one.instance_id: one.state for one in members}


@operation(
    "ec2",
    "StopInstances",
    mutates=True,
    honours=("InstanceIds", "Force", "SkipOsShutdown"),
    harmless={"Hibernate": (False,)},
)
def stop_instances(context: RequestContext, request: Parameters) -> Reply:
    """Shut instances down; their volumes and private addresses stay."""
    members, previous = _selected(context, request)
    for instance in lifecycle.stop(members):
        forces, skips = bool(request.get("Force")), bool(request.get("SkipOsShutdown"))
        _enqueue(context, "stop_instance", instance.instance_id, forces, skips)
    return {"StoppingInstances": [state_change_item(one, previous[one.instance_id]) for one in members]}


@operation("ec2", "StartInstances", mutates=True, honours=("InstanceIds",))
def start_instances(context: RequestContext, request: Parameters) -> Reply:
    """Boot stopped instances again, with a new public address if they had one."""
    members, previous = _selected(context, request)
    started = lifecycle.start(
        context.session,
        members,
        memory_mib=context.host.memory_mib,
        overhead_mib=context.host.machine_overhead_mib,
        public_network=context.host.settings.public_network,
    )
    for instance in started:
        _enqueue(context, "start_instance", instance.instance_id)
    return {"StartingInstances": [state_change_item(one, previous[one.instance_id]) for one in members]}


@operation("ec2", "RebootInstances", mutates=True, honours=("InstanceIds",))
def reboot_instances(context: RequestContext, request: Parameters) -> Reply:
    """Ask the guests to reboot; those that do not go down in a few minutes are reset."""
    members, _ = _selected(context, request)
    lifecycle.check_reboot(members)
    for instance in members:
        _enqueue(context, "reboot_instance", instance.instance_id)
    return {}


@operation(
    "ec2",
    "TerminateInstances",
    mutates=True,
    honours=("InstanceIds", "Force", "SkipOsShutdown"),
)
def terminate_instances(context: RequestContext, request: Parameters) -> Reply:
    """End instances for good; volumes marked so go with them."""
    members, previous = _selected(context, request)
    for instance in lifecycle.terminate(members):
        forces, skips = bool(request.get("Force")), bool(request.get("SkipOsShutdown"))
        _enqueue(context, "terminate_instance", instance.instance_id, skips, forces)
    return {"TerminatingInstances": [state_change_item(one, previous[one.instance_id]) for one in members]}
