"""CreateReplaceRootVolumeTask, with the service killed after every step."""

from collections.abc import Iterator
from typing import Any

import pytest

from bakehouse.durable.engine import Moment
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, kill_points, launch, steps_of, terminate

pytestmark = pytest.mark.programs

STEPS = (
    "make_replacement",
    "begin_exchange",
    "end_old_machine",
    "exchange_roots",
    "start_on_new_root",
    "finish_task",
)


@pytest.fixture(scope="module")
def instance_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """A running instance with a second volume."""
    mapping = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}
    instance_id = launch(mortal, image_id, BlockDeviceMappings=[mapping])
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


def volumes_of(mortal: MortalService, instance_id: str) -> dict[str, str]:
    """The volumes by device name."""
    mappings = describe(mortal, instance_id)["BlockDeviceMappings"]
    return {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in mappings}


def create_task(mortal: MortalService, instance_id: str) -> str:
    """Ask for a root as at launch, the old one to be deleted."""
    reply = mortal.ec2.create_replace_root_volume_task(InstanceId=instance_id, DeleteReplacedRootVolume=True)
    return str(reply["ReplaceRootVolumeTask"]["ReplaceRootVolumeTaskId"])


def task_state(mortal: MortalService, task_id: str) -> str:
    """How it ended."""
    reply = mortal.ec2.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[task_id])
    return str(reply["ReplaceRootVolumeTasks"][0]["TaskState"])


def assert_replaced(mortal: MortalService, instance_id: str, before: dict[str, Any], task_id: str) -> None:
    """Another root, the same instance; the old root is gone."""
    assert task_state(mortal, task_id) == "succeeded"
    after = describe(mortal, instance_id)
    root = after["RootDeviceName"]
    old = {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in before["BlockDeviceMappings"]}
    new = volumes_of(mortal, instance_id)
    assert new[root] != old[root]
    assert {**new, root: old[root]} == old
    for name in ("PrivateIpAddress", "PublicIpAddress", "LaunchTime", "StateTransitionReason"):
        assert after.get(name) == before.get(name)
    assert old[root] not in [one["VolumeId"] for one in mortal.ec2.describe_volumes()["Volumes"]]
    assert_running(mortal, instance_id)
    assert_true(mortal)


def test_a_replacement_takes_the_steps_that_are_killed_here(mortal: MortalService, instance_id: str) -> None:
    mortal.forget_trace()
    before = describe(mortal, instance_id)
    task_id = create_task(mortal, instance_id)
    wait_until_settled(mortal.settings)
    assert steps_of(mortal, "replace_root_volume") == list(STEPS)
    assert_replaced(mortal, instance_id, before, task_id)


@pytest.mark.parametrize("point", kill_points("replace_root_volume", *STEPS), ids=str)
def test_a_root_is_replaced_though_killed_there(mortal: MortalService, instance_id: str, point: KillPoint) -> None:
    before = describe(mortal, instance_id)
    with mortal.killed_at(point):
        task_id = create_task(mortal, instance_id)
    assert_replaced(mortal, instance_id, before, task_id)


def test_a_root_that_does_not_boot_gives_its_place_back(mortal: MortalService, instance_id: str) -> None:
    before = volumes_of(mortal, instance_id)
    known = {one["VolumeId"] for one in mortal.ec2.describe_volumes()["Volumes"]}
    mortal.order_death(KillPoint(workflow="replace_root_volume", step="make_replacement", moment=Moment.REMEMBERED))
    task_id = create_task(mortal, instance_id)
    mortal.await_death()
    (made,) = (path for path in mortal.settings.state.volumes.iterdir() if path.name not in known)
    mortal.settings.state.volume(made.name).disk.write_bytes(b"not a disk that QEMU would take")
    mortal.start()
    wait_until_settled(mortal.settings)
    assert task_state(mortal, task_id) == "failed"
    assert volumes_of(mortal, instance_id) == before
    assert not made.exists()
    assert_running(mortal, instance_id)
    assert_true(mortal)


def test_a_stop_during_a_replacement_ends_stopped_with_the_new_root(mortal: MortalService, instance_id: str) -> None:
    before = volumes_of(mortal, instance_id)
    task_id = create_task(mortal, instance_id)
    mortal.ec2.stop_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)
    assert task_state(mortal, task_id) == "succeeded"
    assert describe(mortal, instance_id)["State"]["Name"] == "stopped"
    assert volumes_of(mortal, instance_id) != before
    assert_true(mortal)
    mortal.ec2.start_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)
    assert_running(mortal, instance_id)
