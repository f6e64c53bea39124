"""IAM's nouns through unmodified boto3: users, roles, instance profiles, policies; and what is refused."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from tests.api.conftest import unique
from tests.framework.service import Service

ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
FOR_EC2 = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
NOTHING = unique("nothing")


@pytest.fixture(scope="module")
def iam(service: Service) -> Any:
    """The administrator's client."""
    return service.client("iam")


def refused(call: Any, **parameters: Any) -> tuple[str, int]:
    """The code and status a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    return str(response["Error"]["Code"]), int(response["ResponseMetadata"]["HTTPStatusCode"])


def test_a_user_is_made_found_renamed_and_deleted(iam: Any, service: Service) -> None:
    name, account = unique("user"), service.administrator.account_id
    made = iam.create_user(UserName=name, Path="/team/", Tags=[{"Key": "a", "Value": ""}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{account}:user/team/{name}"
    assert made["UserId"].startswith("AIDA")
    iam.get_waiter("user_exists").wait(UserName=name)
    assert iam.get_user(UserName=name)["User"]["Tags"] == [{"Key": "a", "Value": ""}]
    assert refused(iam.create_user, UserName=name.upper()) == ("EntityAlreadyExists", 409)
    assert name in {user["UserName"] for user in iam.list_users(PathPrefix="/team/")["Users"]}
    assert name not in {user["UserName"] for user in iam.list_users(PathPrefix="/other/")["Users"]}
    iam.update_user(UserName=name, NewUserName=f"{name}-2", NewPath="/")
    assert refused(iam.get_user, UserName=name) == ("NoSuchEntity", 404)
    assert iam.get_user(UserName=f"{name}-2")["User"]["UserId"] == made["UserId"]
    iam.untag_user(UserName=f"{name}-2", TagKeys=["a", "b"])
    iam.tag_user(UserName=f"{name}-2", Tags=[{"Key": "c", "Value": "d"}])
    assert iam.list_user_tags(UserName=f"{name}-2")["Tags"] == [{"Key": "c", "Value": "d"}]
    assert iam.list_groups_for_user(UserName=f"{name}-2")["Groups"] == []
    iam.delete_user(UserName=f"{name}-2")
    assert refused(iam.delete_user, UserName=f"{name}-2") == ("NoSuchEntity", 404)


def test_lists_come_in_pages(iam: Any) -> None:
    path = f"/{unique('pages')}/"
    names = sorted(unique("user") for _ in range(5))
    for name in names:
        iam.create_user(UserName=name, Path=path)
    first = iam.list_users(PathPrefix=path, MaxItems=2)
    assert first["IsTruncated"] is True
    assert len(first["Users"]) == 2
    pages = iam.get_paginator("list_users").paginate(PathPrefix=path, PaginationConfig={"PageSize": 2})
    assert sorted(user["UserName"] for page in pages for user in page["Users"]) == names
    assert iam.list_users(PathPrefix=path)["IsTruncated"] is False


def test_a_user_has_two_keys_at_most_and_goes_when_they_are_gone(iam: Any) -> None:
    name = unique("user")
    iam.create_user(UserName=name)
    keys = [iam.create_access_key(UserName=name)["AccessKey"] for _ in range(2)]
    assert refused(iam.create_access_key, UserName=name) == ("LimitExceeded", 409)
    assert refused(iam.delete_user, UserName=name) == ("DeleteConflict", 409)
    listed = iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in listed] == [key["AccessKeyId"] for key in keys]
    assert all("SecretAccessKey" not in key for key in listed)
    iam.update_access_key(UserName=name, AccessKeyId=keys[0]["AccessKeyId"], Status="Inactive")
    assert iam.list_access_keys(UserName=name)["AccessKeyMetadata"][0]["Status"] == "Inactive"
    for key in keys:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    assert refused(iam.delete_access_key, UserName=name, AccessKeyId="AKIANOBODYKNOWSME") == ("NoSuchEntity", 404)
    iam.delete_user(UserName=name)


def test_the_last_key_of_an_accounts_root_stays(service: Service) -> None:
    keys = service.new_account()
    iam = service.client("iam", keys)
    assert refused(iam.delete_access_key, AccessKeyId=keys.access_key_id) == ("DeleteConflict", 409)
    code = refused(iam.update_access_key, AccessKeyId=keys.access_key_id, Status="Inactive")
    assert code == ("DeleteConflict", 409)
    second = iam.create_access_key()["AccessKey"]["AccessKeyId"]
    iam.update_access_key(AccessKeyId=second, Status="Inactive")
    assert refused(iam.delete_access_key, AccessKeyId=keys.access_key_id) == ("DeleteConflict", 409)
    iam.update_access_key(AccessKeyId=second, Status="Active")
    iam.delete_access_key(AccessKeyId=keys.access_key_id)
    assert refused(iam.get_user) == ("InvalidClientTokenId", 403)


def test_a_role_and_its_policies(iam: Any, service: Service) -> None:
    name = unique("role")
    made = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=FOR_EC2, Description="bakes", MaxSessionDuration=7200
    )["Role"]
    assert made["Arn"] == f"arn:aws:iam::{service.administrator.account_id}:role/{name}"
    iam.get_waiter("role_exists").wait(RoleName=name)
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == json.loads(FOR_EC2)
    assert name in {role["RoleName"] for role in iam.list_roles()["Roles"]}
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=ALLOW_ALL)
    iam.attach_role_policy(RoleName=name, PolicyArn=ADMINISTRATOR)
    iam.attach_role_policy(RoleName=name, PolicyArn=ADMINISTRATOR)
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["inline"]
    assert iam.get_role_policy(RoleName=name, PolicyName="inline")["PolicyDocument"] == json.loads(ALLOW_ALL)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": "AdministratorAccess", "PolicyArn": ADMINISTRATOR}]
    pages = iam.get_paginator("list_entities_for_policy").paginate(
        PolicyArn=ADMINISTRATOR, PaginationConfig={"PageSize": 1}
    )
    cut = [[*page["PolicyGroups"], *page["PolicyUsers"], *page["PolicyRoles"]] for page in pages]
    assert {len(page) for page in cut} == {1}
    assert name in [one.get("RoleName") for page in cut for one in page]
    entities = iam.list_entities_for_policy(PolicyArn=ADMINISTRATOR)
    assert name in {role["RoleName"] for role in entities["PolicyRoles"]}
    assert refused(iam.delete_role, RoleName=name) == ("DeleteConflict", 409)
    iam.delete_role_policy(RoleName=name, PolicyName="inline")
    assert refused(iam.delete_role, RoleName=name) == ("DeleteConflict", 409)
    iam.detach_role_policy(RoleName=name, PolicyArn=ADMINISTRATOR)
    iam.update_role(RoleName=name, Description="bakes more", MaxSessionDuration=3600)
    iam.tag_role(RoleName=name, Tags=[{"Key": "k", "Value": "v"}])
    assert iam.list_role_tags(RoleName=name)["Tags"] == [{"Key": "k", "Value": "v"}]
    found = iam.get_role(RoleName=name)["Role"]
    assert (found["Description"], found["MaxSessionDuration"]) == ("bakes more", 3600)
    iam.delete_role(RoleName=name)
    assert refused(iam.get_role, RoleName=name) == ("NoSuchEntity", 404)


def test_an_instance_profile_hands_out_one_role(iam: Any) -> None:
    name, role, other = unique("profile"), unique("role"), unique("role")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.get_waiter("instance_profile_exists").wait(InstanceProfileName=name)
    for each in (role, other):
        iam.create_role(RoleName=each, AssumeRolePolicyDocument=FOR_EC2)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    second = {"InstanceProfileName": name, "RoleName": other}
    assert refused(iam.add_role_to_instance_profile, **second) == ("LimitExceeded", 409)
    assert refused(iam.remove_role_from_instance_profile, **second) == ("NoSuchEntity", 404)
    found = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert [each["RoleName"] for each in found["Roles"]] == [role]
    of_role = iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]
    assert [each["InstanceProfileName"] for each in of_role] == [name]
    assert name in {each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]}
    assert refused(iam.delete_role, RoleName=role) == ("DeleteConflict", 409)
    assert refused(iam.delete_instance_profile, InstanceProfileName=name) == ("DeleteConflict", 409)
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=name)
    assert refused(iam.get_instance_profile, InstanceProfileName=name) == ("NoSuchEntity", 404)


def test_a_managed_policy_has_versions_of_which_one_counts(iam: Any) -> None:
    name = unique("policy")
    made = iam.create_policy(PolicyName=name, PolicyDocument=ALLOW_ALL, Description="d")["Policy"]
    arn = made["Arn"]
    iam.get_waiter("policy_exists").wait(PolicyArn=arn)
    assert refused(iam.create_policy, PolicyName=name, PolicyDocument=ALLOW_ALL) == ("EntityAlreadyExists", 409)
    nothing = json.dumps({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=nothing, SetAsDefault=True)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    document = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"]
    assert document == json.loads(nothing)
    assert refused(iam.delete_policy_version, PolicyArn=arn, VersionId="v2") == ("DeleteConflict", 409)
    assert refused(iam.delete_policy, PolicyArn=arn) == ("DeleteConflict", 409)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    assert [one["VersionId"] for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v1"]
    user = unique("user")
    iam.create_user(UserName=user)
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    assert arn in {one["Arn"] for one in iam.list_policies(Scope="Local", OnlyAttached=True)["Policies"]}
    assert refused(iam.delete_policy, PolicyArn=arn) == ("DeleteConflict", 409)
    iam.detach_user_policy(UserName=user, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    assert refused(iam.get_policy, PolicyArn=arn) == ("NoSuchEntity", 404)


def test_amazons_policies_are_there_and_nobodys_to_change(iam: Any) -> None:
    listed = {one["PolicyName"] for one in iam.list_policies(Scope="AWS")["Policies"]}
    assert {"AdministratorAccess", "AmazonSSMManagedInstanceCore", "EC2InstanceProfileForImageBuilder"} <= listed
    version = iam.get_policy_version(PolicyArn=ADMINISTRATOR, VersionId="v1")["PolicyVersion"]
    assert version["Document"]["Statement"][0]["Action"] == ["*"]
    assert refused(iam.delete_policy, PolicyArn=ADMINISTRATOR) == ("AccessDenied", 403)
    name = unique("user")
    iam.create_user(UserName=name)
    unknown = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    assert refused(iam.attach_user_policy, UserName=name, PolicyArn=unknown) == ("NoSuchEntity", 404)


def test_what_the_account_has(iam: Any, service: Service) -> None:
    assert iam.get_account_summary()["SummaryMap"]["Users"] >= 1
    assert iam.list_account_aliases()["AccountAliases"] == ["main"]
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{service.administrator.account_id}:root"


NOT_FOUND = ("NoSuchEntity", 404)
BAD = [
    ("create_user", {"UserName": "a b"}, ("ValidationError", 400)),
    ("create_user", {"UserName": "x" * 65}, ("ValidationError", 400)),
    ("create_user", {"UserName": "good", "Path": "no/slash"}, ("ValidationError", 400)),
    ("create_user", {"UserName": "good", "Tags": [{"Key": "aws:x", "Value": ""}]}, ("InvalidInput", 400)),
    ("create_user", {"UserName": "good", "PermissionsBoundary": ADMINISTRATOR}, ("ValidationError", 400)),
    ("get_user", {"UserName": NOTHING}, NOT_FOUND),
    ("create_access_key", {"UserName": NOTHING}, NOT_FOUND),
    ("put_user_policy", {"UserName": NOTHING, "PolicyName": "p", "PolicyDocument": ALLOW_ALL}, NOT_FOUND),
    ("attach_user_policy", {"UserName": NOTHING, "PolicyArn": ADMINISTRATOR}, NOT_FOUND),
    ("create_role", {"RoleName": "r", "AssumeRolePolicyDocument": "{"}, ("MalformedPolicyDocument", 400)),
    ("create_role", {"RoleName": "r", "AssumeRolePolicyDocument": ALLOW_ALL}, ("MalformedPolicyDocument", 400)),
    (
        "create_role",
        {"RoleName": "r", "AssumeRolePolicyDocument": FOR_EC2, "MaxSessionDuration": 50_000},
        ("ValidationError", 400),
    ),
    ("create_policy", {"PolicyName": "p", "PolicyDocument": FOR_EC2}, ("MalformedPolicyDocument", 400)),
    ("create_policy", {"PolicyName": "p p", "PolicyDocument": ALLOW_ALL}, ("ValidationError", 400)),
    (
        "create_policy",
        {"PolicyName": "p", "PolicyDocument": ALLOW_ALL.replace("*", "ec2:" + "a" * 7000, 1)},
        ("LimitExceeded", 409),
    ),
    ("get_policy", {"PolicyArn": "arn:aws:iam::111122223333:policy/none"}, NOT_FOUND),
    ("get_policy_version", {"PolicyArn": ADMINISTRATOR, "VersionId": "v2"}, NOT_FOUND),
    ("get_role", {"RoleName": NOTHING}, NOT_FOUND),
    ("delete_role_policy", {"RoleName": NOTHING, "PolicyName": "p"}, NOT_FOUND),
    ("get_instance_profile", {"InstanceProfileName": NOTHING}, NOT_FOUND),
    ("add_role_to_instance_profile", {"InstanceProfileName": NOTHING, "RoleName": NOTHING}, NOT_FOUND),
]


@pytest.mark.parametrize(("operation", "parameters", "answer"), BAD)
def test_bad_input_has_iams_own_codes(
    iam: Any, operation: str, parameters: dict[str, Any], answer: tuple[str, int]
) -> None:
    assert refused(getattr(iam, operation), **parameters) == answer


def test_a_trust_policy_names_who_exists(iam: Any, service: Service) -> None:
    account = service.administrator.account_id
    for principal in (f"arn:aws:iam::{account}:user/{NOTHING}", "000000000000", f"arn:aws:iam::{account}:role/x/y"):
        document = json.dumps(
            {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": principal}}}
        )
        code = refused(iam.create_role, RoleName=unique("role"), AssumeRolePolicyDocument=document)
        assert code == ("MalformedPolicyDocument", 400)


def test_another_accounts_identities_do_not_exist(iam: Any, service: Service, other_keys: Any) -> None:
    theirs, name = service.client("iam", other_keys), unique("mine")
    iam.create_user(UserName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=FOR_EC2)
    iam.create_instance_profile(InstanceProfileName=name)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=ALLOW_ALL)["Policy"]["Arn"]
    theirs.create_user(UserName=f"{name}-own")
    assert refused(theirs.get_user, UserName=name) == NOT_FOUND
    assert refused(theirs.create_access_key, UserName=name) == NOT_FOUND
    assert refused(theirs.get_role, RoleName=name) == NOT_FOUND
    assert refused(theirs.put_role_policy, RoleName=name, PolicyName="p", PolicyDocument=ALLOW_ALL) == NOT_FOUND
    assert refused(theirs.get_instance_profile, InstanceProfileName=name) == NOT_FOUND
    assert refused(theirs.get_policy, PolicyArn=arn) == NOT_FOUND
    assert refused(theirs.attach_user_policy, UserName=f"{name}-own", PolicyArn=arn) == NOT_FOUND
    shown = [theirs.list_users(), theirs.list_roles(), theirs.list_instance_profiles(), theirs.list_policies()]
    assert name not in str(shown).replace(f"{name}-own", "")
    theirs.create_role(RoleName=name, AssumeRolePolicyDocument=FOR_EC2)
    theirs.delete_role(RoleName=name)
    assert iam.get_role(RoleName=name)["Role"]["RoleName"] == name
