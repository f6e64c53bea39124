"""Security groups and their rules; each change is followed by ``apply_firewall``."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable, paths_under
from bakehouse.api.operations.ip_permissions import FLAT, NESTED, read_permissions
from bakehouse.api.operations.vpc_network import apply_network
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import SecurityGroup, SecurityGroupRule
from bakehouse.domain import security_groups, tags, vpcs


@operation(
    "ec2",
    "CreateSecurityGroup",
    mutates=True,
    honours=("Description", "GroupName", "TagSpecifications", "VpcId"),
)
def create_security_group(context: RequestContext, request: Parameters) -> Reply:
    """Make a group in a VPC, the default one without a VpcId."""
    session, account_id = context.session, context.account_id
    vpc = (
        vpcs.get_vpc(session, account_id, request["VpcId"])
        if "VpcId" in request
        else vpcs.default_vpc(session, account_id)
    )
    group = security_groups.create(session, account_id, vpc.vpc_id, request["GroupName"], request["Description"])
    wanted = tags.tags_for(request.get("TagSpecifications"), "security-group")
    tags.put_tags(session, account_id, group.group_id, "security-group", wanted)
    return {"GroupId": group.group_id, "SecurityGroupArn": _group_arn(context, group), "Tags": wanted}


@operation("ec2", "DeleteSecurityGroup", mutates=True, honours=("GroupId", "GroupName"))
def delete_security_group(context: RequestContext, request: Parameters) -> Reply:
    """Delete a group that is not in use."""
    group = group_of(context, request)
    security_groups.delete(context.session, group)
    apply_network(context, group.vpc_id)
    return {"Return": True, "GroupId": group.group_id}


def _group_arn(context: RequestContext, group: SecurityGroup) -> str:
    return f"arn:aws:ec2:{context.region}:{group.account_id}:security-group/{group.group_id}"


def group_of(context: RequestContext, request: Parameters) -> SecurityGroup:
    """The group that a request names, by id or name."""
    return security_groups.get(context.session, context.account_id, request.get("GroupId"), request.get("GroupName"))


def _permission_items(group: SecurityGroup, *, is_egress: bool) -> list[dict[str, Any]]:
    """The IpPermission list: rules of one protocol and port range stand together."""
    merged: dict[tuple[str, int, int], dict[str, Any]] = {}
    for rule in group.rules:
        if rule.is_egress != is_egress:
            continue
        key = (rule.ip_protocol, rule.from_port, rule.to_port)
        ports = {} if rule.ip_protocol == "-1" else {"FromPort": rule.from_port, "ToPort": rule.to_port}
        item = merged.setdefault(
            key,
            {
                "IpProtocol": rule.ip_protocol,
                **ports,
                "IpRanges": [],
                "Ipv6Ranges": [],
                "PrefixListIds": [],
                "UserIdGroupPairs": [],
            },
        )
        about = {"Description": rule.description}
        if rule.cidr_ipv4:
            item["IpRanges"].append({"CidrIp": rule.cidr_ipv4, **about})
        elif rule.cidr_ipv6:
            item["Ipv6Ranges"].append({"CidrIpv6": rule.cidr_ipv6, **about})
        else:
            pair = {"GroupId": rule.referenced_group_id, "UserId": rule.account_id}
            item["UserIdGroupPairs"].append({**pair, **about})
    return list(merged.values())


def _permission_filters(prefix: str, member: str) -> dict[str, str]:
    paths = {
        "cidr": "IpRanges[].CidrIp",
        "from-port": "FromPort",
        "group-id": "UserIdGroupPairs[].GroupId",
        "ipv6-cidr": "Ipv6Ranges[].CidrIpv6",
        "prefix-list-id": "PrefixListIds[].PrefixListId",
        "protocol": "IpProtocol",
        "to-port": "ToPort",
        "user-id": "UserIdGroupPairs[].UserId",
    }
    return paths_under(prefix, f"{member}[]", paths)


@operation(
    "ec2",
    "DescribeSecurityGroups",
    mutates=False,
    honours=("GroupIds", "GroupNames"),
    filters=FilterTable(
        item="SecurityGroups[]",
        paths={
            "description": "Description",
            "group-id": "GroupId",
            "group-name": "GroupName",
            "owner-id": "OwnerId",
            "vpc-id": "VpcId",
            **_permission_filters("ip-permission", "IpPermissions"),
            **_permission_filters("egress.ip-permission", "IpPermissionsEgress"),
        },
        tags="Tags",
    ),
    paged=Paged(result="SecurityGroups", minimum=5, maximum=1000, ids=("GroupIds", "GroupNames"), key="GroupId"),
)
def describe_security_groups(context: RequestContext, request: Parameters) -> Reply:
    """List the account's groups."""
    found = security_groups.visible(
        context.session, context.account_id, request.get("GroupIds", ()), request.get("GroupNames", ())
    )
    own_tags = tags.tags_of(context.session, context.account_id, [one.group_id for one in found])
    return {
        "SecurityGroups": [
            {
                "Description": one.description,
                "GroupId": one.group_id,
                "GroupName": one.group_name,
                "IpPermissions": _permission_items(one, is_egress=False),
                "IpPermissionsEgress": _permission_items(one, is_egress=True),
                "OwnerId": one.account_id,
                "SecurityGroupArn": _group_arn(context, one),
                "Tags": own_tags.get(one.group_id, []),
                "VpcId": one.vpc_id,
            }
            for one in found
        ]
    }


