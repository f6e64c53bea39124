"""What a request is done to: from its parameters to the ARNs that policies speak of.

Invariant: one table says which parameters name resources. An operation of which nothing is found is done to "*",
which only a policy for everything allows.
Source: Service Authorization Reference, "Actions, resources, and condition keys" for EC2, IAM and Systems Manager.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from bakehouse.api.models import split_path
from bakehouse.domain import parameters
from bakehouse.domain import tags as tag_rows
from bakehouse.domain.iam import implied_resources, resource_facts, resource_names
from bakehouse.domain.iam.authority import Target
from bakehouse.domain.iam.facts import Values
from bakehouse.domain.iam.principals import Principal


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as far as it matters here."""

    service: str
    action: str
    parameters: Mapping[str, Any]
    principal: Principal
    region: str
    session: Session = field(repr=False)

    @property
    def account_id(self) -> str:
        """Whose resources are meant."""
        return self.principal.account_id

    def ec2_arn(self, kind: str, name: str, region: str | None = None) -> str:
        """An ARN of EC2's; images and snapshots have no account in theirs."""
        account_id = "" if kind in ("image", "snapshot") else self.account_id
        return f"arn:aws:ec2:{region or self.region}:{account_id}:{kind}/{name}"

    def iam_arn(self, kind: str, name: str) -> str:
        """An ARN of IAM's, with the path that the name has."""
        return resource_names.iam_arn(self.session, self.account_id, kind, name, path=self.parameters.get("Path"))


# A parameter that names resources -> what they are.
_EC2_MEMBERS = {
    "AllocationId": "elastic-ip",
    "AllocationIds": "elastic-ip",
    "DhcpOptionsId": "dhcp-options",
    "GroupId": "security-group",
    "GroupIds": "security-group",
    "Groups": "security-group",
    "ImageId": "image",
    "ImageIds": "image",
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "InternetGatewayId": "internet-gateway",
    "KeyName": "key-pair",
    "LaunchTemplateId": "launch-template",
    "NetworkAclId": "network-acl",
    "NetworkInterfaceId": "network-interface",
    "RouteTableId": "route-table",
    "SecurityGroupIds": "security-group",
    "SnapshotId": "snapshot",
    "SnapshotIds": "snapshot",
    "SubnetId": "subnet",
    "VolumeId": "volume",
    "VolumeIds": "volume",
    "VpcId": "vpc",
}
# The same by another name, which the rows tell.
_EC2_NAMES = ("AssociationId", "GroupName", "KeyPairId", "LaunchTemplateName", "PublicIp")
# These are the new one's own where one is made.
_EC2_NEW_NAMES = {"GroupName": "security-group", "LaunchTemplateName": "launch-template"}
# These are in the region that SourceRegion says.
_EC2_SOURCES = {"SourceImageId": "image", "SourceSnapshotId": "snapshot"}
_EC2_NESTED = {
    "CreateImage": ("BlockDeviceMappings[].Ebs.SnapshotId",),
    "CreateSnapshots": ("InstanceSpecification.InstanceId",),
    "ModifyInstanceCreditSpecification": ("InstanceCreditSpecifications[].InstanceId",),
    "RegisterImage": ("BlockDeviceMappings[].Ebs.SnapshotId",),
}
# What operations make: resources that have no name yet.
_EC2_MAKES = {
    "AllocateAddress": ("elastic-ip",),
    "CopyImage": ("image", "snapshot"),
    "CopySnapshot": ("snapshot",),
    "CreateImage": ("image", "snapshot"),
    "CreateInternetGateway": ("internet-gateway",),
    "CreateLaunchTemplate": ("launch-template",),
    "CreateNetworkInterface": ("network-interface",),
    "CreateReplaceRootVolumeTask": ("replace-root-volume-task", "volume"),
    "CreateRouteTable": ("route-table",),
    "CreateSecurityGroup": ("security-group",),
    "CreateSnapshot": ("snapshot",),
    "CreateSnapshots": ("snapshot",),
    "CreateSubnet": ("subnet",),
    "CreateVolume": ("volume",),
    "CreateVpc": ("vpc",),
    "RegisterImage": ("image",),
}
# Listings have no resources, except those of one resource's attributes.
_EC2_LISTINGS = ("Describe", "List")


