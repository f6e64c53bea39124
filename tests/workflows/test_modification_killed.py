"""ModifyVolume, with the service killed after every step."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, kill_points, launch, steps_of, terminate

pytestmark = pytest.mark.programs

STEPS = ("grow", "apply_modification", "complete_modification")
GIB = 1 << 30


@pytest.fixture(scope="module")
def instance_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """A running instance whose volume grows and grows."""
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


def root_of(mortal: MortalService, instance_id: str) -> str:
    """The root volume's id."""
    return str(describe(mortal, instance_id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])


def size_gib(mortal: MortalService, volume_id: str) -> int:
    """What the record says."""
    return int(mortal.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["Size"])


def assert_grown(mortal: MortalService, volume_id: str, expected_gib: int) -> None:
    """The modification is complete, the record and the file have the new size, and a snapshot of it is whole."""
    found = mortal.ec2.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"][0]
    assert (found["ModificationState"], found["TargetSize"]) == ("completed", expected_gib)
    assert size_gib(mortal, volume_id) == expected_gib
    disk = mortal.settings.state.volume(volume_id).disk
    info = subprocess.run(["qemu-img", "info", "-U", "--output=json", disk], capture_output=True, check=True).stdout
    assert json.loads(info)["virtual-size"] == expected_gib * GIB
    snapshot_id = mortal.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    wait_until_settled(mortal.settings)
    snapshot = mortal.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
    assert (snapshot["State"], snapshot["VolumeSize"]) == ("completed", expected_gib)
    assert_true(mortal)


def test_a_modification_takes_the_steps_that_are_killed_here(mortal: MortalService, instance_id: str) -> None:
    mortal.forget_trace()
    volume_id = root_of(mortal, instance_id)
    before = size_gib(mortal, volume_id)
    mortal.ec2.modify_volume(VolumeId=volume_id, Size=before + 1)
    wait_until_settled(mortal.settings)
    assert steps_of(mortal, "modify_volume") == list(STEPS)
    assert_grown(mortal, volume_id, before + 1)


@pytest.mark.parametrize("point", kill_points("modify_volume", *STEPS), ids=str)
def test_a_running_instances_volume_grows_though_killed_there(
    mortal: MortalService, instance_id: str, point: KillPoint
) -> None:
    volume_id = root_of(mortal, instance_id)
    before = size_gib(mortal, volume_id)
    with mortal.killed_at(point):
        mortal.ec2.modify_volume(VolumeId=volume_id, Size=before + 1)
    assert_running(mortal, instance_id)
    assert_grown(mortal, volume_id, before + 1)


@pytest.mark.parametrize("point", kill_points("modify_volume", STEPS[0]), ids=str)
def test_a_volume_attached_to_nothing_grows_though_killed_there(mortal: MortalService, point: KillPoint) -> None:
    volume_id = str(mortal.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"])
    wait_until_settled(mortal.settings)
    with mortal.killed_at(point):
        mortal.ec2.modify_volume(VolumeId=volume_id, Size=2)
    assert_grown(mortal, volume_id, 2)
    mortal.ec2.delete_volume(VolumeId=volume_id)
    wait_until_settled(mortal.settings)
