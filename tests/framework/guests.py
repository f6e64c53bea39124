"""Debian guests as a user has them: launched through the API, entered by SSH through their public address."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.framework.patience import wait_for
from tests.framework.service import Keys, Service

# Generous: emulated machines beside each other on a busy host.
_SSH_TIMEOUT_S = 240
_WAIT = {"Delay": 2, "MaxAttempts": 300}
_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, kw_only=True)
class Guest:
    """One instance, and the key that opens it."""

    service: Service
    instance_id: str
    key_file: Path
    keys: Keys | None = None

    @property
    def ec2(self) -> Any:
        """A client of the account that owns it."""
        return self.service.client(keys=self.keys)

    def describe(self) -> dict[str, Any]:
        """The Instance shape as it is now."""
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[self.instance_id])
        one: dict[str, Any] = found["Reservations"][0]["Instances"][0]
        return one

    @property
    def address(self) -> str:
        """Its public address."""
        return str(self.describe()["PublicIpAddress"])

    @property
    def serial_log(self) -> str:
        """What it wrote to its serial port."""
        try:
            return self.service.serial_log(self.instance_id).read_text(errors="replace")
        except OSError as error:
            return f"no serial log: {error}"

    def wait(self, waiter: str) -> None:
        """Wait with one of boto3's waiters; a failure shows the serial log."""
        try:
            self.ec2.get_waiter(waiter).wait(InstanceIds=[self.instance_id], WaiterConfig=_WAIT)
        except Exception as error:
            raise AssertionError(f"{self.instance_id}: {error}\n{self.serial_log[-6000:]}") from error

    def _ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        words = [
            *("ssh", "-i", str(self.key_file), "-o", "BatchMode=yes", "-o", "ConnectTimeout=60"),
            *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6"),
            *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}", "-o", "LogLevel=ERROR"),
            *(f"admin@{self.address}", command),
        ]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SSH_TIMEOUT_S)

    def try_ssh(self, command: str) -> str | None:
        """What a command in the guest printed; None when its user cannot log in just now, or is cut off."""
        try:
            done = self._ssh(command)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None

    def admits(self) -> bool:
        """Whether its user can log in by now."""
        return self.try_ssh("true") is not None

    def has_booted_since(self, boot_id: str) -> bool:
        """Whether it is up in another boot by now."""
        return self.try_ssh(_BOOT_ID) not in (None, boot_id)

    def ssh(self, command: str) -> str:
        """Run a command in the guest; what it printed."""
        done = self._ssh(command)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.serial_log[-6000:]}"
        return done.stdout

    def boot_id(self) -> str:
        """The kernel's name for this boot."""
        return self.ssh(_BOOT_ID)


def launch_guest(service: Service, key_file: Path, *, keys: Keys | None = None, **request: Any) -> Guest:
    """RunInstances, then wait until the guest is really up."""
    run = service.client(keys=keys).run_instances(MinCount=1, MaxCount=1, **request)
    guest = Guest(service=service, instance_id=run["Instances"][0]["InstanceId"], key_file=key_file, keys=keys)
    guest.wait("instance_status_ok")
    wait_for(guest.admits, "a login", timeout_s=900, pause_s=1)
    return guest


def base_image_id(ec2: Any) -> str:
    """The imported base image."""
    return str(ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"])


@contextmanager
def key_pair(ec2: Any, name: str, directory: Path) -> Iterator[Path]:
    """A key pair of the account, its private key in a file."""
    path = directory / f"{name}.pem"
    path.touch(mode=0o600)
    path.write_text(ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyMaterial"])
    yield path
    ec2.delete_key_pair(KeyName=name)
