"""Tiny images and instances of a real service: whole RunInstances and CreateImage in seconds."""

import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.framework.counting_guest import BOOT_SECTOR, DISK_BYTES
from tests.framework.patience import PATIENCE_S, wait_for
from tests.framework.service import Service

MIB = 1 << 20


def command(
    service: Service, *words: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a ``bakehouse`` command against the service's state directory."""
    return subprocess.run(
        [sys.executable, "-m", "bakehouse.cli", *words],
        env={**service.environment, **(settings or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def write_disk(path: Path, *, noise_mib: int = 0, boot_sector: bytes = BOOT_SECTOR) -> Path:
    """A disk that boots the counting guest; its first megabytes do not compress."""
    path.write_bytes(boot_sector + random.Random(5).randbytes(noise_mib * MIB))
    with path.open("r+b") as file:
        file.truncate(DISK_BYTES)
    return path


def import_image(service: Service, disk: Path, *, settings: Mapping[str, str] | None = None) -> str:
    """``bakehouse image import``; the AMI's id."""
    done = command(service, "image", "import", str(disk), settings=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def launch(ec2: Any, image_id: str, **more: Any) -> str:
    """RunInstances of one; its id at once."""
    reply = ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1, **more)
    return str(reply["Instances"][0]["InstanceId"])


def describe(ec2: Any, instance_id: str) -> dict[str, Any]:
    """The instance."""
    reply: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])
    instance: dict[str, Any] = reply["Reservations"][0]["Instances"][0]
    return instance


def wait_for_state(ec2: Any, instance_id: str, *states: str) -> dict[str, Any]:
    """Wait until the instance is in one of these states."""
    wait_for(lambda: describe(ec2, instance_id)["State"]["Name"] in states, " or ".join(states))
    return describe(ec2, instance_id)


def console(ec2: Any, instance_id: str) -> str:
    """What the guest has said so far."""
    return str(ec2.get_console_output(InstanceId=instance_id).get("Output", ""))


def wait_until_it_counts(ec2: Any, instance_id: str, *, dots: int = 2) -> None:
    """Wait until the guest has said more than it has by now."""
    before = console(ec2, instance_id).count(".")
    wait_for(lambda: console(ec2, instance_id).count(".") >= before + dots, "a dot")


def wait_for_image(ec2: Any, image_id: str) -> dict[str, Any]:
    """Wait until an image is no longer pending."""

    def image() -> dict[str, Any]:
        found: dict[str, Any] = ec2.describe_images(ImageIds=[image_id])["Images"][0]
        return found

    wait_for(lambda: image()["State"] != "pending", f"the end of {image_id}")
    return image()
