"""Debian's Packer, unmodified, builds an image over SSH: the page's template, word for word, on a real guest."""

import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.framework.guests import launch_guest
from tests.framework.pages import read_page, require, run_shell, variables_for, write_files
from tests.framework.service import Service

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]
_TIMEOUT_S = 1200


@dataclass(frozen=True, kw_only=True)
class Build:
    """What one build left behind, and what the service was asked meanwhile."""

    printed: str
    image: dict[str, Any]


@pytest.fixture(scope="module")
def build(machine_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``packer build`` of the page's template."""
    require("packer")
    home, page = tmp_path_factory.mktemp("packer"), read_page("packer")
    write_files(page, home)
    quiet = {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
    variables = {**variables_for(machine_service, home), **quiet}
    printed = run_shell(page, at=home, variables=variables, timeout_s=_TIMEOUT_S)
    [image] = machine_service.client().describe_images(Owners=["self"], Filters=[_named("webserver-by-packer")])[
        "Images"
    ]
    return Build(printed=printed, image=image)


def _named(name: str) -> dict[str, Any]:
    return {"Name": "name", "Values": [name]}


def test_a_build_ends_in_an_image_that_carries_its_tags(machine_service: Service, build: Build) -> None:
    assert build.image["ImageId"] in build.printed
    assert build.image["State"] == "available"
    wanted = {"Key": "made-by", "Value": "packer"}
    assert wanted in build.image["Tags"]
    snapshot_id = build.image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    [snapshot] = machine_service.client().describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert wanted in snapshot["Tags"]


def test_nothing_of_the_build_is_left_but_its_image(machine_service: Service, build: Build) -> None:
    ec2 = machine_service.client()
    builders = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["Packer Builder"]}])["Reservations"]
    assert {one["State"]["Name"] for each in builders for one in each["Instances"]} == {"terminated"}
    assert not [one for one in ec2.describe_key_pairs()["KeyPairs"] if one["KeyName"].startswith("packer")]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    assert not [one for one in groups if one["GroupName"].startswith("packer")]
    assert not ec2.describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])["Volumes"]


def test_a_machine_of_the_image_serves_what_was_baked(
    machine_service: Service, build: Build, key_file: Path, web_group: str
) -> None:
    guest = launch_guest(
        machine_service,
        key_file,
        ImageId=build.image["ImageId"],
        InstanceType="t3.small",
        KeyName=key_file.stem,
        SecurityGroupIds=[web_group],
    )
    guest.ssh("cloud-init status --wait >/dev/null; systemctl is-active --wait nginx >/dev/null")
    with urllib.request.urlopen(f"http://{guest.address}/", timeout=60) as reply:
        assert reply.read() == b"baked by packer\n"
    machine_service.client().terminate_instances(InstanceIds=[guest.instance_id], SkipOsShutdown=True)
