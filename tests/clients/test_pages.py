"""The pages of docs/clients whose code needs no real guest, run word for word."""

import re
import sys
from pathlib import Path

import pytest

from tests.framework.pages import CLIENTS, ROOT, read_page, require, run, run_shell, variables_for, write_files
from tests.framework.service import Service

pytestmark = pytest.mark.programs


@pytest.fixture
def shell(service: Service, image_id: str, tmp_path: Path) -> dict[str, str]:
    """The variables of a user's shell; there is one base image."""
    return variables_for(service, tmp_path)


def test_the_aws_cli(shell: dict[str, str], service: Service, tmp_path: Path) -> None:
    printed = run_shell(read_page("aws-cli"), at=tmp_path, variables=shell)
    assert printed.splitlines()[-1] == service.administrator.account_id


def test_boto3(shell: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(read_page("boto3").blocks["python"])
    run([sys.executable, "page.py"], at=tmp_path, variables=shell)


def test_the_aws_sdk_for_javascript(shell: dict[str, str], tmp_path: Path) -> None:
    require("node")
    page = read_page("javascript")
    write_files(page, tmp_path)
    (tmp_path / "node_modules").symlink_to(CLIENTS / "javascript/node_modules")
    printed = run_shell(page, at=tmp_path, variables=shell).splitlines()
    assert [line.partition(" ")[0] for line in printed] == ["running", "available"]


def test_ansible_twice_and_the_second_time_nothing_changes(shell: dict[str, str], tmp_path: Path) -> None:
    require("ansible-playbook")
    page = read_page("ansible")
    write_files(page, tmp_path)
    first, second = (run_shell(page, at=tmp_path, variables=shell) for _ in range(2))
    tasks = page.files["bake.yml"].count("- name:")
    assert recap(first) == {"ok": tasks, "changed": tasks - 2, "unreachable": 0, "failed": 0, "skipped": 0}
    assert recap(second) == {"ok": tasks - 1, "changed": 0, "unreachable": 0, "failed": 0, "skipped": 1}


def test_packer_copies_to_another_region_and_shares(shell: dict[str, str], service: Service, tmp_path: Path) -> None:
    require("packer")
    write_files(read_page("packer"), tmp_path)
    run(["packer", "build", "copied.pkr.hcl"], at=tmp_path, variables={**shell, "CHECKPOINT_DISABLE": "1"})
    for region in ("us-east-1", "eu-west-1"):
        ec2 = service.client(region=region)
        [image] = ec2.describe_images(Filters=[{"Name": "name", "Values": ["copied-by-packer"]}])["Images"]
        assert (image["State"], image["Description"]) == ("available", "baked once")
        assert {"Key": "made-by", "Value": "packer"} in image["Tags"]
        shared = ec2.describe_image_attribute(ImageId=image["ImageId"], Attribute="launchPermission")
        assert shared["LaunchPermissions"] == [{"UserId": "123456789012"}]
    iam = service.client("iam")
    left = [one["RoleName"] for one in iam.list_roles()["Roles"]]
    left += [one["InstanceProfileName"] for one in iam.list_instance_profiles()["InstanceProfiles"]]
    assert not [name for name in left if name.startswith("packer")]


def recap(printed: str) -> dict[str, int]:
    """Ansible's closing line, read."""
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", printed.splitlines()[-2])}
    return {name: counts[name] for name in ("ok", "changed", "unreachable", "failed", "skipped")}


def test_the_variables_of_the_first_page(shell: dict[str, str], tmp_path: Path) -> None:
    script = read_page("README").blocks["sh"] + "aws sts get-caller-identity"
    bare = {name: value for name, value in shell.items() if not name.startswith("AWS_")}
    run(["sh", "-euc", script], at=tmp_path, variables=bare)


def test_every_page_is_run_or_says_that_it_is_not() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    run_here = set(re.findall(r'read_page\("([\w-]+)"\)', tests))
    for page in (ROOT / "docs/clients").glob("*.md"):
        assert page.stem in run_here or "**not run here**" in page.read_text(), page.name
