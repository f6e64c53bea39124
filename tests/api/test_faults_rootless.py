"""The whole service as an ordinary user without any right: launch, both kinds of capture, and nothing left."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.framework.grounds import Ground, claimed_ground
from tests.framework.kept_logs import logs_kept

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs every other test rootless already"),
]
ROOT = Path(__file__).parents[2]

# A node of our own over /dev/net/tun, which most hosts leave open to all, and some do not.
INSIDE = """
mknod "$1/tun" c 10 200 && chmod 0666 "$1/tun" && mount --bind "$1/tun" /dev/net/tun &&
exec setpriv --reuid "$2" --regid "$2" --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \
    "$0" -c "$CODE" "$1/home"
"""

CODE = """
import sys
from pathlib import Path
from tests.framework import tiny_cloud as tiny
from tests.framework.service import running_service

home = Path(sys.argv[1])
with running_service(home / "s") as service:
    ec2 = service.client()
    image_id = tiny.import_image(service, tiny.write_disk(home / "tiny.raw", noise_mib=1))
    first = tiny.launch(ec2, image_id)
    tiny.wait_until_it_counts(ec2, first)
    live = ec2.create_image(InstanceId=first, Name="live", NoReboot=True)["ImageId"]
    print("live", tiny.wait_for_image(ec2, live)["State"])
    copy = tiny.launch(ec2, live)
    tiny.wait_until_it_counts(ec2, copy)
    ec2.stop_instances(InstanceIds=[copy], SkipOsShutdown=True)
    tiny.wait_for_state(ec2, copy, "stopped")
    offline = ec2.create_image(InstanceId=copy, Name="offline")["ImageId"]
    print("offline", tiny.wait_for_image(ec2, offline)["State"])
    doctor = tiny.command(service, "doctor")
    print("doctor", "an ordinary user" in doctor.stdout, "nft works" in doctor.stdout)
    ec2.terminate_instances(InstanceIds=[first, copy], SkipOsShutdown=True)
    for instance_id in (first, copy):
        tiny.wait_for_state(ec2, instance_id, "terminated")
    print("down", tiny.command(service, "down").returncode)
    print("left", [path.name for folder in ("instances", "volumes") for path in (home / "s" / folder).iterdir()])
"""


@pytest.fixture
def ground() -> Iterator[Ground]:
    with claimed_ground() as claimed:
        yield claimed


@pytest.fixture
def directory(ground: Ground) -> Iterator[Path]:
    uid = ground.uids[-1]
    made = Path(tempfile.mkdtemp(prefix="bh-"))
    made.chmod(0o755)
    (made / "home").mkdir()
    os.chown(made / "home", uid, uid)
    with logs_kept(made / "home" / "s"):
        yield made
    end_all(uid)
    shutil.rmtree(made)


def end_all(uid: int) -> None:
    """End whatever a test that failed has left of the user's."""
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and process.stat().st_uid == uid:
                os.kill(int(process.name), signal.SIGKILL)


def test_a_service_without_any_right_launches_captures_and_leaves_nothing(directory: Path, ground: Ground) -> None:
    if not all(path.stat().st_mode & 0o005 == 0o005 for path in (ROOT, *ROOT.parents, *Path(sys.prefix).parents)):
        pytest.skip("the checkout is closed to other users")
    done = run_inside(directory, ground)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["live available", "offline available", "doctor True True", "down 0", "left []"]


def run_inside(directory: Path, ground: Ground) -> subprocess.CompletedProcess[str]:
    """The code above as that user."""
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", INSIDE, sys.executable, directory, str(ground.uids[-1])],
        env={
            # As an ordinary user has it on Debian.
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(directory / "home"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CODE": CODE,
            **ground.variables,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
