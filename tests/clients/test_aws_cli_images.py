"""The unmodified AWS CLI walks an image's life: parameters, roles, templates, sharing, copies, the bin."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.framework.aws_cli import Aws
from tests.framework.service import Keys, Service

pytestmark = pytest.mark.programs
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
LOOK_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["ec2:Describe*"], "Resource": "*"}],
}


@dataclass(frozen=True, kw_only=True)
class Baked:
    """An instance with a role, the image of it, and the parameter that names the image."""

    instance_id: str
    image_id: str
    parameter: str


@pytest.fixture(scope="module")
def aws(service: Service) -> Aws:
    return Aws(service)


@pytest.fixture(scope="module")
def alice(service: Service) -> Aws:
    """Another account."""
    return Aws(service, service.new_account())


@pytest.fixture(scope="module")
def baked(aws: Aws, image_id: str) -> Baked:
    aws.of("iam", "create-role", "--role-name", "web", "--assume-role-policy-document", json.dumps(TRUST))
    policy = ("--policy-name", "look", "--policy-document", json.dumps(LOOK_ONLY))
    aws.of("iam", "put-role-policy", "--role-name", "web", *policy)
    aws.of("iam", "create-instance-profile", "--instance-profile-name", "web")
    aws.of("iam", "add-role-to-instance-profile", "--instance-profile-name", "web", "--role-name", "web")
    words = ("--image-id", image_id, "--instance-type", "t3.nano", "--iam-instance-profile", "Name=web")
    instance_id = aws("run-instances", *words)["Instances"][0]["InstanceId"]
    aws.wait("instance_running", "--instance-ids", instance_id)
    made = aws("create-image", "--instance-id", instance_id, "--name", "web-v1", "--no-reboot")["ImageId"]
    aws.wait("image_available", "--image-ids", made)
    put = ("put-parameter", "--name", "/golden/web", "--type", "String", "--data-type", "text", "--value", made)
    assert aws.of("ssm", *put)["Version"] == 1
    return Baked(instance_id=instance_id, image_id=made, parameter="/golden/web")


def image(aws: Aws, image_id: str, *words: str) -> dict[str, Any]:
    [found] = aws("describe-images", "--image-ids", image_id, *words)["Images"]
    assert isinstance(found, dict)
    return found


def test_a_user_may_do_what_its_policy_says_and_no_more(aws: Aws, service: Service) -> None:
    aws.of("iam", "create-user", "--user-name", "bob")
    policy = ("--policy-name", "look", "--policy-document", json.dumps(LOOK_ONLY))
    aws.of("iam", "put-user-policy", "--user-name", "bob", *policy)
    key = aws.of("iam", "create-access-key", "--user-name", "bob")["AccessKey"]
    keys = Keys(
        account_id=service.administrator.account_id,
        access_key_id=key["AccessKeyId"],
        secret_access_key=key["SecretAccessKey"],
    )
    bob = Aws(service, keys)
    assert bob.of("sts", "get-caller-identity")["Arn"].endswith(":user/bob")
    assert bob("describe-regions")["Regions"]
    assert bob.refused("create-key-pair", "--key-name", "bobs") == "UnauthorizedOperation"


def test_parameters_name_images(aws: Aws, baked: Baked) -> None:
    found = aws.of("ssm", "get-parameters-by-path", "--path", "/golden", "--recursive")["Parameters"]
    assert [(one["Name"], one["Value"]) for one in found] == [(baked.parameter, baked.image_id)]
    assert aws.of("ssm", "get-parameter", "--name", baked.parameter)["Parameter"]["Value"] == baked.image_id


def test_a_template_from_an_instance_its_versions_and_a_launch(aws: Aws, baked: Baked, tmp_path: Path) -> None:
    data = aws("get-launch-template-data", "--instance-id", baked.instance_id)["LaunchTemplateData"]
    assert data["InstanceType"] == "t3.nano"
    by_hand = {"ImageId": f"resolve:ssm:{baked.parameter}", "InstanceType": "t3.nano", "EbsOptimized": False}
    (tmp_path / "data.json").write_text(json.dumps(by_hand))
    words = ("--launch-template-name", "web", "--launch-template-data", f"file://{tmp_path}/data.json")
    template = aws("create-launch-template", *words)["LaunchTemplate"]["LaunchTemplateId"]
    changed = json.dumps({"InstanceType": "t3.micro"})
    more = ("--launch-template-name", "web", "--source-version", "1", "--launch-template-data", changed)
    second = aws("create-launch-template-version", *more)["LaunchTemplateVersion"]
    assert second["VersionNumber"] == 2
    assert second["LaunchTemplateData"] == {**by_hand, "InstanceType": "t3.micro"}
    aws("modify-launch-template", "--launch-template-id", template, "--default-version", "2")
    versions = aws("describe-launch-template-versions", "--launch-template-id", template, "--versions", "$Default")
    assert [one["VersionNumber"] for one in versions["LaunchTemplateVersions"]] == [2]

    launch = ("run-instances", "--launch-template", "LaunchTemplateName=web,Version=$Latest")
    instance = aws(*launch, "--instance-type", "t3.nano")["Instances"][0]
    assert (instance["ImageId"], instance["InstanceType"]) == (baked.image_id, "t3.nano")
    tags = {one["Key"]: one["Value"] for one in instance["Tags"]}
    assert (tags["aws:ec2launchtemplate:id"], tags["aws:ec2launchtemplate:version"]) == (template, "2")
    aws.wait("instance_running", "--instance-ids", instance["InstanceId"])
    aws("terminate-instances", "--instance-ids", instance["InstanceId"])
    missing = ("run-instances", "--launch-template", "LaunchTemplateName=web,Version=9")
    assert aws.refused(*missing) == "InvalidLaunchTemplateId.VersionNotFound"
    aws("delete-launch-template", "--launch-template-name", "web")


def test_an_image_is_shared_launched_by_the_other_account_and_given_back(
    aws: Aws, alice: Aws, service: Service, baked: Baked
) -> None:
    assert alice.refused("describe-images", "--image-ids", baked.image_id) == "InvalidAMIID.NotFound"
    account = alice.of("sts", "get-caller-identity")["Account"]
    share = ("modify-image-attribute", "--image-id", baked.image_id, "--launch-permission")
    aws(*share, f"Add=[{{UserId={account}}}]")
    seen = alice("describe-images", "--executable-users", "self")["Images"]
    assert [one["ImageId"] for one in seen] == [baked.image_id]
    launch = ("run-instances", "--image-id", baked.image_id, "--instance-type", "t3.nano", "--dry-run")
    assert alice.refused(*launch) == "DryRunOperation"
    assert alice.refused("deregister-image", "--image-id", baked.image_id) == "AuthFailure"
    snapshot = image(aws, baked.image_id)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert alice.refused("describe-snapshots", "--snapshot-ids", snapshot) == "InvalidSnapshot.NotFound"
    alice("cancel-image-launch-permission", "--image-id", baked.image_id)
    assert alice("describe-images", "--executable-users", "self")["Images"] == []

    state = aws("get-image-block-public-access-state")["ImageBlockPublicAccessState"]
    assert state == "block-new-sharing"
    assert aws.refused(*share, "Add=[{Group=all}]") == "OperationNotPermitted"


def test_a_copy_with_its_tags(aws: Aws, baked: Baked) -> None:
    aws("create-tags", "--resources", baked.image_id, "--tags", "Key=release,Value=1")
    words = ("--source-image-id", baked.image_id, "--source-region", "us-east-1", "--name", "web-copy")
    copied = aws("copy-image", *words, "--copy-image-tags")["ImageId"]
    aws.wait("image_available", "--image-ids", copied)
    found = image(aws, copied)
    assert (found["SourceImageId"], found["Tags"]) == (baked.image_id, [{"Key": "release", "Value": "1"}])
    aws("deregister-image", "--image-id", copied, "--delete-associated-snapshots")


def test_an_image_is_deprecated_disabled_protected_binned_and_restored(aws: Aws, baked: Baked) -> None:
    at = ("--image-id", baked.image_id)
    aws("enable-image-deprecation", *at, "--deprecate-at", "2031-01-01T00:00:30Z")
    assert image(aws, baked.image_id)["DeprecationTime"] == "2031-01-01T00:01:00.000Z"
    aws("disable-image-deprecation", *at)
    aws("disable-image", *at)
    assert image(aws, baked.image_id, "--include-disabled")["State"] == "disabled"
    launch = ("run-instances", "--image-id", baked.image_id, "--instance-type", "t3.nano")
    assert aws.refused(*launch) == "InvalidAMIID.Unavailable"
    aws("enable-image", *at)
    aws("enable-image-deregistration-protection", *at)
    assert aws.refused("deregister-image", *at) == "OperationNotPermitted"
    aws("disable-image-deregistration-protection", *at)

    period = "RetentionPeriodValue=7,RetentionPeriodUnit=DAYS"
    rule = aws.of("rbin", "create-rule", "--resource-type", "EC2_IMAGE", "--retention-period", period)["Identifier"]
    aws("deregister-image", *at)
    assert [one["ImageId"] for one in aws("list-images-in-recycle-bin")["Images"]] == [baked.image_id]
    aws("restore-image-from-recycle-bin", *at)
    assert image(aws, baked.image_id)["State"] == "available"
    aws.of("rbin", "delete-rule", "--identifier", rule)
    aws("terminate-instances", "--instance-ids", baked.instance_id)
    aws.wait("instance_terminated", "--instance-ids", baked.instance_id)
    aws("deregister-image", *at, "--delete-associated-snapshots")
