"""The service killed in the middle of a step, at instants that can be seen from outside."""

from collections.abc import Callable

import pytest

from tests.framework.host_truth import find_processes
from tests.framework.mortal_service import MortalService
from tests.framework.patience import wait_for
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, launch, terminate

pytestmark = pytest.mark.programs


def kill_when(mortal: MortalService, claim: Callable[[], bool]) -> None:
    """Kill the service as soon as the claim is true, as it stays; then start it again and let it settle."""
    wait_for(claim, "the instant", pause_s=0.001)
    mortal.service.kill()
    mortal.start()
    wait_until_settled(mortal.settings)


def test_a_launch_killed_while_its_overlay_is_being_made(mortal: MortalService, image_id: str) -> None:
    with mortal.killed_at("volumes/*/disk.qcow2.part"):
        instance_id = launch(mortal, image_id)
    assert_running(mortal, instance_id)
    assert_true(mortal)
    terminate(mortal, instance_id)
    assert_true(mortal)


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("volumes/{}/disk.qcow2", id="its overlay has just been made"),
        pytest.param("vpcs/*/agent.sock", id="the agent of its network has just been started"),
        pytest.param("instances/i-*.json", id="QEMU is about to be spawned"),
        pytest.param("instances/i-*/qemu.pid", id="QEMU has just been spawned"),
    ],
)
def test_a_launch_killed_while(mortal: MortalService, image_id: str, pattern: str) -> None:
    for socket in mortal.settings.state.vpcs.glob("*/agent.sock"):
        socket.unlink()  # its agent is gone: there is no machine
    known = {path.name for path in mortal.settings.state.volumes.iterdir()}
    instance_id = launch(mortal, image_id)
    volume_id = describe(mortal, instance_id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert volume_id not in known
    kill_when(mortal, lambda: any(mortal.settings.state_root.glob(pattern.format(volume_id))))
    assert_running(mortal, instance_id)
    assert_true(mortal)
    terminate(mortal, instance_id)
    assert_true(mortal)


def test_a_capture_with_reboot_killed_while_the_guest_is_down(mortal: MortalService, image_id: str) -> None:
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    assert_running(mortal, instance_id)
    log = mortal.settings.state.instance(instance_id).serial_log
    image = mortal.ec2.create_image(InstanceId=instance_id, Name="while it is down")["ImageId"]
    kill_when(mortal, lambda: b"S" in log.read_bytes())
    assert mortal.ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available"
    assert_running(mortal, instance_id)
    assert_true(mortal)
    terminate(mortal, instance_id)


def test_a_capture_killed_while_its_scratch_file_is_made(mortal: MortalService, image_id: str) -> None:
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    with mortal.killed_at("volumes/*/capture-*.qcow2"):
        image = mortal.ec2.create_image(InstanceId=instance_id, Name="scratched", NoReboot=True)["ImageId"]
    assert mortal.ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available"
    assert_running(mortal, instance_id)
    assert_true(mortal)
    terminate(mortal, instance_id)


def test_a_capture_of_a_stopped_instance_killed_while_its_disk_is_served(mortal: MortalService, image_id: str) -> None:
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    mortal.ec2.stop_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)
    with mortal.killed_at("disk-servers/*/qmp.sock"):
        image = mortal.ec2.create_image(InstanceId=instance_id, Name="served", NoReboot=True)["ImageId"]
    assert mortal.ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available"
    assert_true(mortal)
    terminate(mortal, instance_id)


def test_a_service_killed_right_at_its_start_changes_nothing(mortal: MortalService, image_id: str) -> None:
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    before = {one.pid for one in find_processes(mortal.settings, service_pid=mortal.service.process.pid)}
    mortal.service.kill()
    mortal.start()
    mortal.service.kill()
    mortal.start()
    assert {one.pid for one in find_processes(mortal.settings, service_pid=mortal.service.process.pid)} == before
    assert_running(mortal, instance_id)
    terminate(mortal, instance_id)
    assert_true(mortal)