def _rule_item(rule: SecurityGroupRule, own_tags: list[dict[str, str]]) -> dict[str, Any]:
    referenced = {"GroupId": rule.referenced_group_id, "UserId": rule.account_id} if rule.referenced_group_id else None
    return {
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "Description": rule.description,
        "FromPort": rule.from_port,
        "GroupId": rule.group_id,
        "GroupOwnerId": rule.account_id,
        "IpProtocol": rule.ip_protocol,
        "IsEgress": rule.is_egress,
        "ReferencedGroupInfo": referenced,
        "SecurityGroupRuleId": rule.rule_id,
        "Tags": own_tags,
        "ToPort": rule.to_port,
    }


@operation(
    "ec2",
    "DescribeSecurityGroupRules",
    mutates=False,
    honours=("SecurityGroupRuleIds",),
    filters=FilterTable(
        item="SecurityGroupRules[]",
        paths={"group-id": "GroupId", "security-group-rule-id": "SecurityGroupRuleId"},
        tags="Tags",
    ),
    paged=Paged(
        result="SecurityGroupRules",
        minimum=5,
        maximum=1000,
        ids=("SecurityGroupRuleIds",),
        key="SecurityGroupRuleId",
    ),
)
def describe_security_group_rules(context: RequestContext, request: Parameters) -> Reply:
    """List rules."""
    found = security_groups.list_rules(context.session, context.account_id, request.get("SecurityGroupRuleIds", ()))
    own_tags = tags.tags_of(context.session, context.account_id, [one.rule_id for one in found])
    return {"SecurityGroupRules": [_rule_item(one, own_tags.get(one.rule_id, [])) for one in found]}


def _authorize(context: RequestContext, request: Parameters, *, is_egress: bool) -> Reply:
    group = group_of(context, request)
    wanted = read_permissions(context, group, request)
    if not wanted:
        raise errors.missing_parameter("IpPermissions")
    added = security_groups.authorize(context.session, group, is_egress=is_egress, wanted=wanted)
    own = tags.tags_for(request.get("TagSpecifications"), "security-group-rule")
    for rule in added:
        tags.put_tags(context.session, context.account_id, rule.rule_id, "security-group-rule", own)
    apply_network(context, group.vpc_id)
    return {"Return": True, "SecurityGroupRules": [_rule_item(rule, own) for rule in added]}


def _revoke(context: RequestContext, request: Parameters, *, is_egress: bool) -> Reply:
    group = group_of(context, request)
    unwanted = [data for data, _ in read_permissions(context, group, request)]
    rule_ids = request.get("SecurityGroupRuleIds", ())
    if not unwanted and not rule_ids:
        raise errors.missing_parameter("IpPermissions")
    revoked = security_groups.revoke(context.session, group, is_egress=is_egress, unwanted=unwanted, rule_ids=rule_ids)
    apply_network(context, group.vpc_id)
    return {"Return": True, "RevokedSecurityGroupRules": [_revoked_item(rule) for rule in revoked]}


def _revoked_item(rule: SecurityGroupRule) -> dict[str, Any]:
    return {
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "Description": rule.description,
        "FromPort": rule.from_port,
        "GroupId": rule.group_id,
        "IpProtocol": rule.ip_protocol,
        "IsEgress": rule.is_egress,
        "ReferencedGroupId": rule.referenced_group_id,
        "SecurityGroupRuleId": rule.rule_id,
        "ToPort": rule.to_port,
    }


_BY_NAME = ("GroupName", "SourceSecurityGroupName")


@operation(
    "ec2",
    "AuthorizeSecurityGroupIngress",
    mutates=True,
    honours=("GroupId", "TagSpecifications", *_BY_NAME, *FLAT, *NESTED),
)
def authorize_security_group_ingress(context: RequestContext, request: Parameters) -> Reply:
    """Let something in."""
    return _authorize(context, request, is_egress=False)


@operation(
    "ec2",
    "AuthorizeSecurityGroupEgress",
    mutates=True,
    honours=("GroupId", "TagSpecifications", *FLAT, *NESTED),
)
def authorize_security_group_egress(context: RequestContext, request: Parameters) -> Reply:
    """Let something out."""
    return _authorize(context, request, is_egress=True)


@operation(
    "ec2",
    "RevokeSecurityGroupIngress",
    mutates=True,
    honours=("GroupId", "SecurityGroupRuleIds", *_BY_NAME, *FLAT, *NESTED),
)
def revoke_security_group_ingress(context: RequestContext, request: Parameters) -> Reply:
    """Let something in no more; connections that exist go on, as on EC2."""
    return _revoke(context, request, is_egress=False)


@operation(
    "ec2",
    "RevokeSecurityGroupEgress",
    mutates=True,
    honours=("GroupId", "SecurityGroupRuleIds", *FLAT, *NESTED),
)
def revoke_security_group_egress(context: RequestContext, request: Parameters) -> Reply:
    """Let something out no more."""
    return _revoke(context, request, is_egress=True)
