"""Which parameters name a resource, found in the models: a new operation is covered, or fails until it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bakehouse.api.models import Shape, split_path
from bakehouse.api.registry import Operation, discover
from tests.framework.belongings import Belongings
from tests.framework.parameters import honoured_leaves, least_request, put

EC2 = [each for each in discover() if each.service == "ec2"]

# What a parameter of this name (its last member) names; by operation where that is something else.
KINDS = {
    "AllocationId": "elastic_address",
    "AllocationIds": "elastic_address",
    "AssociationId": "address_association",
    "ExcludeDataVolumeIds": "volume",
    "AttachmentId": "network_interface_attachment",
    "DhcpOptionsIds": "dhcp_options",
    "InternetGatewayIds": "internet_gateway",
    "NetworkAclIds": "network_acl",
    "RouteTableIds": "route_table",
    "GroupId": "security_group",
    "GroupIds": "security_group",
    "GroupName": "security_group_name",
    "GroupNames": "security_group_name",
    "Groups": "security_group",
    "ImageId": "image",
    "ImageIds": "image",
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "KeyName": "key_pair_name",
    "KeyNames": "key_pair_name",
    "KeyPairId": "key_pair",
    "KeyPairIds": "key_pair",
    "LaunchTemplateId": "launch_template",
    "LaunchTemplateIds": "launch_template",
    "LaunchTemplateName": "launch_template_name",
    "LaunchTemplateNames": "launch_template_name",
    "NetworkInterfaceId": "network_interface",
    "NetworkInterfaceIds": "network_interface",
    "PublicIp": "public_ip",
    "PublicIps": "public_ip",
    "ReplaceRootVolumeTaskIds": "replace_root_volume_task",
    "SecurityGroupIds": "security_group",
    "ReferencedGroupId": "security_group",
    "SecurityGroupRuleId": "security_group_rule",
    "SecurityGroupRuleIds": "security_group_rule",
    "SecurityGroups": "security_group_name",
    "SnapshotId": "snapshot",
    "SnapshotIds": "snapshot",
    "SourceImageId": "image",
    "SourceSecurityGroupName": "security_group_name",
    "SourceSnapshotId": "snapshot",
    "SubnetId": "subnet",
    "SubnetIds": "subnet",
    "VolumeId": "volume",
    "VolumeIds": "volume",
    "VpcId": "vpc",
    "VpcIds": "vpc",
}
# The same where the last member does not tell, by operation and path.
KINDS_AT = {
    ("AssociateIamInstanceProfile", "IamInstanceProfile.Arn"): "instance_profile_arn",
    ("AssociateIamInstanceProfile", "IamInstanceProfile.Name"): "instance_profile_name",
    ("DescribeIamInstanceProfileAssociations", "AssociationIds[]"): "profile_association",
    ("DisassociateIamInstanceProfile", "AssociationId"): "profile_association",
    ("ReplaceIamInstanceProfileAssociation", "AssociationId"): "profile_association",
    ("ReplaceIamInstanceProfileAssociation", "IamInstanceProfile.Arn"): "instance_profile_arn",
    ("ReplaceIamInstanceProfileAssociation", "IamInstanceProfile.Name"): "instance_profile_name",
    ("RunInstances", "IamInstanceProfile.Arn"): "instance_profile_arn",
    ("RunInstances", "IamInstanceProfile.Name"): "instance_profile_name",
}
_GIVE_PROFILES = ("AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation")
TAGGABLE = [
    "dhcp_options",
    "internet_gateway",
    "network_acl",
    "route_table",
    "elastic_address",
    "image",
    "instance",
    "key_pair",
    "launch_template",
    "network_interface",
    "replace_root_volume_task",
    "security_group",
    "security_group_rule",
    "snapshot",
    "subnet",
    "volume",
    "vpc",
]
# Parameters that look as if they named a resource of an account, and do not.
NO_RESOURCE = {
    "EgressOnlyInternetGatewayIds",
    "NatGatewayIds",
    "VpcEndpointIds",
    "VpcPeeringConnectionIds",
    "AttributeNames",
    "DeviceName",
    "Group",
    "ImageNames",
    "Name",
    "NetworkBorderGroup",
    "OrganizationArn",
    "OrganizationArns",
    "OrganizationalUnitArn",
    "OrganizationalUnitArns",
    "OwnerIds",
    "RegionNames",
    "RestorableByUserIds",
    "RootDeviceName",
    "UserGroups",
    "UserId",
    "UserIds",
    "VirtualName",
    "ZoneIds",
    "ZoneNames",
}
# Parameters that give a new resource its name.
NEW_NAMES = {
    ("CreateKeyPair", "KeyName"),
    ("CreateLaunchTemplate", "LaunchTemplateName"),
    ("CreateSecurityGroup", "GroupName"),
    ("ImportKeyPair", "KeyName"),
}
# Parameters that name a resource which is not what the operation is done to.
ONLY_MENTIONED = {
    "IpPermissions",  # groups that a rule refers to
    "SourceSecurityGroupName",
    "SecurityGroupRuleIds",  # the group of the rules is named beside them
    "SecurityGroupRules",
    "SecurityGroupRuleDescriptions",
    "Attachment",  # of the interface that is named beside it
    "InstanceSpecification",  # the instance is; the volumes that are left out are not
    "IamInstanceProfile",  # iam:PassRole is asked about its role
    "LaunchTemplateData",  # a template may name anything; its launch is checked
}
# Parameters that name nothing, though others of that name do: "all" is the only group of a snapshot.
NO_NAMES = {("ModifySnapshotAttribute", "GroupNames[]")}
# What is kept and only looked at by a later launch: api/test_launch_templates.py tries that one.
KEPT_FOR_LATER = "LaunchTemplateData"
# Not even the own one is found here: it is for ingress.
NOT_WITH_OWN = {
    ("RevokeSecurityGroupEgress", "SecurityGroupRuleIds[]"),
    (
        "UpdateSecurityGroupRuleDescriptionsEgress",
        "SecurityGroupRuleDescriptions[].SecurityGroupRuleId",
    ),
    # Not even the own one is in the bin.
    ("RestoreImageFromRecycleBin", "ImageId"),
    ("RestoreSnapshotFromRecycleBin", "SnapshotId"),
}
LOOKS_LIKE_ONE = re.compile(r"(Ids?|Arns?|Names?|Groups?|Resources?)$")
# What else a request needs before the service looks at the resource: path and value, an own resource by its kind.
MORE: dict[str, dict[str, Any]] = {
    "AttachVolume": {"Device": "/dev/sdf"},
    "CopyImage": {"SourceRegion": "us-east-1", "Name": "a copy"},
    "CopySnapshot": {"SourceRegion": "us-east-1"},
    "CreateLaunchTemplateVersion": {"LaunchTemplateData.InstanceType": "t3.nano"},
    "CreateTags": {"Tags": [{"Key": "k", "Value": "v"}]},
    "CreateVolume": {"AvailabilityZone": "us-east-1a"},
    "DescribeImageReferences": {"IncludeAllResourceTypes": True},
    "EnableImageDeprecation": {"DeprecateAt": datetime(2030, 1, 1, tzinfo=UTC)},
    "DeleteLaunchTemplateVersions": {"Versions[]": "1"},
    "ModifyLaunchTemplate": {"DefaultVersion": "1"},
    "RegisterImage": {"RootDeviceName": "/dev/sdf"},
    "RunInstances": {"InstanceType": "t3.nano"},
}
BESIDE = {
    "BlockDeviceMappings": ("BlockDeviceMappings[].DeviceName", "/dev/sdf"),
    "IpPermissions": ("IpPermissions[].IpProtocol", "-1"),
    "SecurityGroupRules": ("SecurityGroupRules[].SecurityGroupRule.IpProtocol", "-1"),
}
_OF_A_GROUP = ("Authorize", "Revoke", "UpdateSecurityGroupRule")
UNKNOWN_IDS = {
    "address_association": "eipassoc-00000000000000001",
    "elastic_address": "eipalloc-00000000000000001",
    "network_interface_attachment": "eni-attach-00000000000000001",
    "public_ip": "127.0.0.1",
    "dhcp_options": "dopt-00000000000000001",
    "internet_gateway": "igw-00000000000000001",
    "network_acl": "acl-00000000000000001",
    "route_table": "rtb-00000000000000001",
    "image": "ami-00000000000000001",
    "instance": "i-00000000000000001",
    "key_pair": "key-00000000000000001",
    "launch_template": "lt-00000000000000001",
    "network_interface": "eni-00000000000000001",
    "replace_root_volume_task": "replacevol-00000000000000001",
    "security_group": "sg-00000000000000001",
    "security_group_rule": "sgr-00000000000000001",
    "snapshot": "snap-00000000000000001",
    "subnet": "subnet-00000000000000001",
    "volume": "vol-00000000000000001",
    "vpc": "vpc-00000000000000001",
    "key_pair_name": "a-name-nobody-uses",
    "launch_template_name": "a-name-nobody-uses",
    "security_group_name": "a-name-nobody-uses",
    "instance_profile_arn": "arn:aws:iam::000000000000:instance-profile/a-name-nobody-uses",
    "instance_profile_name": "a-name-nobody-uses",
    "profile_association": "iip-assoc-00000000000000001",
}


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A parameter of an operation, and the kind of what it names."""

    operation: str
    path: str
    kind: str

    def __str__(self) -> str:
        return f"{self.operation} {self.path} {self.kind}"


