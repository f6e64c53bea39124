"""boto3's own waiters, each of them waiting for what it is named after. (instance_status_ok needs a real guest.)"""

import os
from typing import Any

import pytest

from tests.framework.patience import WAITS
from tests.framework.service import Service
from tests.framework.tiny_host import wait_for

pytestmark = pytest.mark.programs
ZONE = "us-east-1a"


@pytest.fixture(scope="module")
def ec2(service: Service) -> Any:
    return service.client()


def wait(ec2: Any, waiter: str, **what: Any) -> None:
    ec2.get_waiter(waiter).wait(**what, WaiterConfig=WAITS)


def unique(prefix: str) -> str:
    return f"{prefix}-{os.urandom(4).hex()}"


def attachment_of(ec2: Any, volume_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["Attachments"][0]
    return found


def test_waiters_of_an_instance_its_image_and_its_volumes(ec2: Any, image_id: str) -> None:
    placement = {"AvailabilityZone": ZONE}
    reply = ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1, Placement=placement)
    instance_id = reply["Instances"][0]["InstanceId"]
    wait(ec2, "instance_exists", InstanceIds=[instance_id])
    wait(ec2, "instance_running", InstanceIds=[instance_id])
    wait(ec2, "system_status_ok", InstanceIds=[instance_id])

    made = ec2.create_image(InstanceId=instance_id, Name=unique("image"), NoReboot=True)["ImageId"]
    wait(ec2, "image_exists", ImageIds=[made])
    wait(ec2, "image_available", ImageIds=[made])
    mapping = ec2.describe_images(ImageIds=[made])["Images"][0]["BlockDeviceMappings"][0]
    wait(ec2, "snapshot_completed", SnapshotIds=[mapping["Ebs"]["SnapshotId"]])

    ec2.stop_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    wait(ec2, "instance_stopped", InstanceIds=[instance_id])
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    wait(ec2, "volume_available", VolumeIds=[volume_id])
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    wait(ec2, "volume_in_use", VolumeIds=[volume_id])
    wait_for(lambda: attachment_of(ec2, volume_id)["State"] == "attached", "an attached volume")
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    wait(ec2, "snapshot_completed", SnapshotIds=[snapshot_id])
    ec2.detach_volume(VolumeId=volume_id)
    wait(ec2, "volume_available", VolumeIds=[volume_id])
    ec2.delete_volume(VolumeId=volume_id)
    wait(ec2, "volume_deleted", VolumeIds=[volume_id])

    ec2.terminate_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_terminated", InstanceIds=[instance_id])


def test_waiters_of_key_pairs_and_security_groups(ec2: Any) -> None:
    name = unique("name")
    ec2.create_key_pair(KeyName=name, KeyType="ed25519")
    wait(ec2, "key_pair_exists", KeyNames=[name])
    group_id = ec2.create_security_group(GroupName=name, Description="d")["GroupId"]
    wait(ec2, "security_group_exists", GroupIds=[group_id])
    wait(ec2, "security_group_exists", GroupNames=[name])