def targets_of(asked: Asked) -> list[Target]:
    """Everything the request is done to, at least "*"."""
    found = list(_READERS.get(asked.service, _any_targets)(asked))
    found = found or [Target(tags=_tags_in(asked.parameters))]
    removed = tuple(_texts(asked.parameters.get("TagKeys", asked.parameters.get("tagKeys"))))
    return [replace(one, more={**one.more, "aws:tagkeys": removed}) for one in found] if removed else found


def tags_by_kind(asked: Asked) -> dict[str, dict[str, str]]:
    """The tags that a request gives to what it makes, by the kind of the resource."""
    found: dict[str, dict[str, str]] = {}
    for specification in asked.parameters.get("TagSpecifications", ()):
        tags = found.setdefault(str(specification.get("ResourceType")), {})
        tags |= _pairs(specification.get("Tags", ()))
    return found


def _tags_in(parameters: Mapping[str, Any]) -> dict[str, str]:
    tags = parameters.get("Tags", parameters.get("tags", ()))
    return {str(key): str(value) for key, value in tags.items()} if isinstance(tags, Mapping) else _pairs(tags)


def _pairs(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {tag.get("Key", ""): tag.get("Value", "") for tag in tags}


def _texts(value: Any) -> Iterator[str]:
    """The texts in a parameter: itself, or a list's."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))


def values_at(parameters: Any, path: str) -> Iterator[str]:
    """The texts at a path into a request."""
    nodes = [parameters]
    for step in split_path(path):
        if step == "[]":
            nodes = [element for node in nodes if isinstance(node, list) for element in node]
        else:
            nodes = [node[step] for node in nodes if isinstance(node, Mapping) and step in node]
    yield from (text for node in nodes for text in _texts(node))


# --- EC2 ---


def _ec2_targets(asked: Asked) -> Iterator[Target]:
    if asked.action.startswith(_EC2_LISTINGS) and not asked.action.endswith("Attribute"):
        return
    if asked.action in ("CreateTags", "DeleteTags"):
        yield from _tagged(asked)
        return
    tags_made = tags_by_kind(asked)
    for kind in _EC2_MAKES.get(asked.action, ()):
        yield Target(arn=asked.ec2_arn(kind, "*"), values=_values_of_new(asked, kind), tags=tags_made.get(kind, {}))
    yield from (Target(arn=arn, tags=tags_made.get(_kind_of(arn), {})) for arn in dict.fromkeys(_named(asked)))


def _tagged(asked: Asked) -> Iterator[Target]:
    """Each resource that is tagged. Without tags, all those that a user gave to it are removed."""
    tags = _pairs(asked.parameters.get("Tags", ()))
    resource_ids = list(_texts(asked.parameters.get("Resources")))
    present = tag_rows.user_tags_of(asked.session, asked.account_id, [] if tags else resource_ids)
    for resource_id in resource_ids:
        removed = tuple(tag["Key"] for tag in present.get(resource_id, ()))
        yield Target(
            arn=resource_names.ec2_arn(asked.session, asked.account_id, resource_id),
            tags=tags,
            more={"aws:tagkeys": removed} if removed else {},
        )


def _kind_of(arn: str) -> str:
    return arn.split(":", 5)[5].partition("/")[0]


def _named(asked: Asked) -> Iterator[str]:
    makes = _EC2_MAKES.get(asked.action, ())
    for name, value in asked.parameters.items():
        if name in _EC2_MEMBERS:
            yield from (asked.ec2_arn(_EC2_MEMBERS[name], text) for text in _texts(value))
        elif name in _EC2_NAMES and _EC2_NEW_NAMES.get(name) not in makes:
            for text in _texts(value):
                yield from resource_names.ec2_arns_by_name(asked.session, asked.account_id, name, text)
        elif name in _EC2_SOURCES:
            yield asked.ec2_arn(_EC2_SOURCES[name], value, asked.parameters.get("SourceRegion"))
    for path in _EC2_NESTED.get(asked.action, ()):
        kind = _EC2_MEMBERS[path.rpartition(".")[2]]
        yield from (asked.ec2_arn(kind, text) for text in values_at(asked.parameters, path))
    yield from implied_resources.arns(asked.session, asked.account_id, asked.action, asked.parameters)


def _values_of_new(asked: Asked, kind: str) -> Values:
    """The condition keys of what is to be made."""
    given = asked.parameters
    if kind == "volume" and asked.action == "CreateVolume":
        size = given.get("Size") or resource_names.snapshot_size_gib(
            asked.session, asked.account_id, given.get("SnapshotId")
        )
        found = {
            "ec2:availabilityzone": given.get("AvailabilityZone"),
            "ec2:volumesize": size,
            "ec2:volumetype": given.get("VolumeType", "gp2"),
        }
        return {key: (str(value),) for key, value in found.items() if value is not None}
    if kind == "network-interface" and "SubnetId" in given:
        vpc_id = resource_names.vpc_of_subnet(asked.session, asked.account_id, given["SubnetId"])
        subnet = {"ec2:subnet": (asked.ec2_arn("subnet", given["SubnetId"]),)}
        return {**subnet, "ec2:vpc": (asked.ec2_arn("vpc", vpc_id),)} if vpc_id else subnet
    return {}


# --- the others ---


def _iam_targets(asked: Asked) -> Iterator[Target]:
    given = asked.parameters
    more = {"iam:policyarn": (given["PolicyArn"],)} if "PolicyArn" in given else {}
    tags = _tags_in(given)
    if asked.action in _ABOUT_A_USER and "UserName" not in given:
        yield Target(arn=asked.principal.policy_arn, more=more)
    for member, kind in _IAM_MEMBERS.items():
        if member in given and not (kind == "policy" and asked.action != "CreatePolicy"):
            yield Target(arn=asked.iam_arn(kind, given[member]), tags=tags, more=more)
            if asked.action == "UpdateUser":
                yield _renamed_user(asked, asked.iam_arn(kind, given[member]))
            return
    if "PolicyArn" in given:
        yield Target(arn=given["PolicyArn"], tags=tags, more=more)


def _renamed_user(asked: Asked, arn: str) -> Target:
    """The user under its new name and path: who renames it could otherwise move it to where more is allowed.

    Source: IAM User Guide, "Rename an IAM user": a right to both names is needed.
    """
    before, _, name = arn.rpartition("/")
    head, _, path = before.partition(":user")
    new_path = asked.parameters.get("NewPath", f"{path}/")
    new_arn = f"{head}:user{new_path}{asked.parameters.get('NewUserName', name)}"
    return Target(arn=new_arn, values=resource_facts.read(asked.session, asked.account_id, arn))


_IAM_MEMBERS = {
    "UserName": "user",
    "InstanceProfileName": "instance-profile",
    "RoleName": "role",
    "PolicyName": "policy",
}
# Without a name these are about who asks.
_ABOUT_A_USER = ("CreateAccessKey", "DeleteAccessKey", "GetUser", "ListAccessKeys", "UpdateAccessKey")


def _ssm_targets(asked: Asked) -> Iterator[Target]:
    if asked.action == "DescribeParameters":
        return
    for member in ("Name", "Names", "Path", "ResourceId"):
        for name in _texts(asked.parameters.get(member)):
            bare = parameters.resource_name(name)
            account_id = "" if bare.startswith("aws/") else asked.account_id
            arn = f"arn:aws:ssm:{asked.region}:{account_id}:parameter/{bare}"
            yield Target(arn=arn, tags=_tags_in(asked.parameters))


def _any_targets(asked: Asked) -> Iterator[Target]:
    """Services that name their resources by ARNs themselves."""
    if (asked.service, asked.action) == ("rbin", "CreateRule"):
        arn = f"arn:aws:rbin:{asked.region}:{asked.account_id}:rule/*"
        yield Target(arn=arn, values={}, tags=_tags_in(asked.parameters))
    for name, value in asked.parameters.items():
        if name.lower().endswith("arn"):
            yield from (Target(arn=text, tags=_tags_in(asked.parameters)) for text in _texts(value))
        elif asked.service == "rbin" and name.lower() == "identifier":
            yield Target(arn=f"arn:aws:rbin:{asked.region}:{asked.account_id}:rule/{value}")
        elif asked.service == "ebs" and name.lower() == "snapshotid":
            yield Target(arn=asked.ec2_arn("snapshot", value))


_READERS: Mapping[str, Callable[[Asked], Iterator[Target]]] = {
    "ec2": _ec2_targets,
    "iam": _iam_targets,
    "ssm": _ssm_targets,
}
