"""Machines that tests share, those of tests/machine and of tests/clients: one service with the real base image,
one guest that is up. A plugin (pyproject.toml), so that both directories get the same ones.

The base image is built once per recipe and kept in build/, from where each run's service takes it.
"""

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.guest.base_image.build import build_base_image, inputs_digest
from tests.framework.grounds import claimed_ground
from tests.framework.guests import Guest, base_image_id, key_pair, launch_guest
from tests.framework.service import Service, environment, free_port, run_cli, running_service

_BUILD = Path(__file__).parents[2] / "build"


@pytest.fixture(scope="session")
def base_disk() -> Path:
    """The base image as a raw disk."""
    _BUILD.mkdir(exist_ok=True)
    disk = _BUILD / f"base-{inputs_digest()[:16]}.raw"
    with (_BUILD / "base.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not disk.exists():
            build_base_image(disk, scratch=_BUILD, progress=lambda _stage, _part: None)
    return disk


@pytest.fixture(scope="session")
def machine_service(base_disk: Path) -> Iterator[Service]:
    """A service that has the base image; everything it started is ended with it."""
    with claimed_ground() as ground, tempfile.TemporaryDirectory(prefix="bh-") as directory:
        Path(directory).chmod(0o711)  # machines pass through to their own files
        state_root, port = Path(directory) / "s", free_port()
        variables = {**environment(state_root, port), **ground.variables}
        run_cli(variables, "image", "import", str(base_disk), "--name", "base")
        with running_service(state_root, port=port, variables=ground.variables) as service:
            yield service


@pytest.fixture(scope="session")
def key_file(machine_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The private key of the pair ``loop``."""
    with key_pair(machine_service.client(), "loop", tmp_path_factory.mktemp("keys")) as path:
        yield path


@pytest.fixture(scope="session")
def web_group(machine_service: Service) -> str:
    """A security group that allows SSH and HTTP."""
    ec2 = machine_service.client()
    group_id = str(ec2.create_security_group(GroupName="web", Description="SSH and HTTP")["GroupId"])
    anyone = [{"CidrIp": "0.0.0.0/0"}]
    permissions = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": anyone} for port in (22, 80)]
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=permissions)
    return group_id


@pytest.fixture(scope="session")
def webserver(machine_service: Service, key_file: Path, web_group: str) -> Guest:
    """A t3.micro of the base image; tests leave it running."""
    return launch_guest(
        machine_service,
        key_file,
        ImageId=base_image_id(machine_service.client()),
        InstanceType="t3.micro",
        KeyName="loop",
        SecurityGroupIds=[web_group],
    )