def last_member(path: str) -> str:
    return [step for step in split_path(path) if step != "[]"][-1]


def kind_at(operation: str, path: str) -> str | None:
    """What the parameter at a path names."""
    return KINDS_AT.get((operation, path)) or KINDS.get(last_member(path))


def namings_of(operation: Operation) -> Iterator[Naming]:
    for path, shape in honoured_leaves(operation):
        name = last_member(path)
        is_text = shape.type_name == "string" and not getattr(shape, "enum", ())
        kind, is_kept = kind_at(operation.name, path), path.startswith(KEPT_FOR_LATER)
        is_new = (operation.name, path) in NEW_NAMES | NO_NAMES
        if not is_text or is_kept or is_new or (name in NO_RESOURCE and kind is None):
            continue
        kinds = TAGGABLE if name == "Resources" else [kind] if kind else []
        assert kinds or not LOOKS_LIKE_ONE.search(name), (
            f"what does {path} of {operation.name} name? (KINDS, NO_RESOURCE)"
        )
        for each in kinds:
            yield Naming(operation=operation.name, path=path, kind=each)


NAMINGS = [naming for operation in EC2 for naming in namings_of(operation)]


def request_for(naming: Naming, resource: str, own: Belongings) -> dict[str, Any]:
    """A request that is right but for the resource in question; every other one it needs is the caller's."""

    def value(path: str, _shape: Shape) -> Any:
        kind = kind_at(naming.operation, path)
        return getattr(own, kind) if kind else None

    request = least_request("ec2", naming.operation, value)
    top = naming.path.partition("[")[0]
    if naming.operation == "RunInstances":
        request["ImageId"] = own.image
    if naming.operation == "AssociateAddress" and top in ("InstanceId", "NetworkInterfaceId"):
        request["AllocationId"] = own.elastic_address
    elif naming.operation == "AssociateAddress":
        request["InstanceId"] = own.instance
    if naming.operation in _GIVE_PROFILES and top in ("AssociationId", "InstanceId"):
        put(request, "IamInstanceProfile.Name", own.instance_profile_name)
    if (naming.operation, top) == ("DetachVolume", "InstanceId"):
        request["VolumeId"] = own.attached_volume
    if top not in ("GroupId", "GroupName") and naming.operation.startswith(_OF_A_GROUP):
        request["GroupId"] = own.security_group
    for path, more in (*MORE.get(naming.operation, {}).items(), *([BESIDE[top]] if top in BESIDE else [])):
        put(request, path, more)
    put(request, naming.path, resource)
    return request
