"""A Debian guest sees its disk grow, and goes on using it."""

import pytest

from tests.framework.guests import Guest
from tests.framework.patience import WAITS

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]
GIB = 1 << 30
_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def test_a_guest_sees_its_volume_grow_and_its_file_system_can_follow(webserver: Guest) -> None:
    ec2 = webserver.ec2
    zone = webserver.describe()["Placement"]["AvailabilityZone"]
    volume_id = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)
    ec2.attach_volume(VolumeId=volume_id, InstanceId=webserver.instance_id, Device="/dev/sdf")
    disk = f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')[:20]}"
    size = f"sudo blockdev --getsize64 {disk}"
    # Each login costs an emulated guest seconds: one before and one after.
    before = webserver.ssh(
        f"until test -e {disk}; do sleep 1; done; {size}; {_BOOT_ID};"
        f"sudo mkfs.ext4 -q {disk} && sudo mount {disk} /mnt && echo kept | sudo tee /mnt/note >/dev/null && sync"
    ).split()
    assert before[0] == str(GIB)

    ec2.modify_volume(VolumeId=volume_id, Size=3)
    after = webserver.ssh(
        f"until test $({size}) = {3 * GIB}; do sleep 1; done; {_BOOT_ID}; sudo resize2fs {disk} >/dev/null 2>&1;"
        "cat /mnt/note; df --output=size -B1 /mnt | tail -1; sudo umount /mnt"
    ).split()
    assert after[:2] == [before[1], "kept"], "the same boot, the same file"
    assert int(after[2]) > 2.5 * GIB

    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=WAITS)
    assert ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["VolumeSize"] == 3
    ec2.detach_volume(VolumeId=volume_id)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)
    ec2.delete_volume(VolumeId=volume_id)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
