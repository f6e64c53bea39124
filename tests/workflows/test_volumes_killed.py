"""Create, attach, detach and delete volumes, with the service killed after every step."""

from collections.abc import Iterator

import pytest

from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, kill_points, launch, steps_of, terminate

pytestmark = pytest.mark.programs

CREATE = ("make_disk", "set_volume_state")
ATTACH = ("plug_in", "mark_attached")
DETACH = ("unplug", "mark_detached")
DELETE = ("remove_disk", "forget_volume")
ZONE = "us-east-1a"


@pytest.fixture(scope="module")
def instance_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """A running instance; its guest releases no disk by itself."""
    instance_id = launch(mortal, image_id, Placement={"AvailabilityZone": ZONE})
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


@pytest.fixture
def volume_id(mortal: MortalService) -> Iterator[str]:
    """An available volume, deleted at last."""
    volume_id = str(mortal.ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"])
    wait_until_settled(mortal.settings)
    yield volume_id
    mortal.ec2.delete_volume(VolumeId=volume_id)
    wait_until_settled(mortal.settings)


def state_of(mortal: MortalService, volume_id: str) -> str:
    """The volume's state."""
    return str(mortal.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"])


def attach(mortal: MortalService, instance_id: str, volume_id: str) -> None:
    """Ask for the attachment."""
    mortal.ec2.attach_volume(InstanceId=instance_id, VolumeId=volume_id, Device="/dev/sdf")


def test_these_workflows_take_the_steps_that_are_killed_here(mortal: MortalService, instance_id: str) -> None:
    mortal.forget_trace()
    volume_id = str(mortal.ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"])
    wait_until_settled(mortal.settings)
    attach(mortal, instance_id, volume_id)
    wait_until_settled(mortal.settings)
    assert state_of(mortal, volume_id) == "in-use"
    assert_true(mortal)
    mortal.ec2.detach_volume(VolumeId=volume_id, Force=True)
    wait_until_settled(mortal.settings)
    assert state_of(mortal, volume_id) == "available"
    assert_true(mortal)
    mortal.ec2.delete_volume(VolumeId=volume_id)
    wait_until_settled(mortal.settings)
    assert_true(mortal)
    for workflow, steps in {
        "create_volume": CREATE,
        "attach_volume": ATTACH,
        "detach_volume": DETACH,
        "delete_volume": DELETE,
    }.items():
        assert steps_of(mortal, workflow) == list(steps)


@pytest.mark.parametrize("point", kill_points("create_volume", *CREATE), ids=str)
def test_a_volume_is_available_though_its_creation_is_killed_there(mortal: MortalService, point: KillPoint) -> None:
    with mortal.killed_at(point):
        volume_id = mortal.ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    assert state_of(mortal, volume_id) == "available"
    assert_true(mortal)
    mortal.ec2.delete_volume(VolumeId=volume_id)
    wait_until_settled(mortal.settings)


@pytest.mark.parametrize("point", kill_points("attach_volume", *ATTACH), ids=str)
def test_a_volume_is_attached_though_killed_there(
    mortal: MortalService, instance_id: str, volume_id: str, point: KillPoint
) -> None:
    with mortal.killed_at(point):
        attach(mortal, instance_id, volume_id)
    assert state_of(mortal, volume_id) == "in-use"
    assert_running(mortal, instance_id)
    assert_true(mortal)
    mortal.ec2.detach_volume(VolumeId=volume_id, Force=True)
    wait_until_settled(mortal.settings)


@pytest.mark.parametrize("point", kill_points("detach_volume", *DETACH), ids=str)
def test_a_volume_is_detached_though_killed_there(
    mortal: MortalService, instance_id: str, volume_id: str, point: KillPoint
) -> None:
    attach(mortal, instance_id, volume_id)
    wait_until_settled(mortal.settings)
    with mortal.killed_at(point):
        mortal.ec2.detach_volume(VolumeId=volume_id, Force=True)
    assert state_of(mortal, volume_id) == "available"
    assert_running(mortal, instance_id)
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("delete_volume", *DELETE), ids=str)
def test_a_volume_is_gone_though_its_deletion_is_killed_there(mortal: MortalService, point: KillPoint) -> None:
    volume_id = mortal.ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    wait_until_settled(mortal.settings)
    with mortal.killed_at(point):
        mortal.ec2.delete_volume(VolumeId=volume_id)
    assert volume_id not in [one["VolumeId"] for one in mortal.ec2.describe_volumes()["Volumes"]]
    assert_true(mortal)
