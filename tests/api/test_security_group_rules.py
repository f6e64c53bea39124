"""Rules changed in place and described, as the clients that keep groups in a wanted state send it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import unique
from tests.api.test_nouns import refused


@pytest.fixture
def group_id(ec2: Any) -> Iterator[str]:
    made = str(ec2.create_security_group(GroupName=unique("group"), Description="d")["GroupId"])
    yield made
    ec2.delete_security_group(GroupId=made)


def web(*ranges: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": list(ranges), **more}]


def permissions(ec2: Any, group_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0][
        "IpPermissions"
    ]
    return found


def test_a_rule_becomes_another_under_its_id(ec2: Any, group_id: str) -> None:
    rules = ec2.authorize_security_group_ingress(
        GroupId=group_id, IpPermissions=web({"CidrIp": "10.0.0.0/8"}, {"CidrIp": "192.0.2.0/24", "Description": "old"})
    )["SecurityGroupRules"]
    first, second = (rule["SecurityGroupRuleId"] for rule in rules)
    changed = {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "CidrIpv4": "10.1.0.0/16", "Description": "new"}
    change = {"SecurityGroupRuleId": first, "SecurityGroupRule": changed}
    assert ec2.modify_security_group_rules(GroupId=group_id, SecurityGroupRules=[change])["Return"] is True
    found = ec2.describe_security_group_rules(SecurityGroupRuleIds=[first])["SecurityGroupRules"][0]
    assert {name: found[name] for name in changed} == changed
    # A group as its source, and no description any more.
    itself = {"IpProtocol": "-1", "ReferencedGroupId": group_id}
    change = {"SecurityGroupRuleId": first, "SecurityGroupRule": itself}
    ec2.modify_security_group_rules(GroupId=group_id, SecurityGroupRules=[change])
    found = ec2.describe_security_group_rules(SecurityGroupRuleIds=[first])["SecurityGroupRules"][0]
    assert found["ReferencedGroupInfo"]["GroupId"] == group_id
    assert not {"CidrIpv4", "Description"} & set(found)
    same = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIpv4": "192.0.2.0/24"}
    before = permissions(ec2, group_id)
    for rule_id, rule, code in (
        (first, same, "InvalidPermission.Duplicate"),
        ("sgr-00000000000000001", same, "InvalidSecurityGroupRuleId.NotFound"),
        (first, {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}, "InvalidParameterValue"),
        (first, {**same, "CidrIpv6": "::/0"}, "InvalidParameterValue"),
        (first, {"CidrIpv4": "192.0.2.0/24"}, "MissingParameter"),
        (first, {**same, "ToPort": 70000}, "InvalidParameterValue"),
        (first, {**itself, "ReferencedGroupId": "sg-00000000000000001"}, "InvalidGroup.NotFound"),
    ):
        change = {"SecurityGroupRuleId": rule_id, "SecurityGroupRule": rule}
        assert refused(ec2.modify_security_group_rules, GroupId=group_id, SecurityGroupRules=[change]) == code
    assert permissions(ec2, group_id) == before
    # Two rules may change places in one call.
    swap = [
        {"SecurityGroupRuleId": first, "SecurityGroupRule": same},
        {"SecurityGroupRuleId": second, "SecurityGroupRule": itself},
    ]
    ec2.modify_security_group_rules(GroupId=group_id, SecurityGroupRules=swap)
    assert len(permissions(ec2, group_id)) == 2


def test_a_group_may_be_named_with_its_own_vpc(ec2: Any, group_id: str) -> None:
    vpc_id = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["VpcId"]
    pair = {"GroupId": group_id}
    named = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [pair]}
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[named])
    revoke = ec2.revoke_security_group_ingress
    pair["VpcId"] = "vpc-00000000000000001"
    assert refused(revoke, GroupId=group_id, IpPermissions=[named]) == "InvalidVpcID.NotFound"
    pair["VpcId"] = vpc_id
    revoke(GroupId=group_id, IpPermissions=[named])
    assert ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"] == []


def test_descriptions_change_and_nothing_else(ec2: Any, group_id: str) -> None:
    one = {"GroupId": group_id}
    ec2.authorize_security_group_ingress(**one, IpPermissions=web({"CidrIp": "10.0.0.0/8", "Description": "old"}))
    described = web({"CidrIp": "10.0.0.0/8", "Description": "new"})
    ec2.update_security_group_rule_descriptions_ingress(**one, IpPermissions=described)
    assert permissions(ec2, group_id)[0]["IpRanges"] == described[0]["IpRanges"]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group_id]}])
    by_direction = {rule["IsEgress"]: rule["SecurityGroupRuleId"] for rule in rules["SecurityGroupRules"]}
    text = {"SecurityGroupRuleId": by_direction[True], "Description": "out"}
    ec2.update_security_group_rule_descriptions_egress(**one, SecurityGroupRuleDescriptions=[text])
    group = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
    assert group["IpPermissionsEgress"][0]["IpRanges"][0]["Description"] == "out"
    ec2.update_security_group_rule_descriptions_ingress(**one, IpPermissions=web({"CidrIp": "10.0.0.0/8"}))
    assert permissions(ec2, group_id)[0]["IpRanges"] == [{"CidrIp": "10.0.0.0/8"}]
    update = ec2.update_security_group_rule_descriptions_ingress
    assert refused(update, **one, IpPermissions=web({"CidrIp": "10.9.0.0/16"})) == "InvalidPermission.NotFound"
    assert refused(update, **one, SecurityGroupRuleDescriptions=[text]) == "InvalidSecurityGroupRuleId.NotFound"
    assert refused(update, **one) == "MissingParameter"


def test_the_groups_of_a_vpc_are_listed_and_nobody_else_refers_to_them(ec2: Any, group_id: str) -> None:
    vpc_id = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["VpcId"]
    found = ec2.get_security_groups_for_vpc(VpcId=vpc_id)["SecurityGroupForVpcs"]
    assert {group_id} < {one["GroupId"] for one in found}
    assert {one["PrimaryVpcId"] for one in found} == {vpc_id}
    assert ec2.describe_security_group_references(GroupId=[group_id])["SecurityGroupReferenceSet"] == []
    assert refused(ec2.get_security_groups_for_vpc, VpcId="vpc-00000000000000001") == "InvalidVpcID.NotFound"
