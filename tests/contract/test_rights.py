"""What policies say to requests, over rows: whatever way a request names what it is done to."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.api import authorization
from bakehouse.api.context import RequestContext
from bakehouse.api.operations.image_copies import copy_image
from bakehouse.api.operations.images import deregister_image
from bakehouse.api.targets import Asked
from bakehouse.database.migrate import migrate
from bakehouse.database.models import (
    Account,
    CreateVolumePermission,
    Image,
    InlinePolicy,
    Parameter,
    Snapshot,
)
from bakehouse.database.session import Database, in_region
from bakehouse.domain import retention_rules, tags
from bakehouse.domain.iam import identity_tags, keys, managed_policies, policies, principals, roles, sessions, users
from bakehouse.domain.iam.authority import Authority
from bakehouse.domain.iam.facts import Circumstances
from bakehouse.domain.iam.principals import Principal
from bakehouse.domain.retention_rules import NewRule
from bakehouse.errors import ApiError
from tests.framework.identities import Statement, allow, deny, document, trusting

HERE, THERE = "us-east-1", "eu-west-1"
ACCOUNT, STRANGER = "1" * 12, "2" * 12
IMAGE, SNAPSHOT = "ami-00000000000000001", "snap-00000000000000001"
OF_STRANGER = "snap-00000000000000002"
IN_NO_ACCOUNT = f"arn:aws:ec2:{HERE}::"
PROTECTED = {"ForAnyValue:StringEquals": {"aws:TagKeys": ["protected"]}}
IS_PROTECTED = {"StringEquals": {"aws:ResourceTag/protected": "yes"}}
TAG = {"Key": "protected", "Value": "yes"}


class _Over(Exception):
    """Rolls a test's transaction back."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The rows of two accounts and of what each has; every test's transaction is rolled back."""
    opened = Database(f"sqlite:///{tmp_path_factory.mktemp('rights') / 'rows.db'}")
    migrate(opened)
    with opened.transaction(region=HERE) as session:
        session.add_all([Account(account_id=ACCOUNT), Account(account_id=STRANGER)])
        session.flush()
        for owner, snapshot_id in ((ACCOUNT, SNAPSHOT), (STRANGER, OF_STRANGER)):
            session.add(Snapshot(snapshot_id=snapshot_id, account_id=owner, volume_size_gib=3, state="completed"))
        image = Image(image_id=IMAGE, account_id=ACCOUNT, name="web", state="available", root_device_name="/dev/xvda")
        image.block_device_mappings = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": SNAPSHOT}}]
        session.add(image)
        session.flush()
        for kind, resource_id in (("image", IMAGE), ("snapshot", SNAPSHOT)):
            tags.put_tags(session, ACCOUNT, resource_id, kind, [TAG])
    yield opened
    opened.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A request's transaction in the home region."""
    with suppress(_Over), database.transaction(region=HERE) as opened:
        yield opened
        raise _Over


def user_with(session: Session, *statements: Statement, name: str = "alice") -> Principal:
    user = users.find(session, ACCOUNT, name) or users.create(session, ACCOUNT, name, path=None, tags=())
    session.merge(InlinePolicy(owner_id=user.user_id, policy_name="rights", document=document(*statements)))
    session.flush()
    return keys.of_user(user)


def rights_of(session: Session, principal: Principal, region: str = HERE) -> Authority:
    about = Circumstances(
        region=region, source_ip="127.0.0.1", user_agent="", is_secure=False, moment=datetime.now(UTC)
    )
    return Authority(principal, session, about, errors.unauthorized_operation)


def may(
    session: Session, principal: Principal, operation: str, parameters: Mapping[str, Any], region: str = HERE
) -> bool:
    service, _, action = operation.partition(":")
    asked = Asked(
        service=service,
        action=action,
        parameters=parameters,
        principal=principal,
        region=region,
        session=session,
    )
    try:
        with in_region(session, region):
            authorization.authorize(rights_of(session, principal, region), asked)
    except ApiError as error:
        assert error.code == "UnauthorizedOperation"
        return False
    return True


