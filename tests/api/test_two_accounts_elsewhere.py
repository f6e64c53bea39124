"""The same for the services beside EC2: what names another account's thing is answered as if there were none.

Generated from the models: every operation that takes a name of one of these kinds is tried, also one added tomorrow.
"""

import json
from typing import Any

import pytest

from bakehouse.api.models import get_operation_model, input_members
from bakehouse.api.registry import discover
from tests.api.conftest import unique
from tests.framework import wire
from tests.framework.caller import Caller
from tests.framework.service import Service

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
RIGHTS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:DescribeImages", "Resource": "*"}]}
# service -> parameter -> what it names is called there; a name of IAM's or SSM's is a name within the account.
NAMED_BY = {
    "iam": ("InstanceProfileName", "PolicyArn", "RoleName", "UserName"),
    "rbin": ("Identifier", "ResourceArn"),
    "ssm": ("Name", "Names", "ResourceId"),
}
# These make what they name: another account's names are free.
MAKES = ("Create", "Put", "Upload")
TRIED = [
    pytest.param(each.service, each.name, parameter, id=f"{each.service}-{each.name}-{parameter}")
    for each in discover()
    if each.service in NAMED_BY and not each.name.startswith(MAKES)
    for parameter in NAMED_BY[each.service]
    if parameter in input_members(get_operation_model(each.service, each.name))
]


@pytest.fixture(scope="module")
def theirs(service: Service) -> dict[tuple[str, str], str]:
    """One of each in the administrator's account."""
    iam, rbin, ssm = (service.client(name) for name in ("iam", "rbin", "ssm"))
    name = unique("theirs")
    iam.create_user(UserName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_instance_profile(InstanceProfileName=name)
    policy = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(RIGHTS))["Policy"]["Arn"]
    period = {"RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS"}
    tag = [{"ResourceTagKey": name, "ResourceTagValue": name}]
    rule = rbin.create_rule(ResourceType="EBS_SNAPSHOT", RetentionPeriod=period, ResourceTags=tag)
    ssm.put_parameter(Name=name, Value="secret", Type="String")
    return {
        ("iam", "UserName"): name,
        ("iam", "RoleName"): name,
        ("iam", "InstanceProfileName"): name,
        ("iam", "PolicyArn"): policy,
        ("rbin", "Identifier"): rule["Identifier"],
        ("rbin", "ResourceArn"): rule["RuleArn"],
        ("ssm", "Name"): name,
        ("ssm", "Names"): name,
        ("ssm", "ResourceId"): name,
    }


def of_nobody(value: str) -> str:
    """A value of the same form and length that names nothing."""
    return value[:-4] + ("zzzz" if value[-4:] != "zzzz" else "yyyy")


def test_many_operations_are_tried() -> None:
    assert len(TRIED) > 60


@pytest.mark.programs
@pytest.mark.parametrize(("service_name", "operation", "parameter"), TRIED)
def test_anothers_name_is_answered_as_if_there_were_none(
    other: Caller, theirs: dict[tuple[str, str], str], service_name: str, operation: str, parameter: str
) -> None:
    shape = get_operation_model(service_name, operation).input_shape
    foreign = theirs[service_name, parameter]
    answers = []
    for value in (foreign, of_nobody(foreign)):
        given: Any = [value] if shape.members[parameter].type_name == "list" else value
        answer = other.call(operation, {**wire.fill_least(shape), parameter: given}, service=service_name)
        assert answer.status < 500, answer.body
        rest = {name: one for name, one in answer.parsed.items() if name not in ("ResponseMetadata", "Error")}
        said = f"{answer.message} {rest}".replace(value, "THIS").replace(value.rpartition("/")[2], "THIS")
        answers.append((answer.status, answer.code, said))
    assert answers[0] == answers[1]


@pytest.mark.programs
def test_nothing_of_it_was_changed(service: Service, theirs: dict[tuple[str, str], str]) -> None:
    iam, rbin, ssm = (service.client(name) for name in ("iam", "rbin", "ssm"))
    name = theirs["iam", "UserName"]
    assert iam.get_user(UserName=name)["User"]["UserName"] == name
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == TRUST
    assert iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"] == []
    assert iam.get_policy(PolicyArn=theirs["iam", "PolicyArn"])["Policy"]["AttachmentCount"] == 0
    assert rbin.get_rule(Identifier=theirs["rbin", "Identifier"])["LockState"] == "unlocked"
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == "secret"
