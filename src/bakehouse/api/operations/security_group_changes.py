"""Rules changed in place, their descriptions, and what clients ask about groups before they delete or choose one."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.ip_permissions import NESTED, read_cidr, read_permissions, read_ports
from bakehouse.api.operations.security_groups import group_of
from bakehouse.api.operations.vpc_network import apply_network
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import SecurityGroup
from bakehouse.domain import security_groups, tags, vpcs
from bakehouse.domain.security_groups import RuleData

_SOURCES = ("CidrIpv4", "CidrIpv6", "ReferencedGroupId")


def _rule_data(context: RequestContext, group: SecurityGroup, wanted: dict[str, Any]) -> RuleData:
    """What a SecurityGroupRuleRequest makes of a rule."""
    if "IpProtocol" not in wanted:
        raise errors.missing_parameter("SecurityGroupRule.IpProtocol")
    given = [name for name in _SOURCES if name in wanted]
    if len(given) != 1:
        raise errors.invalid_parameter_value(f"A rule has exactly one of {', '.join(_SOURCES)}.")
    protocol, first, last = read_ports(wanted)
    referenced = None
    if "ReferencedGroupId" in wanted:
        referenced = security_groups.get(context.session, context.account_id, wanted["ReferencedGroupId"])
        if referenced.vpc_id != group.vpc_id:
            raise errors.group_not_found(referenced.group_id)
    return RuleData(
        ip_protocol=protocol,
        from_port=first,
        to_port=last,
        cidr_ipv4=read_cidr(wanted["CidrIpv4"], 4) if "CidrIpv4" in wanted else None,
        cidr_ipv6=read_cidr(wanted["CidrIpv6"], 6) if "CidrIpv6" in wanted else None,
        referenced_group_id=referenced.group_id if referenced else None,
    )


@operation(
    "ec2",
    "ModifySecurityGroupRules",
    mutates=True,
    honours=(
        "GroupId",
        "SecurityGroupRules[].SecurityGroupRuleId",
        *(
            f"SecurityGroupRules[].SecurityGroupRule.{name}"
            for name in (*_SOURCES, "Description", "FromPort", "IpProtocol", "ToPort")
        ),
    ),
)
def modify_security_group_rules(context: RequestContext, request: Parameters) -> Reply:
    """Make rules others, under the ids they have; all or none."""
    group = group_of(context, request)
    rule_ids = [one["SecurityGroupRuleId"] for one in request["SecurityGroupRules"]]
    security_groups.check_rule_ids(rule_ids, {rule.rule_id for rule in group.rules})
    changes = {}
    for one in request["SecurityGroupRules"]:
        wanted = one.get("SecurityGroupRule", {})
        changes[one["SecurityGroupRuleId"]] = (_rule_data(context, group, wanted), wanted.get("Description"))
    security_groups.modify_rules(context.session, group, changes)
    apply_network(context, group.vpc_id)
    return {"Return": True}


def _update_descriptions(context: RequestContext, request: Parameters, *, is_egress: bool) -> Reply:
    group = group_of(context, request)
    by_data = read_permissions(context, group, request)
    by_id = {
        one.get("SecurityGroupRuleId", ""): one.get("Description")
        for one in request.get("SecurityGroupRuleDescriptions", ())
    }
    if by_data and by_id:
        raise errors.invalid_parameter_combination("Name rules by IpPermissions or by their ids, not both.")
    if not by_data and not by_id:
        raise errors.missing_parameter("IpPermissions")
    security_groups.describe_rules(context.session, group, is_egress=is_egress, by_data=by_data, by_id=by_id)
    return {"Return": True}


_DESCRIBED = ("GroupId", "GroupName", "SecurityGroupRuleDescriptions", *NESTED)


@operation("ec2", "UpdateSecurityGroupRuleDescriptionsIngress", mutates=True, honours=_DESCRIBED)
def update_security_group_rule_descriptions_ingress(context: RequestContext, request: Parameters) -> Reply:
    """Give rules other descriptions, or none."""
    return _update_descriptions(context, request, is_egress=False)


@operation("ec2", "UpdateSecurityGroupRuleDescriptionsEgress", mutates=True, honours=_DESCRIBED)
def update_security_group_rule_descriptions_egress(context: RequestContext, request: Parameters) -> Reply:
    """Give rules other descriptions, or none."""
    return _update_descriptions(context, request, is_egress=True)


@operation(
    "ec2",
    "GetSecurityGroupsForVpc",
    mutates=False,
    honours=("VpcId",),
    filters=FilterTable(
        item="SecurityGroupForVpcs[]",
        paths={
            "description": "Description",
            "group-id": "GroupId",
            "group-name": "GroupName",
            "owner-id": "OwnerId",
            "primary-vpc-id": "PrimaryVpcId",
        },
        tags="Tags",
    ),
    paged=Paged(result="SecurityGroupForVpcs", minimum=5, maximum=1000, key="GroupId"),
)
def get_security_groups_for_vpc(context: RequestContext, request: Parameters) -> Reply:
    """The groups that an interface in this VPC can be a member of."""
    vpc = vpcs.get_vpc(context.session, context.account_id, request["VpcId"])
    found = [one for one in security_groups.visible(context.session, context.account_id) if one.vpc_id == vpc.vpc_id]
    own_tags = tags.tags_of(context.session, context.account_id, [one.group_id for one in found])
    return {
        "SecurityGroupForVpcs": [
            {
                "Description": one.description,
                "GroupId": one.group_id,
                "GroupName": one.group_name,
                "OwnerId": one.account_id,
                "PrimaryVpcId": one.vpc_id,
                "Tags": own_tags[one.group_id],
            }
            for one in found
        ]
    }


@operation("ec2", "DescribeSecurityGroupReferences", mutates=False, honours=("GroupId",))
def describe_security_group_references(context: RequestContext, request: Parameters) -> Reply:
    """Which other VPCs' groups refer to these: none, as no two VPCs here are connected."""
    security_groups.visible(context.session, context.account_id, request["GroupId"])
    return {"SecurityGroupReferenceSet": []}


@operation(
    "ec2",
    "DescribeStaleSecurityGroups",
    mutates=False,
    honours=("VpcId",),
    paged=Paged(result="StaleSecurityGroupSet", minimum=5, maximum=255, key="GroupId"),
)
def describe_stale_security_groups(context: RequestContext, request: Parameters) -> Reply:
    """Which groups refer to a group of a VPC that was connected once: none."""
    vpcs.get_vpc(context.session, context.account_id, request["VpcId"])
    return {"StaleSecurityGroupSet": []}