def context_of(session: Session, principal: Principal) -> RequestContext:
    host = SimpleNamespace(settings=SimpleNamespace(regions=(HERE, THERE)), enqueue=lambda *_, **__: None)
    return RequestContext(
        request_id="-",
        account_id=ACCOUNT,
        region=HERE,
        access_key_id="-",
        authority=rights_of(session, principal),
        session=session,
        host=host,
    )


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        ("iam:UntagUser", {"UserName": "alice"}),
        ("iam:UntagRole", {"RoleName": "any"}),
        ("iam:UntagInstanceProfile", {"InstanceProfileName": "any"}),
        ("iam:UntagPolicy", {"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/any"}),
        ("ssm:RemoveTagsFromResource", {"ResourceType": "Parameter", "ResourceId": "/any"}),
        ("rbin:UntagResource", {"resourceArn": f"arn:aws:rbin:{HERE}:{ACCOUNT}:rule/any"}),
    ],
)
def test_a_deny_on_the_keys_of_tags_holds_when_they_are_removed(
    session: Session, operation: str, named: dict[str, str]
) -> None:
    alice = user_with(session, allow("*"), deny("*", Condition=PROTECTED))
    member = "tagKeys" if operation.startswith("rbin") else "TagKeys"
    assert not may(session, alice, operation, {**named, member: ["other", "protected"]})
    assert may(session, alice, operation, {**named, member: ["other"]})


def test_a_deny_wins_wherever_it_stands_and_a_session_has_what_both_sides_allow(session: Session) -> None:
    stop, start = ("ec2:StopInstances", "ec2:StartInstances")
    named = {"InstanceIds": ["i-00000000000000001"]}
    alice = user_with(session, allow("*"))
    assert may(session, alice, stop, named)
    narrowed = replace(alice, session_policies=(document(allow("ec2:*"), deny(stop)),))
    assert (may(session, narrowed, stop, named), may(session, narrowed, start, named)) == (False, True)
    beyond = replace(user_with(session, allow("iam:*"), name="bob"), session_policies=(document(allow("*")),))
    assert not may(session, beyond, stop, named)
    managed = managed_policies.create(
        session, ACCOUNT, "no", document(deny(stop)), path=None, description=None, tags=()
    )
    policies.attach(session, ACCOUNT, alice.owner_id, managed_policies.arn_of(managed))
    assert (may(session, alice, stop, named), may(session, alice, start, named)) == (False, True)
    assert may(session, principals.root(ACCOUNT), stop, named)


def test_removing_all_tags_removes_those_that_are_there(session: Session) -> None:
    alice = user_with(session, allow("*"), deny("ec2:DeleteTags", Condition=PROTECTED))
    assert not may(session, alice, "ec2:DeleteTags", {"Resources": [IMAGE]})
    assert not may(session, alice, "ec2:DeleteTags", {"Resources": [IMAGE], "Tags": [{"Key": "protected"}]})
    assert may(session, alice, "ec2:DeleteTags", {"Resources": [IMAGE], "Tags": [{"Key": "other"}]})
    assert may(session, alice, "ec2:DeleteTags", {"Resources": [OF_STRANGER]})


def test_renaming_a_user_needs_a_right_to_both_names(session: Session) -> None:
    alice = user_with(session, allow("iam:UpdateUser", resource=f"arn:aws:iam::{ACCOUNT}:user/alice*"))
    assert may(session, alice, "iam:UpdateUser", {"UserName": "alice", "NewUserName": "alice2"})
    assert not may(session, alice, "iam:UpdateUser", {"UserName": "alice", "NewUserName": "boss"})
    assert not may(session, alice, "iam:UpdateUser", {"UserName": "alice", "NewPath": "/boss/"})
    assert not may(session, alice, "iam:UpdateUser", {"UserName": "boss", "NewUserName": "alice2"})
    # What it is called next has the tags of what it is.
    identity_tags.put(session, alice.owner_id, [TAG])
    by_tag = user_with(session, allow("iam:UpdateUser", Condition=IS_PROTECTED))
    assert may(session, by_tag, "iam:UpdateUser", {"UserName": "alice", "NewUserName": "boss"})


