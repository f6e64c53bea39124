"""The small nouns through unmodified boto3 against the real service."""

from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from tests.api.conftest import unique
from tests.framework.patience import WAITS
from tests.framework.service import Keys, Service

OPEN = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


def refused(call: Any, **parameters: Any) -> str:
    """The error code a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    return str(caught.value.response["Error"]["Code"])


def test_the_caller_learns_its_account(service: Service) -> None:
    identity = service.client("sts").get_caller_identity()
    assert identity["Account"] == service.administrator.account_id


def test_an_ed25519_key_pair_is_a_real_key_and_its_private_half_is_shown_once(ec2: Any) -> None:
    name = unique("key")
    made = ec2.create_key_pair(KeyName=name, KeyType="ed25519")
    load_ssh_private_key(made["KeyMaterial"].encode(), None)
    assert refused(ec2.create_key_pair, KeyName=name) == "InvalidKeyPair.Duplicate"
    described = ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"][0]
    assert described["KeyFingerprint"] == made["KeyFingerprint"]
    assert "KeyMaterial" not in described
    ec2.delete_key_pair(KeyName=name)
    assert refused(ec2.describe_key_pairs, KeyNames=[name]) == "InvalidKeyPair.NotFound"


def test_garbage_is_no_public_key(ec2: Any) -> None:
    code = refused(ec2.import_key_pair, KeyName=unique("key"), PublicKeyMaterial=b"ssh-rsa garbage")
    assert code == "InvalidKey.Format"


def test_rules_are_added_once_and_revoked(ec2: Any) -> None:
    group_id = ec2.create_security_group(GroupName=unique("group"), Description="d")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=OPEN)
    code = refused(ec2.authorize_security_group_ingress, GroupId=group_id, IpPermissions=OPEN)
    assert code == "InvalidPermission.Duplicate"
    ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=OPEN)
    group = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
    assert group["IpPermissions"] == []
    assert group["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    ec2.delete_security_group(GroupId=group_id)
    assert refused(ec2.describe_security_groups, GroupIds=[group_id]) == "InvalidGroup.NotFound"


def test_a_volume_becomes_available_takes_tags_and_goes(ec2: Any) -> None:
    volume_id = ec2.create_volume(
        AvailabilityZone="us-east-1a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "use", "Value": "test"}]}],
    )["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)
    found = ec2.describe_volumes(Filters=[{"Name": "tag:use", "Values": ["te*"]}])["Volumes"]
    assert volume_id in {volume["VolumeId"] for volume in found}
    ec2.delete_volume(VolumeId=volume_id)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)


@pytest.mark.programs
def test_a_detached_volume_becomes_a_snapshot_an_image_needs(ec2: Any) -> None:
    volume_id = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=WAITS)
    name = unique("image")
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}]
    parameters = {"Name": name, "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": mapping}
    image_id = ec2.register_image(**parameters)["ImageId"]
    assert refused(ec2.register_image, **parameters) == "InvalidAMIName.Duplicate"
    assert refused(ec2.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.InUse"
    ec2.deregister_image(ImageId=image_id)
    assert refused(ec2.describe_images, ImageIds=[image_id]) == "InvalidAMIID.Unavailable"
    ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_another_account_sees_nothing_private(service: Service, ec2: Any, other_keys: Keys) -> None:
    other = service.client(keys=other_keys)
    group_id = ec2.create_security_group(GroupName=unique("group"), Description="d")["GroupId"]
    volume_id = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    assert refused(other.describe_security_groups, GroupIds=[group_id]) == "InvalidGroup.NotFound"
    assert refused(other.describe_volumes, VolumeIds=[volume_id]) == "InvalidVolume.NotFound"
    assert refused(other.create_tags, Resources=[volume_id], Tags=[{"Key": "k", "Value": "v"}]) == (
        "InvalidVolume.NotFound"
    )
    assert group_id not in {group["GroupId"] for group in other.describe_security_groups()["SecurityGroups"]}


def test_a_wrong_secret_is_refused(service: Service) -> None:
    admin = service.administrator
    wrong = Keys(account_id=admin.account_id, access_key_id=admin.access_key_id, secret_access_key="wrong")
    assert refused(service.client(keys=wrong).describe_regions) == "AuthFailure"


def test_unknown_and_malformed_ids_have_codes_of_their_own(ec2: Any) -> None:
    assert refused(ec2.describe_instances, InstanceIds=["i-12345678"]) == "InvalidInstanceID.NotFound"
    assert refused(ec2.describe_instances, InstanceIds=["nonsense"]) == "InvalidInstanceID.Malformed"
    run = {"ImageId": "ami-12345678", "MinCount": 1, "MaxCount": 1}
    assert refused(ec2.run_instances, **run) == "InvalidAMIID.NotFound"
    assert refused(ec2.run_instances, **run, DryRun=True) == "InvalidAMIID.NotFound"
