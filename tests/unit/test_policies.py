"""Policy documents: what is one, and what they say to a request."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bakehouse.domain.iam import documents
from bakehouse.domain.iam.documents import read_identity_policy, read_trust_policy
from bakehouse.domain.iam.evaluation import Decision, decide
from bakehouse.domain.iam.facts import RequestFacts, request_tag_values, tag_values
from bakehouse.errors import ApiError

ALLOWED, DENIED, NOT_ALLOWED = Decision.ALLOWED, Decision.DENIED, Decision.NOT_ALLOWED
INSTANCE = "arn:aws:ec2:us-east-1:111122223333:instance/i-1"
IMAGE = "arn:aws:ec2:us-east-1::image/ami-1"
ACT = "ec2:StopInstances"

VALUES = {
    "aws:username": ("alice",),
    "aws:sourceip": ("10.1.2.3",),
    "aws:currenttime": ("2026-06-01T00:00:00Z",),
    "aws:epochtime": ("1780272000",),
    # A socket for both families shows IPv4 so.
    "aws:vpcsourceip": ("::ffff:10.1.2.3",),
    "aws:principalaccount": ("111122223333",),
    "aws:principalarn": ("arn:aws:iam::111122223333:user/team/alice",),
    "aws:securetransport": ("false",),
    "aws:requestedregion": ("us-east-1",),
    "aws:tagkeys": ("Name", "Cost"),
    "aws:requesttag/name": ("web",),
}
OF_RESOURCE = {"ec2:instancetype": ("t3.nano",), "ec2:volumesize": ("8",), "aws:resourcetag/owner": ("alice",)}


# Were they taken, the negated operators would always be true.
OF_ANOTHER_TYPE = [
    *(
        (operator, value)
        for operator in ("NumericLessThan", "NumericNotEquals")
        for value in ("eight", "nan", "1_0", "")
    ),
    *((operator, value) for operator in ("DateLessThan", "DateNotEquals") for value in ("soon", "2026-13-01", "1e3")),
    *((operator, value) for operator in ("IpAddress", "NotIpAddress") for value in ("here", "10.0.0.0/33", "10.0.0")),
    ("NotIpAddress", "${aws:SourceIp}"),
    ("Bool", "maybe"),
    ("Bool", ["true", ""]),
    ("Null", "0"),
    ("BinaryEquals", "?"),
]


def facts() -> RequestFacts:
    return RequestFacts(VALUES, load=lambda: OF_RESOURCE, load_principal_tags=dict)


def statement(effect: str = "Allow", action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: Mapping[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": statements})


def judge(*statements: Mapping[str, Any], action: str = ACT, resource: str = INSTANCE) -> Decision:
    return decide(read_identity_policy(document(*statements)), action, resource, facts())


@pytest.mark.parametrize(
    ("statements", "verdict"),
    [
        ([statement()], ALLOWED),
        ([statement("Deny")], DENIED),
        ([statement(action="ec2:*")], ALLOWED),
        ([statement(action="EC2:stopINSTANCES")], ALLOWED),
        ([statement(action="ec2:Stop*")], ALLOWED),
        ([statement(action="ec2:StopInstance?")], ALLOWED),
        ([statement(action="ec2:Start*")], NOT_ALLOWED),
        ([statement(action=["iam:*", "ec2:StopInstances"])], ALLOWED),
        ([statement(), statement("Deny", "ec2:Stop*")], DENIED),
        ([statement("Deny", "ec2:Stop*"), statement()], DENIED),
        ([statement(), statement("Deny", "ec2:Run*")], ALLOWED),
        ([statement(resource=INSTANCE)], ALLOWED),
        ([statement(resource="arn:aws:ec2:*:*:instance/*")], ALLOWED),
        ([statement(resource="arn:aws:ec2:us-east-1:111122223333:instance/i-?")], ALLOWED),
        ([statement(resource="arn:aws:ec2:us-east-1:111122223333:instance/i-2")], NOT_ALLOWED),
        ([statement(resource="arn:aws:ec2:eu-*:*:instance/*")], NOT_ALLOWED),
        ([statement(resource="arn:aws:ec2:*:999999999999:instance/*")], NOT_ALLOWED),
        ([statement(resource=["arn:aws:ec2:*:*:volume/*", INSTANCE])], ALLOWED),
        ([statement(), statement("Deny", resource=INSTANCE)], DENIED),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], ALLOWED),
        ([{"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}], NOT_ALLOWED),
        ([{"Effect": "Allow", "Action": "*", "NotResource": INSTANCE}], NOT_ALLOWED),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:ec2:*:*:volume/*"}], ALLOWED),
        ([statement(), {"Effect": "Deny", "NotAction": "ec2:Describe*", "Resource": "*"}], DENIED),
    ],
)
def test_an_explicit_deny_wins_over_an_allow_and_that_over_nothing(
    statements: list[dict[str, Any]], verdict: Decision
) -> None:
    assert judge(*statements) is verdict


def test_an_action_without_a_resource_needs_a_policy_for_everything() -> None:
    listing = {"action": "ec2:DescribeImages", "resource": "*"}
    assert judge(statement(), **listing) is ALLOWED
    assert judge(statement(resource="arn:aws:ec2:*:*:*"), **listing) is NOT_ALLOWED


def test_a_wildcard_does_not_reach_across_the_colons_of_an_arn() -> None:
    assert judge(statement(resource="arn:aws:ec2:us-east-1:*:image/ami-1"), resource=IMAGE) is ALLOWED
    assert judge(statement(resource="arn:aws:*:i:n:image/ami-1"), resource=IMAGE) is NOT_ALLOWED


@pytest.mark.parametrize(
    ("operator", "key", "values", "holds"),
    [
        ("StringEquals", "aws:username", "alice", True),
        ("StringEquals", "AWS:UserName", ["bob", "alice"], True),
        ("StringEquals", "aws:username", "Alice", False),
        ("StringEqualsIgnoreCase", "aws:username", "ALICE", True),
        ("StringNotEquals", "aws:username", "bob", True),
        ("StringNotEquals", "aws:username", ["bob", "alice"], False),
        ("StringLike", "aws:username", "al*", True),
        ("StringLike", "aws:username", "al?", False),
        ("StringNotLike", "aws:username", "b*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/*", False),
        ("ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:user/bob", True),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", True),
        ("IpAddress", "aws:SourceIp", ["192.168.0.0/16", "10.1.2.3"], True),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", False),
        ("NotIpAddress", "aws:SourceIp", "2001:db8::/32", True),
        ("IpAddress", "aws:VpcSourceIp", "10.0.0.0/8", True),
        ("NotIpAddress", "aws:VpcSourceIp", "10.0.0.0/8", False),
        ("Bool", "aws:SecureTransport", "false", True),
        ("Bool", "aws:SecureTransport", True, False),
        ("NumericLessThanEquals", "ec2:VolumeSize", 8, True),
        ("NumericGreaterThan", "ec2:VolumeSize", "8", False),
        ("NumericNotEquals", "ec2:VolumeSize", "9", True),
        ("NumericEquals", "aws:username", "8", False),
        ("NumericNotEquals", "aws:username", "8", True),
        ("DateLessThan", "aws:CurrentTime", "2027-01-01T00:00:00Z", True),
        ("DateGreaterThan", "aws:CurrentTime", "2027-01-01T00:00:00Z", False),
        ("DateGreaterThan", "aws:EpochTime", "1700000000", True),
        ("DateGreaterThan", "aws:CurrentTime", "2027", False),
        ("DateLessThan", "aws:EpochTime", "2026-07", True),
        ("Null", "aws:username", "false", True),
        ("Null", "aws:username", "true", False),
        ("Null", "aws:MultiFactorAuthPresent", "true", True),
        ("Null", "ec2:ResourceTag/Owner", True, True),
        ("StringEquals", "aws:ResourceTag/Owner", "alice", True),
        ("StringEquals", "aws:ResourceTag/Owner", "${aws:username}", True),
        ("StringLike", "aws:ResourceTag/Owner", "${aws:username}*", True),
        ("StringEquals", "aws:ResourceTag/Owner", "${aws:RequestTag/Other, 'alice'}", True),
        ("StringEquals", "aws:ResourceTag/Owner", "${aws:username, 'bob'}", True),
        # One value that goes is enough, whatever another would be.
        ("StringEquals", "aws:ResourceTag/Owner", ["${saml:sub}", "alice"], True),
        ("StringNotEquals", "aws:ResourceTag/Owner", ["${saml:sub}", "alice"], False),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::${aws:PrincipalAccount}:user/team/${aws:username}", True),
        ("StringEquals", "ec2:InstanceType", ["t3.micro", "t3.nano"], True),
        ("StringEquals", "aws:RequestTag/Name", "web", True),
        ("StringEquals", "aws:RequestTag/Other", "web", False),
        ("StringNotEquals", "aws:RequestTag/Other", "web", True),
        ("StringEqualsIfExists", "aws:RequestTag/Other", "web", True),
        ("StringEqualsIfExists", "aws:RequestTag/Name", "db", False),
        ("BoolIfExists", "aws:MultiFactorAuthPresent", "true", True),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["Name", "Cost", "Stage"], True),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["Name"], False),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["Name"], True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["Stage"], False),
        ("ForAnyValue:StringEquals", "aws:RequestTag/Other", ["x"], False),
        ("ForAllValues:StringEquals", "aws:RequestTag/Other", ["x"], True),
    ],
)
def test_a_condition_holds_or_not(operator: str, key: str, values: Any, holds: bool) -> None:
    condition = {operator: {key: values}}
    assert judge(statement(Condition=condition)) is (ALLOWED if holds else NOT_ALLOWED)
    assert judge(statement(), statement("Deny", Condition=condition)) is (DENIED if holds else ALLOWED)


@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEquals", "StringEqualsIfExists", "Null", "Bool"])
@pytest.mark.parametrize("key", ["aws:SourceVpc", "ec2:NoSuchKey", "kms:EncryptionContextKeys"])
def test_a_key_nobody_knows_allows_nothing_and_denies(operator: str, key: str) -> None:
    condition = {operator: {key: "true"}}
    assert judge(statement(Condition=condition)) is NOT_ALLOWED
    assert judge(statement(), statement("Deny", Condition=condition)) is DENIED
    # What is false anyway stays so.
    false = {**condition, "StringLike": {"aws:username": "bob"}}
    assert judge(statement(), statement("Deny", Condition=false)) is ALLOWED


def test_a_variable_stands_for_its_value_and_never_for_a_pattern() -> None:
    own = "arn:aws:iam::111122223333:user/${aws:username}"
    asked = {"action": "iam:GetUser", "resource": "arn:aws:iam::111122223333:user/alice"}
    assert judge(statement(resource=own), **asked) is ALLOWED
    assert judge(statement(resource=own), action="iam:GetUser", resource=asked["resource"][:-1]) is NOT_ALLOWED
    old = read_identity_policy(document(statement(resource=own), version="2008-10-17"))
    assert decide(old, asked["action"], asked["resource"], facts()) is NOT_ALLOWED
    values = {"aws:username": ("a*",)}
    starred = RequestFacts(values, load=dict, load_principal_tags=dict)
    found = read_identity_policy(document(statement(resource=own)))
    assert decide(found, asked["action"], asked["resource"], starred) is NOT_ALLOWED


def test_a_variable_nobody_knows_allows_nothing_and_denies() -> None:
    one = "arn:aws:ec2:us-east-1:111122223333:instance/${saml:sub}"
    assert judge(statement(resource=one)) is NOT_ALLOWED
    assert judge(statement(), statement("Deny", resource=one)) is DENIED


def test_a_variable_in_any_part_of_an_arn_stands_for_its_value() -> None:
    own = "arn:aws:ec2:${aws:RequestedRegion}:${aws:PrincipalAccount}:instance/*"
    assert judge(statement(resource=own)) is ALLOWED
    assert judge(statement(), statement("Deny", resource=own)) is DENIED
    assert judge(statement(resource=own), resource=INSTANCE.replace("us-east-1", "eu-west-1")) is NOT_ALLOWED


def test_what_one_variable_would_be_does_not_matter_where_another_pattern_names_the_resource() -> None:
    patterns = ["arn:aws:ec2:*:*:instance/${saml:sub}", INSTANCE]
    assert judge(statement(resource=patterns)) is ALLOWED
    assert judge(statement(), {"Effect": "Deny", "Action": "*", "NotResource": patterns}) is ALLOWED


def test_tags_that_differ_in_case_only_fail_safe() -> None:
    tags = request_tag_values({"owner": "alice", "Owner": "bob"})
    both = RequestFacts(
        tags, load=lambda: tag_values("aws:resourcetag/", [("a", "1"), ("A", "2")]), load_principal_tags=dict
    )
    for key, value in (("aws:RequestTag/Owner", "alice"), ("aws:RequestTag/Owner", "bob"), ("aws:ResourceTag/A", "1")):
        for effect, verdict in (("Allow", NOT_ALLOWED), ("Deny", DENIED)):
            one = statement(effect, Condition={"StringEquals": {key: value}})
            assert decide(read_identity_policy(document(one)), ACT, INSTANCE, both) is verdict


def test_judging_a_hostile_pattern_comes_to_an_end() -> None:
    pattern = "arn:aws:ec2:us-east-1:111122223333:instance/" + "*a" * 1000 + "b"
    resource = "arn:aws:ec2:us-east-1:111122223333:instance/" + "a" * 2000
    assert judge(statement(resource=pattern), resource=resource) is NOT_ALLOWED


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "[" * 100_000,
        '{"Version": "2012-10-17"}',
        '{"Version": "2012-10-17", "Statement": []}',
        '{"Version": "2013-01-01", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}',
        '{"Statement": {"Effect": "Allow", "Effect": "Deny", "Action": "*", "Resource": "*"}}',
        document(statement("allow")),
        document(statement(action=[])),
        document(statement(resource=[])),
        document(statement(action="RunInstances")),
        document(statement(action=7)),
        document(statement(resource="instance/i-1")),
        document(statement(resource="aws:ec2:::x:y")),
        document(statement(resource="arn:aws:ec2:${aws:RequestedRegion}:${aws:PrincipalAccount}")),
        document(statement(NotAction="ec2:*")),
        document(statement(NotResource="*")),
        document(statement(Sid="a b")),
        document(statement(Sid="a"), statement(Sid="a")),
        document(statement(Extra=1)),
        document(statement(Principal="*")),
        document(statement(Condition={"StringFoo": {"aws:username": "x"}})),
        document(statement(Condition={"NullIfExists": {"aws:username": "true"}})),
        document(statement(Condition={"StringEquals": {"username": "x"}})),
        document(statement(Condition={"StringEquals": {"aws:username": {"a": "b"}}})),
        document(statement(Condition={"StringEquals": {}})),
        document(statement(Condition={"StringNotEquals": {"aws:username": []}})),
        document(statement(Condition={"StringEquals": {"aws:username": "a", "AWS:UserName": "b"}})),
        document(statement(Condition={"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*"}})),
        document(statement(Condition={"NumericLessThan": {"ec2:VolumeSize": float("nan")}})),
        *(document(statement(Condition={operator: {"aws:username": value}})) for operator, value in OF_ANOTHER_TYPE),
        document(statement(Condition="x")),
    ],
)
def test_what_is_no_policy_is_refused_as_malformed(bad: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_identity_policy(bad)
    assert refused.value.code == "MalformedPolicyDocument"


def trust(principal: Any, **more: Any) -> str:
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, **more})


def test_a_policy_that_is_mostly_white_space_is_not_kept_in_memory() -> None:
    kept = documents._read_kept.cache_info().currsize
    assert read_identity_policy(document(statement()) + " " * 100_000)
    assert documents._read_kept.cache_info().currsize == kept


@pytest.mark.parametrize(
    "bad",
    [
        document({"Effect": "Allow", "Action": "sts:AssumeRole"}),
        trust({}),
        trust([]),
        trust({"AWS": []}),
        trust({"AWS": "alice"}),
        trust({"AWS": "arn:aws:iam::1:root"}),
        trust({"Service": "ec2"}),
        trust({"Federated": "arn:aws:iam::111122223333:saml-provider/x"}),
        trust("*", Resource="*"),
        document({"Effect": "Allow", "Action": "sts:AssumeRole", "NotPrincipal": {"AWS": "111122223333"}}),
    ],
)
def test_a_trust_policy_names_accounts_identities_or_services(bad: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_trust_policy(bad)
    assert refused.value.code == "MalformedPolicyDocument"


def test_an_account_by_its_number_is_its_root() -> None:
    (only,) = read_trust_policy(trust({"AWS": "111122223333", "Service": ["ec2.amazonaws.com"]}))
    assert only.principals == (("AWS", "arn:aws:iam::111122223333:root"), ("Service", "ec2.amazonaws.com"))