@pytest.mark.parametrize(
    ("operation", "named", "arn"),
    [
        ("ec2:CopySnapshot", {"SourceSnapshotId": SNAPSHOT}, f"{IN_NO_ACCOUNT}snapshot/{SNAPSHOT}"),
        ("ec2:CopyImage", {"SourceImageId": IMAGE, "Name": "copy"}, f"{IN_NO_ACCOUNT}image/{IMAGE}"),
    ],
)
def test_the_source_of_a_copy_is_where_it_is_wherever_the_request_is_sent(
    session: Session, operation: str, named: dict[str, str], arn: str
) -> None:
    request = {**named, "SourceRegion": HERE}
    by_arn = user_with(session, allow("*"), deny("*", resource=arn))
    assert not may(session, by_arn, operation, request, HERE)
    assert not may(session, by_arn, operation, request, THERE)
    by_tag = user_with(session, allow("*"), deny("*", Condition=IS_PROTECTED))
    assert not may(session, by_tag, operation, request, HERE)
    assert not may(session, by_tag, operation, request, THERE)
    assert may(session, by_tag, operation, {**request, "SourceRegion": THERE}, THERE)


def test_conditions_tell_nothing_of_what_another_account_keeps_to_itself(session: Session) -> None:
    facts = {"StringEquals": {"ec2:Owner": STRANGER}, "NumericEquals": {"ec2:VolumeSize": "3"}}
    alice = user_with(session, allow("ec2:DescribeSnapshotAttribute", Condition=facts))
    request = {"SnapshotId": OF_STRANGER, "Attribute": "createVolumePermission"}
    assert not may(session, alice, "ec2:DescribeSnapshotAttribute", request)
    by_size = user_with(
        session, allow("*"), deny("*", Condition={"NumericEquals": {"ec2:VolumeSize": "3"}}), name="bob"
    )
    making = {"SnapshotId": OF_STRANGER, "AvailabilityZone": "us-east-1a"}
    assert may(session, by_size, "ec2:CreateVolume", making)
    session.get_one(Image, IMAGE).account_id = STRANGER
    by_owner = user_with(session, allow("*", Condition={"StringEquals": {"ec2:Owner": STRANGER}}), name="carol")
    assert not may(session, by_owner, "ec2:DescribeImageAttribute", {"ImageId": IMAGE, "Attribute": "description"})
    # What is shared has an owner and a size.
    session.get_one(Image, IMAGE).is_public = True
    snapshot = session.get_one(Snapshot, OF_STRANGER)
    snapshot.create_volume_permissions.append(CreateVolumePermission(user_id=ACCOUNT))
    session.flush()
    assert may(session, alice, "ec2:DescribeSnapshotAttribute", request)
    assert not may(session, by_size, "ec2:CreateVolume", making)
    assert may(session, by_owner, "ec2:DescribeImageAttribute", {"ImageId": IMAGE, "Attribute": "description"})


def test_the_tags_of_parameters_and_rules_count_and_those_of_what_is_in_the_bin(session: Session) -> None:
    session.add(Parameter(parameter_id="p", account_id=ACCOUNT, name="/a/b", parameter_type="String", tags=_pair(TAG)))
    new = NewRule(resource_type="EBS_SNAPSHOT", retention_days=1, tags=[TAG])
    rule = retention_rules.create(session, ACCOUNT, new)
    alice = user_with(session, allow("*"), deny("*", Condition=IS_PROTECTED))
    assert not may(session, alice, "ssm:GetParameter", {"Name": "/a/b"})
    assert not may(session, alice, "ssm:GetParameter", {"Name": f"arn:aws:ssm:{HERE}:{ACCOUNT}:parameter/a/b"})
    assert may(session, alice, "ssm:GetParameter", {"Name": "/a"})
    assert not may(session, alice, "rbin:DeleteRule", {"identifier": rule.identifier})
    assert may(session, alice, "rbin:DeleteRule", {"identifier": "other"})
    root = principals.root(ACCOUNT)
    deregister_image(context_of(session, root), {"ImageId": IMAGE, "DeleteAssociatedSnapshots": True})
    session.flush()
    assert session.get(Snapshot, SNAPSHOT) is None
    assert not may(session, alice, "ec2:RestoreSnapshotFromRecycleBin", {"SnapshotId": SNAPSHOT})


