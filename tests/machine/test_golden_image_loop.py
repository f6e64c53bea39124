"""The golden-image loop on real machines, through the API: launch, customise, create image, launch a copy."""

import base64
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.framework.guests import Guest, launch_guest
from tests.framework.patience import WAITS, wait_for
from tests.framework.service import Service

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

PAGE = b"<h1>baked here</h1>\n"
# A site that outlives a reboot, without a package mirror: Python serves it as a systemd unit.
CUSTOMISE = """
set -e
sudo mkdir -p /srv/site && echo '<h1>baked here</h1>' | sudo tee /srv/site/index.html >/dev/null
printf '%s\\n' '[Service]' 'ExecStart=/usr/bin/python3 -m http.server 80 -d /srv/site' '[Install]' \\
    'WantedBy=multi-user.target' | sudo tee /etc/systemd/system/site.service >/dev/null
sudo systemctl enable --now site
for n in $(seq 120); do curl -sf http://localhost/ >/dev/null && break; sleep 1; done
"""
DATA_DISK = "$(readlink -f /dev/disk/by-id/virtio-{serial})"
FILL_DATA_DISK = f"sudo mkfs.ext4 -q {DATA_DISK} && sudo mount {DATA_DISK} /mnt && echo kept | sudo tee /mnt/file"
IDENTITY = "hostname; cat /etc/machine-id; cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub"


def read_page(guest: Guest) -> bytes:
    """The site as a client on the host sees it."""
    with urllib.request.urlopen(f"http://{guest.address}/", timeout=60) as reply:
        return bytes(reply.read())


@dataclass(kw_only=True)
class Visitor:
    """Reads the site again and again."""

    guest: Guest
    answers: list[bytes] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def visit_until(self, done: threading.Event) -> None:
        url = f"http://{self.guest.address}/"
        while not done.is_set():
            try:
                with urllib.request.urlopen(url, timeout=60) as reply:
                    self.answers.append(reply.read())
            except OSError as error:
                self.failures.append(str(error))
            done.wait(0.2)


@dataclass(frozen=True, kw_only=True)
class Baked:
    """What making the image showed."""

    image: dict[str, Any]
    visitor: Visitor
    boot_ids: tuple[str, str]


@pytest.fixture(scope="module")
def data_volume(machine_service: Service, webserver: Guest) -> str:
    """A volume attached to the running webserver, with a file in it."""
    ec2 = machine_service.client()
    zone = webserver.describe()["Placement"]["AvailabilityZone"]
    volume_id = str(ec2.create_volume(Size=1, AvailabilityZone=zone, VolumeType="gp3")["VolumeId"])
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)
    ec2.attach_volume(VolumeId=volume_id, InstanceId=webserver.instance_id, Device="/dev/sdf")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)
    serial = volume_id.replace("-", "")
    wait_for(lambda: serial in webserver.ssh("ls /dev/disk/by-id"), "the new disk", pause_s=1)
    assert webserver.ssh(FILL_DATA_DISK.format(serial=serial)).endswith("kept\n")
    return volume_id


@pytest.fixture(scope="module")
def baked(machine_service: Service, webserver: Guest, data_volume: str) -> Baked:
    """An image of the customised webserver, made while it serves its site."""
    ec2 = machine_service.client()
    webserver.ssh(CUSTOMISE)
    before = webserver.boot_id()
    visitor, done = Visitor(guest=webserver), threading.Event()
    visits = threading.Thread(target=visitor.visit_until, args=(done,))
    visits.start()
    tags = [{"Key": "release", "Value": "1"}]
    try:
        image_id = ec2.create_image(
            InstanceId=webserver.instance_id,
            Name="webserver-v1",
            NoReboot=True,
            BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}],
            TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")],
        )["ImageId"]
        ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig=WAITS)
    finally:
        done.set()
        visits.join()
    image = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    return Baked(image=image, visitor=visitor, boot_ids=(before, webserver.boot_id()))


@pytest.fixture(scope="module")
def production(machine_service: Service, key_file: Path, web_group: str, baked: Baked) -> Iterator[Guest]:
    """A copy of the webserver, of another type."""
    yield launch_guest(
        machine_service,
        key_file,
        ImageId=baked.image["ImageId"],
        InstanceType="t3.small",
        KeyName="loop",
        SecurityGroupIds=[web_group],
    )


def test_the_site_answers_while_the_image_is_made_and_the_machine_never_stops(baked: Baked) -> None:
    assert not baked.visitor.failures
    assert set(baked.visitor.answers) == {PAGE}
    assert baked.boot_ids[0] == baked.boot_ids[1]


