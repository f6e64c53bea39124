"""CreateTags, DeleteTags, DescribeTags."""

from collections.abc import Callable

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.domain import (
    elastic_addresses,
    images,
    instances,
    key_pairs,
    launch_templates,
    metadata_options,
    network_interfaces,
    replace_root_volume_tasks,
    security_groups,
    snapshots,
    tags,
    volumes,
    vpc_parts,
    vpcs,
)
from bakehouse.ids import Prefix

_VPC_PARTS = {
    Prefix.DHCP_OPTIONS: "dhcp-options",
    Prefix.INTERNET_GATEWAY: "internet-gateway",
    Prefix.NETWORK_ACL: "network-acl",
    Prefix.ROUTE_TABLE: "route-table",
}


def _resource_type(context: RequestContext, resource_id: str) -> str:
    """The kind of a resource the account may tag; its noun's own error when there is none."""
    session, account_id = context.session, context.account_id
    prefix = resource_id.rpartition("-")[0]
    finders: dict[str, tuple[str, Callable[[], object]]] = {
        "ami": ("image", lambda: images.get_visible(session, account_id, resource_id)),
        "eipalloc": (
            "elastic-ip",
            lambda: elastic_addresses.get(session, account_id, allocation_id=resource_id, public_ip=None),
        ),
        "eni": ("network-interface", lambda: network_interfaces.get(session, account_id, resource_id)),
        "i": ("instance", lambda: instances.get(session, account_id, resource_id)),
        "key": ("key-pair", lambda: key_pairs.visible(session, account_id, ids=[resource_id])),
        "replacevol": (
            "replace-root-volume-task",
            lambda: replace_root_volume_tasks.get(session, account_id, resource_id),
        ),
        "lt": ("launch-template", lambda: launch_templates.get_by_id(session, account_id, resource_id)),
        "sg": ("security-group", lambda: security_groups.get(session, account_id, resource_id)),
        "sgr": ("security-group-rule", lambda: security_groups.get_rule(session, account_id, resource_id)),
        "snap": ("snapshot", lambda: snapshots.get(session, account_id, resource_id)),
        "subnet": ("subnet", lambda: vpcs.get_subnet(session, account_id, resource_id)),
        "vol": ("volume", lambda: volumes.get(session, account_id, resource_id)),
        "vpc": ("vpc", lambda: vpcs.get_vpc(session, account_id, resource_id)),
    }
    for part, kind in _VPC_PARTS.items():
        if prefix == part:
            vpc_parts.list_parts(session, account_id, part, [resource_id])
            return kind
    if prefix in finders:
        kind, find = finders[prefix]
        find()
        return kind
    raise errors.invalid_id(resource_id[:64])


@operation("ec2", "CreateTags", mutates=True, honours=("Resources", "Tags"))
def create_tags(context: RequestContext, request: Parameters) -> Reply:
    """Tag resources; all or none."""
    wanted = tags.validate_tags(request["Tags"])
    for resource_id in request["Resources"]:
        kind = _resource_type(context, resource_id)
        if kind == "instance":
            instance = instances.get(context.session, context.account_id, resource_id)
            metadata_options.check_tag_keys(instance, (tag["Key"] for tag in wanted))
        tags.put_tags(context.session, context.account_id, resource_id, kind, wanted)
    return {}


@operation("ec2", "DeleteTags", mutates=True, honours=("Resources", "Tags"), keeps_empty=("Tags[].Value",))
def delete_tags(context: RequestContext, request: Parameters) -> Reply:
    """Remove tags: all of them without Tags, those of a key without a Value, else exact matches.

    An empty Value matches only an empty value.
    """
    for resource_id in request["Resources"]:
        _resource_type(context, resource_id)
        tags.remove_tags(context.session, context.account_id, resource_id, request.get("Tags"))
    return {}


@operation(
    "ec2",
    "DescribeTags",
    mutates=False,
    filters=FilterTable(
        item="Tags[]",
        paths={
            "key": "Key",
            "resource-id": "ResourceId",
            "resource-type": "ResourceType",
            "value": "Value",
        },
        tags="",
    ),
    paged=Paged(result="Tags", minimum=5, maximum=1000, key=("ResourceId", "Key")),
)
def describe_tags(context: RequestContext, request: Parameters) -> Reply:
    """List the account's tags."""
    del request
    return {
        "Tags": [
            {
                "Key": one.key,
                "ResourceId": one.resource_id,
                "ResourceType": one.resource_type,
                "Value": one.value,
            }
            for one in tags.list_tags(context.session, context.account_id)
        ]
    }
