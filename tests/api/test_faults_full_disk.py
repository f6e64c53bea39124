"""A host whose disk is full: what fails says so, gives its space back, and nothing else is harmed."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakehouse.paths import StateDirectory
from tests.api.conftest import unique
from tests.framework.grounds import Ground, claimed_ground
from tests.framework.service import Service, running_service
from tests.framework.small_disk import MIB, SmallDisk, mounted
from tests.framework.tiny_cloud import (
    command,
    console,
    import_image,
    launch,
    wait_for_image,
    wait_for_state,
    wait_until_it_counts,
    write_disk,
)
from tests.framework.tiny_host import wait_for

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk"),
]
NOISE_MIB = 8
NO_SPACE = "No space left on device"


@pytest.fixture
def ground() -> Iterator[Ground]:
    with claimed_ground() as claimed:
        yield claimed


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bh-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def names_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if not found.name.startswith(".nfs"))


def stop(service: Service, ec2: Any, *instance_ids: str) -> None:
    ec2.terminate_instances(InstanceIds=list(instance_ids), SkipOsShutdown=True)
    for instance_id in instance_ids:
        wait_for_state(ec2, instance_id, "terminated")
    done = command(service, "down")
    assert done.returncode == 0, done.stderr


def test_a_store_that_fills_up_under_a_capture_costs_the_image_alone(directory: Path, ground: Ground) -> None:
    with mounted(directory / "blocks", size_mib=24) as disk:
        variables = {**ground.variables, "BAKEHOUSE_BLOCK_STORE_URL": f"file://{disk.path}"}
        with running_service(directory / "s", variables=variables) as service:
            ec2 = service.client()
            image_id = import_image(service, write_disk(directory / "tiny.raw", noise_mib=NOISE_MIB))
            instance_id = launch(ec2, image_id)
            wait_until_it_counts(ec2, instance_id, dots=20)  # every slot of the trail is written
            disk.fill(leave_bytes=4 * MIB)
            check_failed_capture(service, disk, instance_id)
            disk.empty()
            check_next_capture(service, instance_id)


def check_failed_capture(service: Service, disk: SmallDisk, instance_id: str) -> None:
    ec2 = service.client()
    free_before = disk.free_bytes
    failed = wait_for_image(ec2, ec2.create_image(InstanceId=instance_id, Name=unique("x"), NoReboot=True)["ImageId"])
    assert failed["State"] == "failed"
    assert failed["StateReason"]["Code"] == "Server.InternalError"
    assert NO_SPACE in failed["StateReason"]["Message"]
    (snapshot,) = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert snapshot["State"] == "error"
    assert NO_SPACE in snapshot["StateMessage"]
    wait_for(lambda: disk.free_bytes >= free_before, "the space that the capture had taken")
    wait_until_it_counts(ec2, instance_id)
    state = StateDirectory(root=service.state_root)
    wait_for(lambda: len(names_below(state.volumes)) == 2, "a volume's directory with the disk alone")


def check_next_capture(service: Service, instance_id: str) -> None:
    ec2 = service.client()
    made = wait_for_image(ec2, ec2.create_image(InstanceId=instance_id, Name=unique("x"), NoReboot=True)["ImageId"])
    assert made["State"] == "available", made
    checked = command(service, "check")
    assert checked.returncode == 0, checked.stdout
    copy = launch(ec2, made["ImageId"])
    wait_until_it_counts(ec2, copy)
    stop(service, ec2, instance_id, copy)


def test_a_full_disk_ends_a_launch_holds_a_guest_and_lets_every_request_through(
    directory: Path, ground: Ground
) -> None:
    with (
        mounted(directory / "s", size_mib=96) as disk,
        running_service(directory / "s", variables=ground.variables) as service,
    ):
        ec2 = service.client()
        image_id = import_image(service, write_disk(directory / "tiny.raw", noise_mib=NOISE_MIB))
        check_launch(service, disk, image_id)
        disk.empty()
        instance_id = launch(ec2, image_id)
        wait_for_state(ec2, instance_id, "running")
        check_guest_and_requests(service, disk, instance_id)
        disk.empty()
        wait_until_it_counts(ec2, instance_id)
        stop(service, ec2, instance_id)


def check_launch(service: Service, disk: SmallDisk, image_id: str) -> None:
    """There is no room for the base: the instance ends, says why, and leaves nothing."""
    ec2 = service.client()
    disk.fill(leave_bytes=3 * MIB)
    free_before = disk.free_bytes
    ended = wait_for_state(ec2, launch(ec2, image_id), "terminated", "running")
    assert ended["State"]["Name"] == "terminated"
    assert ended["StateReason"]["Code"] == "Server.InternalError"
    assert NO_SPACE in ended["StateReason"]["Message"]
    state = StateDirectory(root=service.state_root)
    for folder in (state.bases, state.volumes, state.instances):
        assert names_below(folder) == []
    # A few log pages of the database and the accelerator's answer may have come.
    wait_for(lambda: disk.free_bytes >= free_before - MIB, "the space that the launch had taken")


def check_guest_and_requests(service: Service, disk: SmallDisk, instance_id: str) -> None:
    """The guest stands still instead of losing what it wrote; the administrator can still do everything."""
    ec2 = service.client()
    disk.fill()
    wait_for(lambda: is_standing_still(ec2, instance_id), "the guest to stand still")
    disk.fill()
    ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "k", "Value": "v" * 250}])
    failed = wait_for_image(ec2, ec2.create_image(InstanceId=instance_id, Name=unique("x"), NoReboot=True)["ImageId"])
    assert failed["State"] == "failed"
    assert NO_SPACE in failed["StateReason"]["Message"]
    volume_id = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    wait_for(lambda: ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"] == "error", "a volume in error")
    ec2.delete_volume(VolumeId=volume_id)
    assert wait_for_state(ec2, instance_id, "running")


def is_standing_still(ec2: Any, instance_id: str) -> bool:
    before = console(ec2, instance_id)
    time.sleep(1)
    return console(ec2, instance_id) == before
