"""What is done to an instance or a volume right after a snapshot or an image of it was asked for: both come out well.

Which of the two the host begins with is left to it; whatever it is, the outcome is the same.
"""

from collections.abc import Iterator

import pytest

from tests.framework.mortal_service import MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, launch, terminate

pytestmark = pytest.mark.programs

ZONE = "us-east-1a"


@pytest.fixture(scope="module")
def instance_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """An instance with a second volume; each test finds it running and leaves it so."""
    mapping = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}
    instance_id = launch(mortal, image_id, Placement={"AvailabilityZone": ZONE}, BlockDeviceMappings=[mapping])
    wait_until_settled(mortal.settings)
    assert_running(mortal, instance_id)
    yield instance_id
    terminate(mortal, instance_id)


@pytest.fixture
def volume_id(mortal: MortalService) -> str:
    """An available volume."""
    volume_id = str(mortal.ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"])
    wait_until_settled(mortal.settings)
    return volume_id


def create_image(mortal: MortalService, instance_id: str, *, no_reboot: bool = True) -> str:
    """Ask for an image; its id."""
    number = len(mortal.ec2.describe_images(Owners=["self"])["Images"])
    reply = mortal.ec2.create_image(InstanceId=instance_id, Name=f"captured {number}", NoReboot=no_reboot)
    return str(reply["ImageId"])


def assert_available(mortal: MortalService, image_id: str) -> None:
    """It settles as an available image."""
    wait_until_settled(mortal.settings)
    image = mortal.ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert image["State"] == "available", image["StateReason"]
    assert_true(mortal)


def assert_completed(mortal: MortalService, snapshot_id: str) -> None:
    """It settles as a completed snapshot."""
    wait_until_settled(mortal.settings)
    snapshot = mortal.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
    assert snapshot["State"] == "completed", snapshot["StateMessage"]
    assert_true(mortal)


@pytest.mark.parametrize("no_reboot", [True, False], ids=["without a reboot", "with one"])
def test_an_instance_stopped_and_another_time_started_right_after_create_image(
    mortal: MortalService, instance_id: str, no_reboot: bool
) -> None:
    image_id = create_image(mortal, instance_id, no_reboot=no_reboot)
    mortal.ec2.stop_instances(InstanceIds=[instance_id])
    assert_available(mortal, image_id)
    assert describe(mortal, instance_id)["State"]["Name"] == "stopped"
    image_id = create_image(mortal, instance_id, no_reboot=no_reboot)
    mortal.ec2.start_instances(InstanceIds=[instance_id])
    assert_available(mortal, image_id)
    assert_running(mortal, instance_id)


@pytest.mark.parametrize("is_stopped", [False, True], ids=["running", "stopped"])
def test_an_instance_terminated_right_after_create_image(
    mortal: MortalService, image_id: str, is_stopped: bool
) -> None:
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    if is_stopped:
        mortal.ec2.stop_instances(InstanceIds=[instance_id], Force=True)
        wait_until_settled(mortal.settings)
    made_id = create_image(mortal, instance_id)
    mortal.ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    assert_available(mortal, made_id)
    assert describe(mortal, instance_id)["State"]["Name"] == "terminated"


def test_a_volume_attached_right_after_create_snapshot_and_detached_right_after_another(
    mortal: MortalService, instance_id: str, volume_id: str
) -> None:
    snapshot_id = mortal.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    mortal.ec2.attach_volume(InstanceId=instance_id, VolumeId=volume_id, Device="/dev/sdh")
    assert_completed(mortal, snapshot_id)
    snapshot_id = mortal.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    mortal.ec2.detach_volume(VolumeId=volume_id)
    assert_completed(mortal, snapshot_id)
    assert mortal.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"] == "available"
    snapshot_id = mortal.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    mortal.ec2.delete_volume(VolumeId=volume_id)
    assert_completed(mortal, snapshot_id)
    assert_running(mortal, instance_id)