def _pair(tag: Mapping[str, str]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"]}


def test_what_is_made_is_the_accounts_own(session: Session) -> None:
    elsewhere = {"StringNotEquals": {"aws:ResourceAccount": ACCOUNT}}
    alice = user_with(session, allow("*"), deny("*", Condition=elsewhere))
    assert may(session, alice, "ec2:CreateVolume", {"AvailabilityZone": "us-east-1a", "Size": 1})
    assert may(session, alice, "ec2:DescribeVolumes", {})
    theirs = f"arn:aws:iam::{STRANGER}:policy/any"
    assert not may(session, alice, "iam:GetPolicy", {"PolicyArn": theirs})


@pytest.mark.parametrize("denied", [True, False])
def test_the_snapshots_of_an_image_go_with_it_if_the_caller_may_delete_them(session: Session, denied: bool) -> None:
    arn = f"{IN_NO_ACCOUNT}snapshot/{SNAPSHOT if denied else OF_STRANGER}"
    alice = user_with(session, allow("ec2:*"), deny("ec2:DeleteSnapshot", resource=arn))
    reply = deregister_image(context_of(session, alice), {"ImageId": IMAGE, "DeleteAssociatedSnapshots": True})
    word = "missing-permissions" if denied else "success"
    assert reply["DeleteSnapshotResults"] == [{"SnapshotId": SNAPSHOT, "ReturnCode": word}]
    session.flush()
    assert (session.get(Snapshot, SNAPSHOT) is not None) is denied


def test_tags_that_are_copied_need_the_right_to_create_tags(session: Session) -> None:
    request = {"SourceImageId": IMAGE, "SourceRegion": HERE, "Name": "copy", "CopyImageTags": True}
    alice = user_with(session, allow("*"), deny("ec2:CreateTags", Condition=PROTECTED))
    with pytest.raises(ApiError) as refused:
        copy_image(context_of(session, alice), request)
    assert refused.value.code == "UnauthorizedOperation"
    copy_image(context_of(session, alice), {**request, "Name": "another", "CopyImageTags": False})
    may_tag = user_with(session, allow("*"), name="bob")
    copy_image(context_of(session, may_tag), {**request, "Name": "a third"})


def test_a_trust_policy_means_whom_it_named_under_whatever_name(session: Session) -> None:
    alice = user_with(session, allow("sts:AssumeRole"))
    statements = [
        json.loads(trusting(ACCOUNT))["Statement"][0],
        {"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": {"AWS": alice.arn}},
    ]
    role = _role(session, document(*statements))
    assert not _assumes(session, alice, role)
    users.update(session, users.get(session, ACCOUNT, "alice"), new_name="bob", new_path=None)
    bob = keys.of_user(users.get(session, ACCOUNT, "bob"))
    assert not _assumes(session, bob, role)
    assert _assumes(session, user_with(session, allow("sts:AssumeRole")), role)


def test_a_role_of_another_account_has_its_own_tags_for_its_trust_policy_and_none_for_others(session: Session) -> None:
    trust = trusting(ACCOUNT, Condition=IS_PROTECTED)
    role, mine = _role(session, trust, STRANGER), _role(session, trusting(ACCOUNT))
    alice = user_with(session, allow("sts:AssumeRole"))
    identity_tags.put(session, mine.role_id, [TAG])
    assert not _assumes(session, alice, role)
    identity_tags.put(session, role.role_id, [TAG])
    assert _assumes(session, alice, role)
    by_tag = user_with(session, allow("sts:AssumeRole", Condition=IS_PROTECTED))
    assert not _assumes(session, by_tag, role)
    own_only = {"StringEquals": {"aws:ResourceAccount": ACCOUNT}}
    assert not _assumes(session, user_with(session, allow("sts:AssumeRole", Condition=own_only)), role)


def test_a_deny_to_everybody_is_one_to_instances(session: Session) -> None:
    everybody = {"Effect": "Deny", "Action": "*", "Principal": "*"}
    allows = json.loads(trusting("ec2.amazonaws.com"))["Statement"]
    assert sessions._trusts_instances(_role(session, document(*allows)))
    assert not sessions._trusts_instances(_role(session, document(*allows, everybody), name="second"))


def _role(session: Session, trust: str, account_id: str = ACCOUNT, name: str = "role") -> Any:
    return roles.create(
        session, account_id, name, trust, path=None, description=None, max_session_duration_s=None, tags=()
    )


def _assumes(session: Session, principal: Principal, role: Any) -> bool:
    try:
        sessions.assume_role(
            session,
            rights_of(session, principal),
            roles.arn_of(role),
            "test",
            duration_s=None,
            external_id=None,
            policy=None,
            policy_arns=(),
        )
    except ApiError as error:
        assert error.code == "AccessDenied"
        return False
    return True
