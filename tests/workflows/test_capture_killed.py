"""CreateImage and CreateSnapshot, with the service killed after every step."""

from collections.abc import Iterator

import pytest

from bakehouse.durable.engine import Moment
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, kill_points, launch, steps_of, terminate

pytestmark = pytest.mark.programs

LIVE = ("begin", "read_views", "complete", "end")
OFFLINE = ("begin", "read_offline", "complete", "end")


@pytest.fixture(scope="module")
def running_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """A running instance that is captured again and again."""
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


@pytest.fixture(scope="module")
def two_disks_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """A running instance with a second volume."""
    mapping = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}
    instance_id = launch(mortal, image_id, BlockDeviceMappings=[mapping])
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


@pytest.fixture(scope="module")
def stopped_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """A stopped one."""
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    mortal.ec2.stop_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


def create_image(mortal: MortalService, instance_id: str, *, no_reboot: bool) -> str:
    """Ask for an image; its id."""
    number = len(mortal.ec2.describe_images(Owners=["self"])["Images"])
    reply = mortal.ec2.create_image(InstanceId=instance_id, Name=f"image {number}", NoReboot=no_reboot)
    return str(reply["ImageId"])


def assert_launchable(mortal: MortalService, image_id: str) -> None:
    """It is available, and a machine of it boots from what was captured."""
    image = mortal.ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert image["State"] == "available"
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    assert_running(mortal, instance_id)
    terminate(mortal, instance_id)


def test_a_capture_takes_the_steps_that_are_killed_here(
    mortal: MortalService, running_id: str, stopped_id: str
) -> None:
    for instance_id, steps in ((running_id, LIVE), (stopped_id, OFFLINE)):
        mortal.forget_trace()
        image_id = create_image(mortal, instance_id, no_reboot=True)
        wait_until_settled(mortal.settings)
        assert steps_of(mortal, "capture_image") == list(steps)
        assert_launchable(mortal, image_id)
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("capture_image", *LIVE, moments=Moment), ids=str)
def test_an_image_of_a_running_instance_is_whole_though_killed_there(
    mortal: MortalService, running_id: str, point: KillPoint
) -> None:
    with mortal.killed_at(point):
        image_id = create_image(mortal, running_id, no_reboot=True)
    assert_running(mortal, running_id)
    assert_true(mortal)
    assert_launchable(mortal, image_id)


@pytest.mark.parametrize("point", kill_points("capture_image", *LIVE), ids=str)
def test_an_image_with_a_reboot_is_whole_and_the_instance_is_up_again_though_killed_there(
    mortal: MortalService, running_id: str, point: KillPoint
) -> None:
    log = mortal.settings.state.instance(running_id).serial_log
    shutdowns = log.read_bytes().count(b"S")
    with mortal.killed_at(point):
        image_id = create_image(mortal, running_id, no_reboot=False)
    assert_running(mortal, running_id)
    assert log.read_bytes().count(b"S") == shutdowns + 1, "it was shut down once"
    assert_true(mortal)
    assert_launchable(mortal, image_id)


@pytest.mark.parametrize("point", kill_points("capture_image", *OFFLINE), ids=str)
def test_an_image_of_a_stopped_instance_is_whole_though_killed_there(
    mortal: MortalService, stopped_id: str, point: KillPoint
) -> None:
    with mortal.killed_at(point):
        image_id = create_image(mortal, stopped_id, no_reboot=True)
    assert describe(mortal, stopped_id)["State"]["Name"] == "stopped"
    assert_true(mortal)
    assert_launchable(mortal, image_id)


@pytest.mark.parametrize("point", kill_points("capture_snapshot", *LIVE), ids=str)
def test_a_snapshot_is_whole_though_killed_there(mortal: MortalService, running_id: str, point: KillPoint) -> None:
    volume_id = describe(mortal, running_id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    with mortal.killed_at(point):
        snapshot_id = mortal.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    assert mortal.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"] == "completed"
    assert_running(mortal, running_id)
    assert_true(mortal)


def test_a_set_of_snapshots_takes_these_steps_for_all_of_it_at_once(mortal: MortalService, two_disks_id: str) -> None:
    mortal.forget_trace()
    mortal.ec2.create_snapshots(InstanceSpecification={"InstanceId": two_disks_id})
    wait_until_settled(mortal.settings)
    assert steps_of(mortal, "capture_snapshot") == list(LIVE)


@pytest.mark.parametrize("point", kill_points("capture_snapshot", "begin", "read_views"), ids=str)
def test_a_set_of_snapshots_is_whole_though_killed_there(
    mortal: MortalService, two_disks_id: str, point: KillPoint
) -> None:
    with mortal.killed_at(point):
        reply = mortal.ec2.create_snapshots(InstanceSpecification={"InstanceId": two_disks_id})
    ids = [one["SnapshotId"] for one in reply["Snapshots"]]
    states = {one["State"] for one in mortal.ec2.describe_snapshots(SnapshotIds=ids)["Snapshots"]}
    assert (len(ids), states) == (2, {"completed"})
    assert_running(mortal, two_disks_id)
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("capture_snapshot", "read_offline"), ids=str)
def test_a_set_of_snapshots_of_a_stopped_instance_is_whole_though_killed_there(
    mortal: MortalService, two_disks_id: str, point: KillPoint
) -> None:
    mortal.ec2.stop_instances(InstanceIds=[two_disks_id])
    wait_until_settled(mortal.settings)
    with mortal.killed_at(point):
        reply = mortal.ec2.create_snapshots(InstanceSpecification={"InstanceId": two_disks_id})
    ids = [one["SnapshotId"] for one in reply["Snapshots"]]
    states = {one["State"] for one in mortal.ec2.describe_snapshots(SnapshotIds=ids)["Snapshots"]}
    assert (len(ids), states) == (2, {"completed"})
    assert_true(mortal)
