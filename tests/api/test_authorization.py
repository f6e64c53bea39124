"""What policies allow and deny, enforced: users and sessions with real clients against the real service."""

from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from tests.framework.belongings import Belongings
from tests.framework.identities import (
    allow,
    assume,
    deny,
    document,
    new_name,
    new_profile,
    new_role,
    new_user,
    session_keys,
    trusting,
)
from tests.framework.service import Keys, Service

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
UNAUTHORIZED = ("UnauthorizedOperation", 403)


def refusal(call: Any, **parameters: Any) -> tuple[str, int, str]:
    """The code, status and message a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    status = int(response["ResponseMetadata"]["HTTPStatusCode"])
    return str(response["Error"]["Code"]), status, str(response["Error"]["Message"])


def refused(call: Any, **parameters: Any) -> tuple[str, int]:
    """The code and status a call is refused with."""
    return refusal(call, **parameters)[:2]


def test_who_is_who(service: Service) -> None:
    account, name = service.administrator.account_id, new_name("user")
    user = new_user(service, allow("sts:AssumeRole"), name=name)
    identity = service.client("sts", user).get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == (account, f"arn:aws:iam::{account}:user/{name}")
    assert identity["UserId"].startswith("AIDA")
    role_arn = new_role(service, trusting(account))
    session = service.client("sts", assume(service, user, role_arn)).get_caller_identity()
    role_name = role_arn.rpartition("/")[2]
    assert session["Arn"] == f"arn:aws:sts::{account}:assumed-role/{role_name}/test"
    assert session["UserId"].startswith("AROA")
    assert session["UserId"].endswith(":test")


def test_a_new_user_may_nothing_but_ask_who_it_is(service: Service) -> None:
    keys = new_user(service)
    code, status, message = refusal(service.client("ec2", keys).describe_images)
    assert (code, status) == UNAUTHORIZED
    assert message.startswith("You are not authorized to perform this operation. User: arn:aws:iam::")
    assert "is not authorized to perform: ec2:DescribeImages on resource: *" in message
    assert message.endswith("because no identity-based policy allows the ec2:DescribeImages action")
    assert refused(service.client("iam", keys).list_users) == ("AccessDenied", 403)
    assert refused(service.client("iam", keys).get_user) == ("AccessDenied", 403)
    assert refused(service.client("iam", keys).create_access_key) == ("AccessDenied", 403)
    service.client("sts", keys).get_caller_identity()


def test_a_user_may_what_it_is_allowed_and_no_more_once_that_is_taken_away(service: Service) -> None:
    name = new_name("user")
    keys = new_user(service, allow("ec2:Describe*"), name=name)
    ec2, iam = service.client("ec2", keys), service.client("iam")
    ec2.describe_images(Owners=["self"])
    ec2.describe_instances()
    assert refused(ec2.create_key_pair, KeyName=name) == UNAUTHORIZED
    iam.attach_user_policy(UserName=name, PolicyArn=ADMINISTRATOR)
    ec2.create_key_pair(KeyName=name, KeyType="ed25519")
    iam.put_user_policy(
        UserName=name,
        PolicyName="no",
        PolicyDocument=document(deny("ec2:DeleteKeyPair", resource=f"arn:aws:ec2:*:*:key-pair/{name}")),
    )
    code, _, message = refusal(ec2.delete_key_pair, KeyName=name)
    assert code == "UnauthorizedOperation"
    assert message.endswith("with an explicit deny in an identity-based policy")
    pair = ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"][0]["KeyPairId"]
    assert refused(ec2.delete_key_pair, KeyPairId=pair) == UNAUTHORIZED
    ec2.delete_key_pair(KeyName=f"{name}-other")
    iam.detach_user_policy(UserName=name, PolicyArn=ADMINISTRATOR)
    assert refused(ec2.create_key_pair, KeyName=f"{name}-2") == UNAUTHORIZED
    for policy in ("rights", "no"):
        iam.delete_user_policy(UserName=name, PolicyName=policy)
    assert refused(ec2.describe_images) == UNAUTHORIZED


def test_a_key_that_is_off_or_gone_signs_nothing(service: Service) -> None:
    name = new_name("user")
    keys = new_user(service, allow("*"), name=name)
    iam, sts = service.client("iam"), service.client("sts", keys)
    iam.update_access_key(UserName=name, AccessKeyId=keys.access_key_id, Status="Inactive")
    assert refused(sts.get_caller_identity) == ("InvalidClientTokenId", 403)
    iam.update_access_key(UserName=name, AccessKeyId=keys.access_key_id, Status="Active")
    sts.get_caller_identity()
    iam.delete_access_key(UserName=name, AccessKeyId=keys.access_key_id)
    assert refused(sts.get_caller_identity) == ("InvalidClientTokenId", 403)
    assert refused(service.client("ec2", keys).describe_images) == ("AuthFailure", 401)


def test_resources_are_told_apart_by_their_ids_and_tags(service: Service, belongings: Belongings) -> None:
    account = service.administrator.account_id
    volume = f"arn:aws:ec2:us-east-1:{account}:volume/{belongings.volume}"
    keys = new_user(service, allow("ec2:CreateTags", "ec2:ModifyVolumeAttribute", "ec2:AttachVolume", resource=volume))
    ec2 = service.client("ec2", keys)
    tags = [{"Key": "by", "Value": "user"}]
    ec2.create_tags(Resources=[belongings.volume], Tags=tags)
    assert refused(ec2.create_tags, Resources=[belongings.attached_volume], Tags=tags) == UNAUTHORIZED
    assert refused(ec2.create_tags, Resources=[belongings.volume, belongings.image], Tags=tags) == UNAUTHORIZED
    # Both ends of an attachment must be allowed.
    attach = {"VolumeId": belongings.volume, "InstanceId": belongings.instance, "Device": "/dev/sdf", "DryRun": True}
    assert refused(ec2.attach_volume, **attach) == UNAUTHORIZED

    by_tag = {"StringEquals": {"ec2:ResourceTag/by": "user"}}
    tagged = service.client("ec2", new_user(service, allow("ec2:DeleteTags", Condition=by_tag)))
    assert refused(tagged.delete_tags, Resources=[belongings.snapshot], Tags=tags) == UNAUTHORIZED
    tagged.delete_tags(Resources=[belongings.volume], Tags=tags)
    assert refused(tagged.delete_tags, Resources=[belongings.volume], Tags=tags) == UNAUTHORIZED


def launch_statements(account: str, image_id: str) -> list[Any]:
    return [
        allow("ec2:RunInstances", resource=f"arn:aws:ec2:*::image/{image_id}"),
        allow(
            "ec2:RunInstances",
            resource=[
                f"arn:aws:ec2:*:{account}:{kind}/*" for kind in ("subnet", "security-group", "network-interface")
            ],
        ),
        allow(
            "ec2:RunInstances",
            resource=f"arn:aws:ec2:*:{account}:instance/*",
            Condition={"StringEquals": {"ec2:InstanceType": ["t3.nano", "t3.micro"]}},
        ),
        allow(
            "ec2:RunInstances",
            resource=f"arn:aws:ec2:*:{account}:volume/*",
            Condition={"NumericLessThanEquals": {"ec2:VolumeSize": "10"}},
        ),
    ]


def test_a_launch_needs_a_right_to_all_that_it_leads_to(service: Service, image_id: str) -> None:
    account = service.administrator.account_id
    keys = new_user(service, *launch_statements(account, image_id))
    ec2 = service.client("ec2", keys)
    launch = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.nano", "DryRun": True}
    assert refused(ec2.run_instances, **launch) == ("DryRunOperation", 412)
    assert refused(ec2.run_instances, **{**launch, "InstanceType": "t3.small"}) == UNAUTHORIZED
    large = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 11}}]
    assert refused(ec2.run_instances, **launch, BlockDeviceMappings=large) == UNAUTHORIZED
    small = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10}}]
    assert refused(ec2.run_instances, **launch, BlockDeviceMappings=small) == ("DryRunOperation", 412)
    # Tags that come with the launch need a right of their own.
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}]
    assert refused(ec2.run_instances, **launch, TagSpecifications=tagged) == UNAUTHORIZED
    other = new_user(
        service,
        *launch_statements(account, image_id),
        allow("ec2:CreateTags", Condition={"StringEquals": {"ec2:CreateAction": "RunInstances"}}),
        deny(
            "ec2:RunInstances", Condition={"Null": {"aws:RequestTag/k": "true"}}, resource="arn:aws:ec2:*:*:instance/*"
        ),
    )
    ec2 = service.client("ec2", other)
    assert refused(ec2.run_instances, **launch, TagSpecifications=tagged) == ("DryRunOperation", 412)
    assert refused(ec2.run_instances, **launch) == UNAUTHORIZED
    assert refused(ec2.create_tags, Resources=[image_id], Tags=tagged[0]["Tags"]) == UNAUTHORIZED


def test_a_default_that_nobody_named_needs_a_right_too(service: Service, image_id: str) -> None:
    account = service.administrator.account_id
    group = service.client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])
    default = group["SecurityGroups"][0]["GroupId"]
    keys = new_user(
        service,
        allow("ec2:RunInstances"),
        deny("ec2:RunInstances", resource=f"arn:aws:ec2:us-east-1:{account}:security-group/{default}"),
    )
    launch = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.nano", "DryRun": True}
    assert refused(service.client("ec2", keys).run_instances, **launch) == UNAUTHORIZED


def test_who_hands_a_role_to_an_instance_must_be_allowed_to_pass_it(
    service: Service, image_id: str, belongings: Belongings
) -> None:
    role_arn = new_role(service, trusting("ec2.amazonaws.com"), allow("*"))
    profile = {"Name": new_profile(service, role_arn)}
    launch = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.nano", "DryRun": True}
    without = service.client("ec2", new_user(service, allow("ec2:*")))
    code, _, message = refusal(without.run_instances, **launch, IamInstanceProfile=profile)
    assert code == "UnauthorizedOperation"
    assert f"iam:PassRole on resource: {role_arn}" in message
    assert refused(without.run_instances, **launch) == ("DryRunOperation", 412)
    association = {"InstanceId": belongings.instance, "IamInstanceProfile": profile}
    assert refused(without.associate_iam_instance_profile, **association) == UNAUTHORIZED
    to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    passing = new_user(service, allow("ec2:*"), allow("iam:PassRole", resource=role_arn, Condition=to_ec2))
    may = service.client("ec2", passing)
    assert refused(may.run_instances, **launch, IamInstanceProfile=profile) == ("DryRunOperation", 412)
    manager = new_user(service, allow("iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile"))
    iam, name = service.client("iam", manager), new_name("profile")
    iam.create_instance_profile(InstanceProfileName=name)
    role_name = role_arn.rpartition("/")[2]
    added = {"InstanceProfileName": name, "RoleName": role_name}
    assert refused(iam.add_role_to_instance_profile, **added) == ("AccessDenied", 403)


def test_a_user_may_look_after_its_own_keys(service: Service) -> None:
    own = "arn:aws:iam::*:user/${aws:username}"
    name = new_name("user")
    iam = service.client("iam", new_user(service, allow("iam:*AccessKey*", "iam:GetUser", resource=own), name=name))
    assert iam.get_user()["User"]["UserName"] == name
    made = iam.create_access_key()["AccessKey"]["AccessKeyId"]
    assert len(iam.list_access_keys(UserName=name)["AccessKeyMetadata"]) == 2
    iam.delete_access_key(AccessKeyId=made)
    other = new_name("user")
    new_user(service, name=other)
    assert refused(iam.list_access_keys, UserName=other) == ("AccessDenied", 403)
    assert refused(iam.create_access_key, UserName=other) == ("AccessDenied", 403)


def test_a_role_is_assumed_by_whom_it_trusts_and_nobody_else(service: Service, other_keys: Keys) -> None:
    account, theirs = service.administrator.account_id, other_keys.account_id
    stranger = service.new_account()
    role_arn = new_role(service, trusting(theirs), allow("ec2:DescribeKeyPairs"))
    keys = assume(service, other_keys, role_arn)
    name = new_name("key")
    service.client("ec2").create_key_pair(KeyName=name, KeyType="ed25519")
    ec2 = service.client("ec2", keys)
    assert name in {pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]}
    assert refused(ec2.delete_key_pair, KeyName=name) == UNAUTHORIZED
    for who in (stranger, service.administrator):
        sts = service.client("sts", who)
        code, status, message = refusal(sts.assume_role, RoleArn=role_arn, RoleSessionName="test")
        assert (code, status) == ("AccessDenied", 403)
        missing = refusal(sts.assume_role, RoleArn=f"{role_arn}x", RoleSessionName="test")
        assert missing[2].replace(f"{role_arn}x", role_arn) == message
    # A user of the trusted account needs its own account's leave as well.
    plain, may = new_user(service, owner=other_keys), new_user(service, allow("sts:AssumeRole"), owner=other_keys)
    assert (
        refused(service.client("sts", plain).assume_role, RoleArn=role_arn, RoleSessionName="test")[0] == "AccessDenied"
    )
    assume(service, may, role_arn)
    named = new_user(service, name=(user := new_name("user")))
    by_name = new_role(service, trusting(f"arn:aws:iam::{account}:user/{user}"))
    assume(service, named, by_name)
    assert refused(service.client("sts", may).assume_role, RoleArn=by_name, RoleSessionName="test")[0] == "AccessDenied"


def test_a_user_made_anew_under_a_trusted_name_is_not_trusted(service: Service) -> None:
    name, account = new_name("user"), service.administrator.account_id
    first = new_user(service, name=name)
    role_arn = new_role(service, trusting(f"arn:aws:iam::{account}:user/{name}"))
    assume(service, first, role_arn)
    iam = service.client("iam")
    iam.delete_access_key(UserName=name, AccessKeyId=first.access_key_id)
    iam.delete_user(UserName=name)
    second = new_user(service, name=name)
    assert (
        refused(service.client("sts", second).assume_role, RoleArn=role_arn, RoleSessionName="test")[0]
        == "AccessDenied"
    )


def test_conditions_of_a_trust_policy_count(service: Service, other_keys: Keys) -> None:
    secret = {"StringEquals": {"sts:ExternalId": "our-secret"}}
    role_arn = new_role(service, trusting(other_keys.account_id, Condition=secret))
    sts = service.client("sts", other_keys)
    assert refused(sts.assume_role, RoleArn=role_arn, RoleSessionName="test")[0] == "AccessDenied"
    code = refused(sts.assume_role, RoleArn=role_arn, RoleSessionName="test", ExternalId="other")
    assert code[0] == "AccessDenied"
    assume(service, other_keys, role_arn, ExternalId="our-secret")


def test_a_session_can_be_narrowed_and_ends_with_its_role(service: Service) -> None:
    account = service.administrator.account_id
    role_arn = new_role(service, trusting(account), allow("ec2:*"))
    narrow = assume(service, service.administrator, role_arn, Policy=document(allow("ec2:DescribeImages", "iam:*")))
    ec2 = service.client("ec2", narrow)
    ec2.describe_images(Owners=["self"])
    assert refused(ec2.describe_volumes) == UNAUTHORIZED
    assert refused(service.client("iam", narrow).list_users) == ("AccessDenied", 403)
    sts = service.client("sts")
    too_long = {"RoleArn": role_arn, "RoleSessionName": "test", "DurationSeconds": 7200}
    assert refused(sts.assume_role, **too_long) == ("ValidationError", 400)
    iam, name = service.client("iam"), role_arn.rpartition("/")[2]
    iam.delete_role_policy(RoleName=name, PolicyName="rights")
    assert refused(ec2.describe_images) == UNAUTHORIZED
    iam.delete_role(RoleName=name)
    assert refused(service.client("sts", narrow).get_caller_identity) == ("InvalidClientTokenId", 403)


def test_temporary_keys_need_their_token(service: Service) -> None:
    role_arn = new_role(service, trusting(service.administrator.account_id), allow("*"))
    keys = assume(service, service.administrator, role_arn)
    for token in (None, "x" * 300):
        wrong = Keys(
            account_id=keys.account_id,
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=token,
        )
        assert refused(service.client("sts", wrong).get_caller_identity) == ("InvalidClientTokenId", 403)
        assert refused(service.client("ec2", wrong).describe_images) == ("AuthFailure", 401)


def test_session_tokens_have_their_users_rights_but_not_over_iam(service: Service) -> None:
    user = new_user(service, allow("*"))
    credentials = service.client("sts", user).get_session_token(DurationSeconds=900)["Credentials"]
    keys = session_keys(user.account_id, credentials)
    service.client("ec2", keys).describe_volumes()
    assert service.client("sts", keys).get_caller_identity()["Arn"].partition("user/")[2]
    assert refused(service.client("iam", keys).list_users) == ("AccessDenied", 403)
    assert refused(service.client("sts", keys).get_session_token) == ("AccessDenied", 403)


def test_an_image_of_one_name_in_one_region_only(service: Service) -> None:
    condition = {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}
    keys = new_user(service, allow("ec2:*"), deny("*", Condition={"StringNotEquals": condition["StringEquals"]}))
    assert refused(service.client("ec2", keys).describe_images) == UNAUTHORIZED
    here = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    service.client("ec2", new_user(service, allow("ec2:*", Condition=here))).describe_volumes()
    elsewhere = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    keys = new_user(service, allow("ec2:*", Condition=elsewhere))
    assert refused(service.client("ec2", keys).describe_volumes) == UNAUTHORIZED
