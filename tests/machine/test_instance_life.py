"""A Debian guest through what happens to an instance: service gone and back, imaged with a reboot, stopped, started."""

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.framework.guests import Guest
from tests.framework.patience import WAITS, wait_for
from tests.framework.service import Service

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

_SECTOR = 512
_NEEDS_RECOVERY = 0x4


def test_a_killed_service_finds_its_machine_again(machine_service: Service, webserver: Guest) -> None:
    before = webserver.boot_id()
    address = webserver.address
    machine_service.kill()
    machine_service.start()
    webserver.wait("instance_status_ok")
    assert webserver.address == address
    assert webserver.boot_id() == before


def test_an_image_made_with_a_reboot_is_of_a_file_system_at_rest(
    machine_service: Service, webserver: Guest, web_group: str
) -> None:
    ec2 = machine_service.client()
    webserver.ssh("echo made before > ~/note")
    before = webserver.boot_id()
    image_id = ec2.create_image(InstanceId=webserver.instance_id, Name="at-rest")["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={**WAITS, "Delay": 2})
    assert webserver.describe()["State"]["Name"] == "running"
    wait_for(lambda: webserver.has_booted_since(before), "another boot", timeout_s=900, pause_s=1)
    image = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert not needs_recovery(hydrated(machine_service, image, web_group))


def hydrated(service: Service, image: dict[str, Any], group_id: str) -> Path:
    """The image's root disk as launches of it find it."""
    ec2 = service.client()
    run = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType="t3.nano", MinCount=1, MaxCount=1, SecurityGroupIds=[group_id]
    )
    instance_id = run["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    return service.state_root / "bases" / f"{image['BlockDeviceMappings'][0]['Ebs']['SnapshotId']}.raw"


def needs_recovery(disk: Path) -> bool:
    """Whether the root file system's journal must be replayed (ext4's INCOMPAT_RECOVER)."""
    with disk.open("rb") as file:
        file.seek(_SECTOR)
        header = file.read(92)
        table, size = struct.unpack_from("<Q", header, 72)[0], struct.unpack_from("<I", header, 84)[0]
        file.seek(table * _SECTOR)
        start = struct.unpack_from("<Q", file.read(size), 32)[0] * _SECTOR
        file.seek(start + 1024)
        superblock = file.read(1024)
    assert superblock[56:58] == b"\x53\xef", "not an ext4 file system"
    return bool(struct.unpack_from("<I", superblock, 0x60)[0] & _NEEDS_RECOVERY)


def test_a_stopped_instance_starts_again_with_its_disk_and_private_address(
    machine_service: Service, webserver: Guest
) -> None:
    ec2 = machine_service.client()
    identity = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
    before, who = webserver.describe(), webserver.ssh(identity)
    webserver.ssh("echo kept > ~/note && sync")
    ec2.stop_instances(InstanceIds=[webserver.instance_id])
    webserver.wait("instance_stopped")
    assert "PublicIpAddress" not in webserver.describe()
    ec2.modify_instance_attribute(InstanceId=webserver.instance_id, InstanceType={"Value": "t3.small"})
    ec2.start_instances(InstanceIds=[webserver.instance_id])
    webserver.wait("instance_status_ok")
    wait_for(webserver.admits, "a login", timeout_s=900, pause_s=1)
    assert webserver.describe()["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert webserver.describe()["InstanceType"] == "t3.small"
    assert webserver.ssh("cat ~/note") == "kept\n"
    assert webserver.ssh(identity) == who
