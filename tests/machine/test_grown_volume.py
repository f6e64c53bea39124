"""A Debian guest sees its disk grow, and goes on using it."""

import pytest

from tests.framework.guests import Guest, wait_for

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]
GIB = 1 << 30
_WAIT = {"Delay": 1, "MaxAttempts": 120}


def test_a_guest_sees_its_volume_grow_and_its_file_system_can_follow(webserver: Guest) -> None:
    ec2 = webserver.ec2
    zone = webserver.describe()["Placement"]["AvailabilityZone"]
    volume_id = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=_WAIT)
    before = webserver.boot_id()
    ec2.attach_volume(VolumeId=volume_id, InstanceId=webserver.instance_id, Device="/dev/sdf")
    disk = f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')[:20]}"
    wait_for(lambda: webserver.ssh(f"test -e {disk} && echo yes || true"), "the guest has the disk")

    def size() -> int:
        return int(webserver.ssh(f"sudo blockdev --getsize64 {disk}"))

    assert size() == GIB
    webserver.ssh(f"sudo mkfs.ext4 -q {disk} && sudo mount {disk} /mnt && echo kept | sudo tee /mnt/note && sync")
    ec2.modify_volume(VolumeId=volume_id, Size=3)
    wait_for(lambda: size() == 3 * GIB, "the guest sees the larger disk")
    webserver.ssh(f"sudo resize2fs {disk}")
    assert int(webserver.ssh("df --output=size -B1 /mnt | tail -1")) > 2.5 * GIB
    assert webserver.ssh("cat /mnt/note").strip() == "kept"
    assert webserver.boot_id() == before

    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=_WAIT)
    assert ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["VolumeSize"] == 3
    webserver.ssh("sudo umount /mnt")
    ec2.detach_volume(VolumeId=volume_id)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=_WAIT)
    ec2.delete_volume(VolumeId=volume_id)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
