"""The commands, as programs, against a running service: what they print, how they end when something is wrong."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import unique
from tests.framework.service import Service, free_port
from tests.framework.tiny_cloud import command, write_disk

pytestmark = pytest.mark.programs


def complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line a failed command ends with."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("    ")]  # those are progress
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("bakehouse: ")
    return lines[0].removeprefix("bakehouse: ")


def test_env_points_a_client_of_the_shells_at_the_service(service: Service) -> None:
    caller = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    script = 'eval "$("$0" -m bakehouse.cli env)" && exec "$0" -c "$1"'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, caller],
        env=service.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == service.administrator.account_id


def test_a_second_service_on_the_same_state_is_refused_and_names_the_first(service: Service) -> None:
    done = command(service, "serve", "--port", str(free_port()))
    assert complaint(done) == f"a service runs on {service.state_root} already: {service.url}"


def test_a_taken_port_is_named(service: Service, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = command(service, "--state", str(tmp_path / "s"), "serve", "--port", str(port))
    assert complaint(done) == f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert not (tmp_path / "s" / "bakehouse.db").exists()


def test_a_damaged_database_is_named_at_the_start(service: Service, tmp_path: Path) -> None:
    (tmp_path / "bakehouse.db").write_bytes(os.urandom(8192))
    done = command(service, "--state", str(tmp_path), "serve", "--port", str(free_port()))
    assert complaint(done) == f"{tmp_path}/bakehouse.db: file is not a database"


def test_a_state_directory_that_cannot_be_is_named(service: Service) -> None:
    assert (
        complaint(command(service, "--state", "/proc/nowhere", "check")) == "/proc/nowhere: No such file or directory"
    )


def test_an_image_is_imported_listed_checked_and_collected(service: Service, ec2: Any, tmp_path: Path) -> None:
    disk = write_disk(tmp_path / f"{unique('disk')}.raw", noise_mib=1)
    done = command(service, "image", "import", str(disk))
    assert "    storing blocks: 100%" in done.stderr.splitlines()
    image_id = done.stdout.strip()
    image = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert (image["Name"], image["ImageOwnerAlias"], image["Public"]) == (disk.stem, "amazon", True)
    (line,) = [line for line in command(service, "image", "list").stdout.splitlines() if image_id in line]
    assert line.split()[:4] == [image_id, disk.stem, "amazon", "available"]
    assert command(service, "check").returncode == 0
    assert command(service, "gc").stdout.startswith("Deleted ")
    assert command(service, "check").returncode == 0, "the collector took what an image needs"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("image", "import", "/etc/hostname"), "no bootable disk"),
        (("image", "import", "/nowhere"), "/nowhere: no such file"),
        (("image", "import", "/etc/hostname", "--name", "x"), "'x' is no AMI name"),
        (("logs", "nobody"), "there is no instance nobody"),
        (("ssh", "i-0123456789abcdef0"), "there is no instance i-0123456789abcdef0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(service: Service, words: tuple[str, ...], reason: str) -> None:
    assert reason in complaint(command(service, *words))


def test_doctor_names_everything_once_and_a_remedy_for_what_is_amiss(service: Service) -> None:
    done = command(service, "doctor")
    lines = done.stdout.splitlines()
    assert any("service" in line and service.url in line for line in lines)
    checks = [line.split(maxsplit=1) for line in lines if line.split()[0] in ("ok", "warning", "error")]
    for name in ("acceleration", "namespaces", "firewall", "packages", "memory", "disk", "runs as"):
        assert sum(rest.startswith(name) for _, rest in checks) == 1, name
    amiss = sum(status != "ok" for status, _ in checks)
    assert sum("→" in line for line in lines) == amiss
    assert done.returncode == (1 if any(status == "error" for status, _ in checks) else 0)
