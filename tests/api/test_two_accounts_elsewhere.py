"""The same for the services beside EC2: what names another account's thing is answered as if there were none.

Generated from the models: every operation that takes a name of one of these kinds is tried, also one added tomorrow.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from bakehouse.api.models import Shape, get_operation_model, input_members
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
# service -> parameters that name a thing there; a name of IAM's or SSM's is a name within the account.
NAMED_BY = {
    "iam": ("AccessKeyId", "InstanceProfileName", "PolicyArn", "RoleName", "UserName"),
    "rbin": ("Identifier", "ResourceArn"),
    "ssm": ("Name", "Names", "ResourceId"),
    "sts": ("RoleArn",),
}
# These make what they name: another account's names are free.
MAKES = {
    ("CreateInstanceProfile", "InstanceProfileName"),
    ("CreateRole", "RoleName"),
    ("CreateUser", "UserName"),
    ("PutParameter", "Name"),
}
# What looks like a name and names no thing of an account's: versions, AWS's own, part of what is named beside it.
NAMES_NOTHING = {
    "ExternalId",
    "KeyId",
    "NewUserName",
    "PolicyArns",
    "PolicyName",
    "RoleSessionName",
    "VersionId",
    "SourceIdentity",
}
LOOKS_LIKE_ONE = ("Arn", "Arns", "Id", "Ids", "Identifier", "Name", "Names")
# Valid values for whatever else an operation asks for, so that it gets as far as looking for the thing.
VALID: dict[str, Any] = {
    "AssumeRolePolicyDocument": json.dumps(TRUST),
    "Description": "none",
    "Labels": ["first"],
    "LockConfiguration": {"UnlockDelay": {"UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS"}},
    "PolicyDocument": json.dumps(RIGHTS),
    "PolicyName": "inline",
    "ResourceType": "Parameter",
    "RoleSessionName": "session",
    "Status": "Inactive",
    "TagKeys": ["key"],
    "Tags": [{"Key": "key", "Value": "value"}],
    "VersionId": "v1",
}
NEVER_ASKED = {"ValidationError", "ValidationException", "MissingParameter", "InvalidInput", "MalformedPolicyDocument"}
OPERATIONS = [each for each in discover() if each.service in NAMED_BY]
TRIED = [
    pytest.param(each.service, each.name, parameter, id=f"{each.service}-{each.name}-{parameter}")
    for each in OPERATIONS
    for parameter in NAMED_BY[each.service]
    if parameter in input_members(get_operation_model(each.service, each.name))
    if (each.name, parameter) not in MAKES
]


def make_things(client: Callable[[str], Any], name: str) -> dict[tuple[str, str], str]:
    """One of each, in the account of these clients."""
    iam, rbin, ssm = (client(service) for service in ("iam", "rbin", "ssm"))
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName=name)
    policy = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(RIGHTS))["Policy"]["Arn"]
    period = {"RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS"}
    tag = [{"ResourceTagKey": name, "ResourceTagValue": name}]
    rule = rbin.create_rule(ResourceType="EBS_SNAPSHOT", RetentionPeriod=period, ResourceTags=tag)
    ssm.put_parameter(Name=name, Value="secret", Type="String")
    return {
        ("iam", "AccessKeyId"): key,
        ("iam", "UserName"): name,
        ("iam", "RoleName"): name,
        ("iam", "InstanceProfileName"): name,
        ("iam", "PolicyArn"): policy,
        ("rbin", "Identifier"): rule["Identifier"],
        ("rbin", "ResourceArn"): rule["RuleArn"],
        ("ssm", "Name"): name,
        ("ssm", "Names"): name,
        ("ssm", "ResourceId"): name,
        ("sts", "RoleArn"): role,
    }


@pytest.fixture(scope="module")
def theirs(service: Service) -> dict[tuple[str, str], str]:
    """One of each in the administrator's account."""
    return make_things(service.client, unique("theirs"))


@pytest.fixture(scope="module")
def own(service: Service, other: Caller) -> dict[tuple[str, str], str]:
    """One of each in the account that asks: what an operation names besides the thing of the other."""
    return make_things(partial(service.client, keys=other.keys), unique("own"))


def of_nobody(value: str) -> str:
    """A value of the same form and length that names nothing."""
    return value[:-4] + ("zzzz" if value[-4:] != "zzzz" else "yyyy")


def test_every_parameter_that_looks_like_a_name_is_tried_or_names_nothing() -> None:
    known = {parameter for parameters in NAMED_BY.values() for parameter in parameters} | NAMES_NOTHING
    unknown = {
        (each.name, parameter)
        for each in OPERATIONS
        for parameter in input_members(get_operation_model(each.service, each.name))
        if parameter.endswith(LOOKS_LIKE_ONE) and parameter not in known
    }
    assert not unknown
    assert {each.service for each in discover()} == {"ec2", *NAMED_BY}


def fill(service: str, shape: Shape, parameter: str, value: str, own: dict[tuple[str, str], str]) -> dict[str, Any]:
    """A request that is valid but for whose the thing is that ``parameter`` names."""
    given = {name: own.get((service, name), VALID.get(name, least)) for name, least in wire.fill_least(shape).items()}
    given[parameter] = [value] if shape.members[parameter].type_name == "list" else value
    return given


@pytest.mark.programs
@pytest.mark.parametrize(("service_name", "operation", "parameter"), TRIED)
def test_anothers_name_is_answered_as_if_there_were_none(
    other: Caller,
    theirs: dict[tuple[str, str], str],
    own: dict[tuple[str, str], str],
    service_name: str,
    operation: str,
    parameter: str,
) -> None:
    shape = get_operation_model(service_name, operation).input_shape
    foreign = theirs[service_name, parameter]
    answers = []
    for value in (foreign, of_nobody(foreign)):
        answer = other.call(operation, fill(service_name, shape, parameter, value, own), service=service_name)
        assert answer.status < 500, answer.body
        assert answer.code not in NEVER_ASKED, answer.message
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
