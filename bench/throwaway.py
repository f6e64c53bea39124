"""A service for measuring: its own state directory, its own port, stopped and removed at the end.

Invariant: nothing of a service the user runs is touched, and the user's settings do not leak in.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from bakehouse.cli.connection import Connection
from bakehouse.cli.demo.background import ensure_service
from bakehouse.cli.demo.login import Login
from bakehouse.cli.terminal import progress_bar
from bakehouse.host.files import make_private_directory, write_atomically
from bakehouse.main import build_base_image, import_image, stop_everything
from bakehouse.settings import Settings

_KEY_NAME = "bench"
_GROUP_NAME = "bench"
_WAITER = {"Delay": 1, "MaxAttempts": 600}
_PUBLIC_NETWORK = IPv4Network("127.67.0.0/16")
_REGIONS = ("us-east-1", "eu-central-1")
_SMALL_BYTES = 8 << 20
# cli; hlt; jump back to hlt; and what makes it a boot sector.
HALTING_BOOT_SECTOR = b"\xfa\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"


def free_port() -> int:
    """Return a TCP port nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a measurement works with."""

    settings: Settings
    connection: Connection

    @cached_property
    def ec2(self) -> Any:
        """boto3's client."""
        return self.connection.client()

    @cached_property
    def base_image_id(self) -> str:
        """The base image, built the first time it is asked for."""
        with progress_bar() as progress:
            return build_base_image(self.settings, progress)

    @cached_property
    def small_image_id(self) -> str:
        """A disk whose boot sector only halts: for machines that need not do anything."""
        disk = self.settings.state.root / "small.raw"
        disk.write_bytes(HALTING_BOOT_SECTOR)
        os.truncate(disk, _SMALL_BYTES)
        return import_image(self.settings, disk, name="small", progress=lambda *_: None)

    @cached_property
    def own_snapshot_id(self) -> str:
        """A snapshot of the account's own, of an empty volume: images can be registered from it."""
        zone = f"{self.settings.regions[0]}a"
        volume_id = self.ec2.create_volume(AvailabilityZone=zone, Size=8)["VolumeId"]
        self.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=_WAITER)
        snapshot_id = str(self.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"])
        self.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=_WAITER)
        return snapshot_id

    @cached_property
    def other_region_ec2(self) -> Any:
        """boto3's client for the second region."""
        return replace(self.connection, region=self.settings.regions[1]).client()

    @cached_property
    def group_id(self) -> str:
        """A security group that lets SSH in."""
        group_id = self.ec2.create_security_group(GroupName=_GROUP_NAME, Description="bench")["GroupId"]
        self.ec2.authorize_security_group_ingress(
            GroupId=group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
        )
        return str(group_id)

    @cached_property
    def private_key(self) -> Path:
        """The private half of the machines' key pair."""
        material = self.ec2.create_key_pair(KeyName=_KEY_NAME, KeyType="ed25519")["KeyMaterial"]
        make_private_directory(self.settings.state.client)
        write_atomically(self.settings.state.private_key(_KEY_NAME), material)
        return self.settings.state.private_key(_KEY_NAME)

    def run_instance(self, image_id: str, instance_type: str = "t3.micro") -> str:
        """RunInstances; returns at once with the id. Key pair and group are made when first used."""
        key = self.private_key
        answer = self.ec2.run_instances(
            ImageId=image_id,
            InstanceType=instance_type,
            MinCount=1,
            MaxCount=1,
            KeyName=key.stem,
            SecurityGroupIds=[self.group_id],
        )
        return str(answer["Instances"][0]["InstanceId"])

    def describe(self, instance_id: str) -> dict[str, Any]:
        """DescribeInstances of one instance."""
        reservations = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        found: dict[str, Any] = reservations[0]["Instances"][0]
        return found

    def login(self, instance_id: str) -> Login:
        """A way into a running instance."""
        address = self.describe(instance_id)["PublicIpAddress"]
        return Login(state=self.settings.state, instance_id=instance_id, address=address, key=self.private_key)

    def terminate(self, instance_id: str, *, skip_os_shutdown: bool = False) -> None:
        """TerminateInstances, and wait."""
        self.ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=skip_os_shutdown)
        self.ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig=_WAITER)


@contextmanager
def start_bench() -> Iterator[Bench]:
    """Start a service and stop everything it started."""
    # Not below the checkout: each machine's own uid has to reach its files, and /root is closed to it.
    root = Path(tempfile.mkdtemp(prefix="bakehouse-bench-", dir="/var/tmp"))
    settings = Settings(state_root=root, listen_port=free_port(), public_network=_PUBLIC_NETWORK, regions=_REGIONS)
    overrides = {
        "BAKEHOUSE_STATE_ROOT": str(root),
        "BAKEHOUSE_LISTEN_PORT": str(settings.listen_port),
        "BAKEHOUSE_PUBLIC_NETWORK": str(_PUBLIC_NETWORK),
        "BAKEHOUSE_REGIONS": ",".join(_REGIONS),
    }
    for name in [name for name in os.environ if name.startswith(("BAKEHOUSE_", "AWS_ENDPOINT"))]:
        del os.environ[name]
    os.environ.update(overrides)
    try:
        connection, _ = ensure_service(settings)
        yield Bench(settings=settings, connection=connection)
    finally:
        try:
            stop_everything(settings)
        finally:
            shutil.rmtree(root, ignore_errors=True)
