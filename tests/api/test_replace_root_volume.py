"""The root of a running instance is replaced; the guest is one sector and counts on its root from one at each boot."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from bakehouse.paths import StateDirectory
from tests.api.conftest import unique
from tests.framework.held import held
from tests.framework.patience import WAITS
from tests.framework.service import Service
from tests.framework.tiny_host import wait_for
from tests.framework.two_volumes import running_with_two_volumes

pytestmark = pytest.mark.programs
ENDED = ("succeeded", "failed", "failed-detached")


@pytest.fixture(scope="module")
def ec2(service: Service) -> Any:
    """The administrator's client."""
    return service.client()


@pytest.fixture(scope="module")
def instance_id(ec2: Any, image_id: str) -> Iterator[str]:
    """A running instance with a second volume."""
    with running_with_two_volumes(ec2, image_id, size_gib=1) as running:
        yield running


def describe(ec2: Any, instance_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return found


def root_of(ec2: Any, instance_id: str) -> str:
    instance = describe(ec2, instance_id)
    roots = [one for one in instance["BlockDeviceMappings"] if one["DeviceName"] == instance["RootDeviceName"]]
    (root,) = roots  # at every instant exactly one
    return str(root["Ebs"]["VolumeId"])


def state_of(ec2: Any, volume_id: str) -> str:
    try:
        return str(ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"])
    except ClientError as error:
        return str(error.response["Error"]["Code"])


def task_of(ec2: Any, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[task_id])[
        "ReplaceRootVolumeTasks"
    ][0]
    return found


def replace(ec2: Any, instance_id: str, **source: Any) -> dict[str, Any]:
    """Replace the root and wait for the end; the instance has exactly one root all the time."""
    task = ec2.create_replace_root_volume_task(InstanceId=instance_id, **source)["ReplaceRootVolumeTask"]
    assert task["TaskState"] == "pending"
    seen = set()

    def has_ended() -> bool:
        seen.add(root_of(ec2, instance_id))
        return task_of(ec2, task["ReplaceRootVolumeTaskId"])["TaskState"] in ENDED

    wait_for(has_ended, "the end of the task")
    assert len(seen) <= 2
    return task_of(ec2, task["ReplaceRootVolumeTaskId"])


def assert_counting(service: Service, ec2: Any, instance_id: str) -> None:
    """The instance runs, and so does its guest."""
    assert describe(ec2, instance_id)["State"]["Name"] == "running"
    log = service.serial_log(instance_id)
    before = log.stat().st_size
    wait_for(lambda: log.stat().st_size > before, "a sign of life")


def take_snapshot(ec2: Any, volume_id: str) -> str:
    snapshot_id = str(ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"])
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=WAITS)
    return snapshot_id


def code_of(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return str(refused.value.response["Error"]["Code"])


def identity(instance: dict[str, Any]) -> dict[str, Any]:
    """What an exchange must not change; of the volumes all but the root."""
    kept = ("InstanceId", "PrivateIpAddress", "PublicIpAddress", "MacAddress", "LaunchTime", "SecurityGroups")
    interfaces = [one["NetworkInterfaceId"] for one in instance["NetworkInterfaces"]]
    others = [one for one in instance["BlockDeviceMappings"] if one["DeviceName"] != instance["RootDeviceName"]]
    return {**{name: instance.get(name) for name in kept}, "interfaces": interfaces, "volumes": others}


def test_a_root_is_replaced_as_at_launch_of_a_snapshot_and_of_an_image(
    service: Service, ec2: Any, instance_id: str
) -> None:
    before = describe(ec2, instance_id)
    first = root_of(ec2, instance_id)
    tags = [{"ResourceType": "replace-root-volume-task", "Tags": [{"Key": "why", "Value": "broken"}]}]
    done = replace(ec2, instance_id, TagSpecifications=tags)
    assert (done["TaskState"], done["Tags"]) == ("succeeded", [{"Key": "why", "Value": "broken"}])
    assert done["CompleteTime"] >= done["StartTime"]
    second = root_of(ec2, instance_id)
    assert second != first
    assert (state_of(ec2, first), state_of(ec2, second)) == ("available", "in-use")
    assert identity(describe(ec2, instance_id)) == identity(before)
    assert_counting(service, ec2, instance_id)
    old, new = ec2.describe_volumes(VolumeIds=[first])["Volumes"][0], ec2.describe_volumes(VolumeIds=[second])
    kept = ("SnapshotId", "Size", "VolumeType", "AvailabilityZone")
    assert {name: old[name] for name in kept} == {name: new["Volumes"][0][name] for name in kept}
    assert new["Volumes"][0]["Attachments"][0]["DeleteOnTermination"] is True

    # A snapshot of the first root, though it is no longer the root; the second root goes at once.
    snapshot_id = take_snapshot(ec2, first)
    done = replace(ec2, instance_id, SnapshotId=snapshot_id, DeleteReplacedRootVolume=True)
    assert (done["TaskState"], done["SnapshotId"], done["DeleteReplacedRootVolume"]) == ("succeeded", snapshot_id, True)
    third = root_of(ec2, instance_id)
    wait_for(lambda: state_of(ec2, second) == "InvalidVolume.NotFound", "the end of the second root")
    assert not StateDirectory(root=service.state_root).volume(second).root.exists()
    assert_counting(service, ec2, instance_id)

    image = ec2.create_image(InstanceId=instance_id, Name=unique("root"), NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=WAITS)
    done = replace(ec2, instance_id, ImageId=image)
    assert (done["TaskState"], done["ImageId"]) == ("succeeded", image)
    assert describe(ec2, instance_id)["ImageId"] == image
    assert root_of(ec2, instance_id) not in (first, second, third)
    assert identity(describe(ec2, instance_id)) == identity(before)
    assert_counting(service, ec2, instance_id)
    filters = [{"Name": "instance-id", "Values": [instance_id]}]
    assert len(ec2.describe_replace_root_volume_tasks(Filters=filters)["ReplaceRootVolumeTasks"]) == 3
    # It stops, starts and is captured as any other.
    ec2.stop_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    assert code_of(ec2.create_replace_root_volume_task, InstanceId=instance_id) == "IncorrectInstanceState"
    ec2.start_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    take_snapshot(ec2, root_of(ec2, instance_id))
    for volume_id in (first, third):
        ec2.delete_volume(VolumeId=volume_id)


def test_only_what_was_taken_of_a_root_of_the_instance_replaces_it(ec2: Any, instance_id: str, image_id: str) -> None:
    create = ec2.create_replace_root_volume_task
    data = describe(ec2, instance_id)["BlockDeviceMappings"][-1]["Ebs"]["VolumeId"]
    of_data, of_root = take_snapshot(ec2, data), take_snapshot(ec2, root_of(ec2, instance_id))
    copied = ec2.copy_snapshot(SourceSnapshotId=of_root, SourceRegion="us-east-1")["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[copied], WaiterConfig=WAITS)
    for snapshot_id, code in {
        of_data: "InvalidParameterValue",
        copied: "InvalidParameterValue",
        "snap-00000000000000001": "InvalidSnapshot.NotFound",
        "snap": "InvalidSnapshotID.Malformed",
    }.items():
        assert code_of(create, InstanceId=instance_id, SnapshotId=snapshot_id) == code
    both = {"SnapshotId": of_root, "ImageId": image_id}
    assert code_of(create, InstanceId=instance_id, **both) == "InvalidParameterCombination"
    assert code_of(create, InstanceId=instance_id, ImageId="ami-00000000000000001") == "InvalidAMIID.NotFound"
    assert code_of(create, InstanceId="i-00000000000000001") == "InvalidInstanceID.NotFound"
    sold = ec2.register_image(
        Name=unique("sold"),
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": copied}}],
    )["ImageId"]
    ec2.modify_image_attribute(ImageId=sold, Attribute="productCodes", ProductCodes=["sold1"])
    assert code_of(create, InstanceId=instance_id, ImageId=sold) == "InvalidParameterValue"
    describe_tasks = ec2.describe_replace_root_volume_tasks
    unknown = ["replacevol-00000000000000001"]
    assert code_of(describe_tasks, ReplaceRootVolumeTaskIds=unknown) == "InvalidReplaceRootVolumeTaskId.NotFound"
    assert code_of(describe_tasks, ReplaceRootVolumeTaskIds=["r"]) == "InvalidReplaceRootVolumeTaskId.Malformed"
    assert root_of(ec2, instance_id)


def test_a_second_task_and_captures_of_all_volumes_wait_for_the_first(
    service: Service, ec2: Any, instance_id: str
) -> None:
    with held(service, instance_id):
        task = ec2.create_replace_root_volume_task(InstanceId=instance_id, DeleteReplacedRootVolume=True)
        task_id = task["ReplaceRootVolumeTask"]["ReplaceRootVolumeTaskId"]
        assert code_of(ec2.create_replace_root_volume_task, InstanceId=instance_id) == "IncorrectState"
        assert code_of(ec2.create_snapshots, InstanceSpecification={"InstanceId": instance_id}) == "IncorrectState"
        assert code_of(ec2.create_image, InstanceId=instance_id, Name=unique("image")) == "IncorrectState"
    wait_for(lambda: task_of(ec2, task_id)["TaskState"] == "succeeded", "the first task")
    assert_counting(service, ec2, instance_id)


def test_a_root_that_cannot_be_made_leaves_the_instance_as_it_was(service: Service, ec2: Any, instance_id: str) -> None:
    before, root = describe(ec2, instance_id), root_of(ec2, instance_id)
    log = service.serial_log(instance_id)
    shutdowns = log.read_bytes().count(b"S")
    snapshot_id = take_snapshot(ec2, root)
    (manifest,) = (StateDirectory(root=service.state_root).blocks / "manifests").rglob(snapshot_id)
    manifest.unlink()
    done = replace(ec2, instance_id, SnapshotId=snapshot_id)
    assert (done["TaskState"], root_of(ec2, instance_id)) == ("failed", root)
    assert describe(ec2, instance_id) == before
    assert log.read_bytes().count(b"S") == shutdowns, "nobody rebooted it"
    ec2.delete_snapshot(SnapshotId=snapshot_id)