def test_the_image_is_found_by_its_owner_name_and_tag_with_both_disks(machine_service: Service, baked: Baked) -> None:
    ec2 = machine_service.client()
    filters = [{"Name": "name", "Values": ["webserver-v*"]}, {"Name": "tag:release", "Values": ["1"]}]
    found = ec2.describe_images(Owners=["self"], Filters=filters)["Images"]
    assert [one["ImageId"] for one in found] == [baked.image["ImageId"]]
    disks = {one["DeviceName"]: one["Ebs"] for one in baked.image["BlockDeviceMappings"]}
    assert set(disks) == {baked.image["RootDeviceName"], "/dev/sdf"}
    snapshots = ec2.describe_snapshots(SnapshotIds=[one["SnapshotId"] for one in disks.values()])["Snapshots"]
    assert {one["State"] for one in snapshots} == {"completed"}
    assert all({"Key": "release", "Value": "1"} in one["Tags"] for one in snapshots)


def test_a_copy_serves_the_same_site_byte_for_byte(production: Guest) -> None:
    wait_for(lambda: production.ssh("curl -s http://localhost/ || true"), "the copy's site", pause_s=1)
    assert read_page(production) == PAGE


def test_a_copy_has_an_identity_of_its_own(webserver: Guest, production: Guest) -> None:
    own, theirs = production.ssh(IDENTITY).split(), webserver.ssh(IDENTITY).split()
    assert len(own) == len(theirs) == 3
    assert all(mine != other for mine, other in zip(own, theirs, strict=True)), (own, theirs)
    assert production.describe()["PrivateIpAddress"] != webserver.describe()["PrivateIpAddress"]


def test_a_copy_has_the_processors_and_memory_of_its_type(webserver: Guest, production: Guest) -> None:
    memory = "awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo"
    assert [int(guest.ssh("nproc")) for guest in (webserver, production)] == [2, 2]
    # The kernel keeps a part for itself.
    assert 1024 * 0.85 < int(webserver.ssh(memory)) < 1024
    assert 2048 * 0.85 < int(production.ssh(memory)) < 2048


def test_a_copy_has_the_data_disk_of_the_same_instant(production: Guest) -> None:
    mappings = {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in production.describe()["BlockDeviceMappings"]}
    disk = DATA_DISK.format(serial=mappings["/dev/sdf"].replace("-", ""))
    assert production.ssh(f"sudo mount {disk} /mnt && cat /mnt/file") == "kept\n"


def test_a_disk_is_detached_from_the_running_guest_and_keeps_its_data(
    machine_service: Service, webserver: Guest, production: Guest, data_volume: str
) -> None:
    ec2 = machine_service.client()
    webserver.ssh("sudo umount /mnt")
    ec2.detach_volume(VolumeId=data_volume)
    ec2.get_waiter("volume_available").wait(VolumeIds=[data_volume], WaiterConfig=WAITS)
    assert data_volume.replace("-", "") not in webserver.ssh("ls /dev/disk/by-id")
    ec2.attach_volume(VolumeId=data_volume, InstanceId=production.instance_id, Device="/dev/sdg")
    disk = DATA_DISK.format(serial=data_volume.replace("-", ""))
    wait_for(lambda: production.ssh(f"test -b {disk} && echo yes || true"), "the disk in the other guest", pause_s=1)
    assert production.ssh(f"sudo mkdir -p /moved && sudo mount {disk} /moved && cat /moved/file") == "kept\n"


def test_the_console_output_is_the_real_serial_log(machine_service: Service, webserver: Guest) -> None:
    output = machine_service.client().get_console_output(InstanceId=webserver.instance_id, Latest=True)["Output"]
    assert webserver.describe()["PrivateDnsName"].partition(".")[0] in output
    assert "login:" in output


def test_the_screenshot_is_a_jpeg_of_the_screen(machine_service: Service, webserver: Guest) -> None:
    shot = machine_service.client().get_console_screenshot(InstanceId=webserver.instance_id)["ImageData"]
    assert base64.b64decode(shot).startswith(b"\xff\xd8")


def test_a_copy_that_shuts_itself_down_is_terminated_when_it_was_told_so(
    machine_service: Service, production: Guest, data_volume: str
) -> None:
    ec2 = machine_service.client()
    volumes = [one["Ebs"]["VolumeId"] for one in production.describe()["BlockDeviceMappings"]]
    ec2.modify_instance_attribute(
        InstanceId=production.instance_id, InstanceInitiatedShutdownBehavior={"Value": "terminate"}
    )
    production.try_ssh("sudo systemctl --no-block poweroff")  # the login may end before its answer is out
    production.wait("instance_terminated")
    assert production.describe()["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    doomed = sorted(set(volumes) - {data_volume})
    left = ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": volumes}])["Volumes"]
    assert [one["VolumeId"] for one in left] == [data_volume], doomed
    ec2.delete_volume(VolumeId=data_volume)
