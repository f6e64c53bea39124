"""What users of EC2's Debian expect of the base image, looked at from inside a guest that has user data."""

from collections.abc import Iterator
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from tests.framework.guests import Guest, base_image_id, launch_guest
from tests.framework.patience import WAITS, wait_for
from tests.framework.service import Service

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

GIB = 1 << 30
SIZE_GIB = 12
SCRIPT = "#!/bin/sh\nid -un > /var/tmp/script-ran-as\n"
CLOUD_CONFIG = """#cloud-config
write_files:
  - path: /etc/written-by-cloud-config
    content: "as it was asked\\n"
runcmd:
  - [ sh, -c, "echo ran > /var/tmp/runcmd" ]
"""
AS_IT_SHOULD_BE = {
    "script": "root",
    "write_files": "as it was asked",
    "runcmd": "ran",
    "cloud_init": "status: done",
    "agent": "active",
    "ssh": "active",
    "sudo": "root",
    "dbus_machine_id_follows": "yes",
    "failed_units": "",
    "ordering_cycles": "",
}
LOOK = """
cloud-init status --wait > /var/tmp/status || true
tell() { printf '%s\\t%s\\n' "$1" "$2"; }
tell script "$(cat /var/tmp/script-ran-as)"
tell write_files "$(cat /etc/written-by-cloud-config)"
tell runcmd "$(cat /var/tmp/runcmd)"
tell cloud_init "$(tail -n 1 /var/tmp/status)"
tell agent "$(systemctl is-active qemu-guest-agent)"
tell ssh "$(systemctl is-active ssh)"
tell sudo "$(sudo -n id -un)"
tell dbus_machine_id_follows "$(cmp -s /etc/machine-id /var/lib/dbus/machine-id && echo yes)"
tell failed_units "$(systemctl --failed --plain --no-legend | tr '\\n' ' ')"
tell ordering_cycles "$(sudo journalctl -b --no-pager -q -g 'ordering cycle' _PID=1 | tr '\\n' ' ')"
"""


def user_data() -> str:
    """A script and #cloud-config in one MIME message, as cloud-init's documents show it."""
    message = MIMEMultipart()
    message.attach(MIMEText(SCRIPT, "x-shellscript", "us-ascii"))
    message.attach(MIMEText(CLOUD_CONFIG, "cloud-config", "us-ascii"))
    return message.as_string()


@pytest.fixture(scope="module")
def configured(machine_service: Service, key_file: Path, web_group: str) -> Iterator[Guest]:
    """A t3.small with user data and a larger root volume."""
    ec2 = machine_service.client()
    guest = launch_guest(
        machine_service,
        key_file,
        ImageId=base_image_id(ec2),
        InstanceType="t3.small",
        KeyName="loop",
        SecurityGroupIds=[web_group],
        UserData=user_data(),
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": SIZE_GIB}}],
    )
    yield guest
    end(guest)


def end(guest: Guest) -> None:
    """Terminate without waiting for the guest to shut down."""
    guest.ec2.terminate_instances(InstanceIds=[guest.instance_id], SkipOsShutdown=True)
    guest.wait("instance_terminated")


def test_user_data_is_done_and_everything_runs(configured: Guest) -> None:
    seen = dict(line.split("\t") for line in configured.ssh(LOOK).splitlines())
    assert seen == AS_IT_SHOULD_BE


def test_the_root_file_system_has_the_size_that_was_asked_for(configured: Guest) -> None:
    size = int(configured.ssh("df --output=size --block-size=1 / | tail -n 1"))
    assert (SIZE_GIB - 1) * GIB < size < SIZE_GIB * GIB


def test_the_machine_id_is_the_instances_and_outlives_a_reboot(configured: Guest) -> None:
    firmware = configured.ssh("sudo cat /sys/class/dmi/id/product_uuid").strip().replace("-", "")
    assert configured.ssh("cat /etc/machine-id").strip() == firmware
    host_key = configured.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub")
    before = configured.boot_id()
    configured.ssh("sudo update-grub 2>&1")  # what boots next is what Debian's own tools wrote
    configured.ec2.reboot_instances(InstanceIds=[configured.instance_id])
    wait_for(lambda: configured.has_booted_since(before), "another boot", timeout_s=900, pause_s=1)
    assert configured.ssh("cat /etc/machine-id").strip() == firmware
    assert configured.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub") == host_key


def test_a_copy_under_uefi_is_a_machine_of_its_own(
    machine_service: Service, configured: Guest, key_file: Path, web_group: str
) -> None:
    ec2 = machine_service.client()
    original = configured.ssh("cat /etc/machine-id")
    captured = ec2.create_image(InstanceId=configured.instance_id, Name="configured", NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[captured], WaiterConfig=WAITS)
    end(configured)
    image = ec2.describe_images(ImageIds=[captured])["Images"][0]
    root = image["BlockDeviceMappings"][0]
    image_id = ec2.register_image(
        Name="configured-uefi",
        Architecture="x86_64",
        BootMode="uefi",
        RootDeviceName=image["RootDeviceName"],
        VirtualizationType="hvm",
        BlockDeviceMappings=[{"DeviceName": root["DeviceName"], "Ebs": {"SnapshotId": root["Ebs"]["SnapshotId"]}}],
    )["ImageId"]
    copy = launch_guest(
        machine_service,
        key_file,
        ImageId=image_id,
        InstanceType="t3.small",
        KeyName="loop",
        SecurityGroupIds=[web_group],
    )
    assert copy.ssh("ls /sys/firmware/efi").strip()
    assert copy.ssh("cat /etc/machine-id") != original
    end(copy)
