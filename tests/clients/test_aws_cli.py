"""The unmodified AWS CLI walks from a key pair to an image and back to nothing."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from tests.framework.aws_cli import Aws
from tests.framework.service import Service

pytestmark = pytest.mark.programs
ZONE = "us-east-1a"


@pytest.fixture(scope="module")
def aws(service: Service) -> Aws:
    return Aws(service)


def test_the_cli_knows_who_it_is(aws: Aws, service: Service) -> None:
    identity = json.loads(aws.run("sts", "get-caller-identity").stdout)
    assert identity["Account"] == service.administrator.account_id


def test_key_pairs_groups_and_tags(aws: Aws, tmp_path: Path) -> None:
    pair = aws("create-key-pair", "--key-name", "cli", "--key-type", "ed25519")
    load_ssh_private_key(pair["KeyMaterial"].encode(), None)
    public = aws("describe-key-pairs", "--key-names", "cli", "--include-public-key")["KeyPairs"][0]["PublicKey"]
    (tmp_path / "key.pub").write_text(public)
    imported = aws("import-key-pair", "--key-name", "cli-2", "--public-key-material", f"fileb://{tmp_path}/key.pub")
    assert imported["KeyFingerprint"] == pair["KeyFingerprint"]
    assert aws.refused("create-key-pair", "--key-name", "cli") == "InvalidKeyPair.Duplicate"

    specification = "ResourceType=security-group,Tags=[{Key=use,Value=web}]"
    created = aws(
        "create-security-group", "--group-name", "web", "--description", "web", "--tag-specifications", specification
    )
    group_id = created["GroupId"]
    aws(
        "authorize-security-group-ingress",
        "--group-id",
        group_id,
        "--protocol",
        "tcp",
        "--port",
        "80",
        "--cidr",
        "0.0.0.0/0",
    )
    aws(
        "authorize-security-group-ingress",
        "--group-id",
        group_id,
        "--ip-permissions",
        "IpProtocol=icmp,FromPort=-1,ToPort=-1,IpRanges=[{CidrIp=10.0.0.0/8}]",
    )
    aws("authorize-security-group-ingress", "--group-id", group_id, "--protocol", "-1", "--source-group", group_id)
    aws(
        "revoke-security-group-ingress",
        "--group-id",
        group_id,
        "--protocol",
        "tcp",
        "--port",
        "80",
        "--cidr",
        "0.0.0.0/0",
    )
    rules = aws("describe-security-group-rules", "--filters", f"Name=group-id,Values={group_id}")["SecurityGroupRules"]
    assert sorted((one["IpProtocol"], one["IsEgress"]) for one in rules) == [
        ("-1", False),
        ("-1", True),
        ("icmp", False),
    ]
    aws("create-tags", "--resources", group_id, imported["KeyPairId"], "--tags", "Key=owner,Value=cli")
    groups = aws("describe-security-groups", "--filters", "Name=tag:use,Values=w?b", "Name=tag:owner,Values=*")
    assert [one["GroupId"] for one in groups["SecurityGroups"]] == [group_id]
    aws("delete-tags", "--resources", group_id, "--tags", "Key=use")
    tags = aws("describe-tags", "--filters", f"Name=resource-id,Values={group_id}")["Tags"]
    assert [one["Key"] for one in tags] == ["owner"]
    aws("delete-security-group", "--group-id", group_id)
    aws("delete-key-pair", "--key-name", "cli-2")


def test_from_an_instance_to_an_image_and_back(aws: Aws, image_id: str, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_text("#!/bin/sh\necho hello\n")
    words = [
        "run-instances",
        "--image-id",
        image_id,
        "--instance-type",
        "t3.nano",
        "--user-data",
        f"file://{tmp_path}/user-data",
    ]
    words += ["--placement", f"AvailabilityZone={ZONE}", "--metadata-options", "HttpTokens=required"]
    words += ["--block-device-mappings", '[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "VolumeType": "gp3"}}]']
    words += ["--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=webserver}]"]
    assert aws.refused(*words, "--dry-run") == "DryRunOperation"
    instance_id = aws(*words)["Instances"][0]["InstanceId"]
    aws.wait("instance_running", "--instance-ids", instance_id)
    found = aws(
        "describe-instances", "--filters", "Name=tag:Name,Values=web*", "Name=instance-state-name,Values=running"
    )
    instance = found["Reservations"][0]["Instances"][0]
    assert (instance["InstanceId"], instance["MetadataOptions"]["HttpTokens"]) == (instance_id, "required")
    assert [one["DeviceName"] for one in instance["BlockDeviceMappings"]] == ["/dev/xvda", "/dev/sdf"]
    data = aws("describe-instance-attribute", "--instance-id", instance_id, "--attribute", "userData")
    assert data["UserData"]["Value"] == "IyEvYmluL3NoCmVjaG8gaGVsbG8K"
    assert aws("describe-instance-status", "--instance-ids", instance_id)["InstanceStatuses"]
    aws("get-console-output", "--instance-id", instance_id)

    image = aws("create-image", "--instance-id", instance_id, "--name", "webserver-v1", "--no-reboot")["ImageId"]
    aws.wait("image_available", "--image-ids", image)
    described = aws("describe-images", "--owners", "self")["Images"]
    assert [(one["ImageId"], one["State"], one["SourceInstanceId"]) for one in described] == [
        (image, "available", instance_id)
    ]
    aws("modify-image-attribute", "--image-id", image, "--description", "the web server")
    aws("modify-image-attribute", "--image-id", image, "--launch-permission", "Add=[{UserId=123456789012}]")
    permissions = aws("describe-image-attribute", "--image-id", image, "--attribute", "launchPermission")
    assert permissions["LaunchPermissions"] == [{"UserId": "123456789012"}]

    aws("stop-instances", "--instance-ids", instance_id, "--force")
    aws.wait("instance_stopped", "--instance-ids", instance_id)
    aws("modify-instance-attribute", "--instance-id", instance_id, "--instance-type", "t3.micro")
    volume_id = aws("create-volume", "--availability-zone", ZONE, "--size", "1")["VolumeId"]
    aws.wait("volume_available", "--volume-ids", volume_id)
    aws("attach-volume", "--volume-id", volume_id, "--instance-id", instance_id, "--device", "/dev/sdg")
    aws.wait("volume_in_use", "--volume-ids", volume_id)
    aws("terminate-instances", "--instance-ids", instance_id)
    aws.wait("instance_terminated", "--instance-ids", instance_id)
    # Attached later, it outlives the instance.
    aws.wait("volume_available", "--volume-ids", volume_id)
    snapshot_id = aws("create-snapshot", "--volume-id", volume_id)["SnapshotId"]
    aws.wait("snapshot_completed", "--snapshot-ids", snapshot_id)

    aws("deregister-image", "--image-id", image)
    for mapping in described[0]["BlockDeviceMappings"]:
        aws("delete-snapshot", "--snapshot-id", mapping["Ebs"]["SnapshotId"])
    aws("delete-snapshot", "--snapshot-id", snapshot_id)
    aws("delete-volume", "--volume-id", volume_id)
    assert aws("describe-snapshots", "--owner-ids", "self")["Snapshots"] == []
    assert aws.refused("describe-images", "--image-ids", image) == "InvalidAMIID.Unavailable"


@pytest.mark.parametrize(
    "words",
    [
        ("describe-regions", "--all-regions"),
        ("describe-availability-zones", "--zone-names", ZONE),
        ("describe-vpcs", "--filters", "Name=isDefault,Values=true"),
        ("describe-subnets", "--filters", f"Name=availability-zone,Values={ZONE}"),
        ("describe-account-attributes",),
        ("describe-instance-types", "--instance-types", "t3.micro"),
        ("describe-instance-type-offerings", "--location-type", "availability-zone"),
        ("describe-instances", "--max-items", "3"),
    ],
)
def test_what_is_asked_before_anything_is_made(aws: Aws, words: tuple[str, ...]) -> None:
    assert next(iter(aws(*words).values())) or words[0] == "describe-instances"
