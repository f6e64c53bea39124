"""The service ended as Ctrl-C ends it, in the middle of a step."""

import os
import signal
from pathlib import Path

import pytest

from bakehouse.main import import_image
from tests.framework.calm_guest import DEAF_BOOT_SECTOR
from tests.framework.host_truth import find_processes
from tests.framework.mortal_service import MortalService
from tests.framework.settling import open_rows, unsettled, wait_until_settled, workflows
from tests.framework.tiny_host import wait_for
from tests.workflows.household import assert_true, describe, launch

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def deaf_image_id(mortal: MortalService, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of a guest that does not hear the power button."""
    disk = Path(tmp_path_factory.mktemp("deaf")) / "deaf.raw"
    disk.write_bytes(DEAF_BOOT_SECTOR)
    os.truncate(disk, 1 << 20)
    return import_image(mortal.settings, disk, name="deaf", progress=lambda *_: None)


def is_at_work(mortal: MortalService, workflow: str) -> bool:
    """Whether one of this name has been begun and has not ended."""
    with open_rows(mortal.settings) as session:
        return any(name.startswith(f"{workflow}-") and status == "PENDING" for name, status in workflows(session))


def test_a_step_that_ctrl_c_cuts_off_is_no_failure_and_is_gone_on_with_at_the_next_start(
    mortal: MortalService, deaf_image_id: str
) -> None:
    instance_id = launch(mortal, deaf_image_id)
    wait_until_settled(mortal.settings)
    mortal.ec2.stop_instances(InstanceIds=[instance_id])
    wait_for(lambda: is_at_work(mortal, "stop_instance"), "the first step, which waits for the guest")
    mortal.service.process.send_signal(signal.SIGINT)
    mortal.service.process.wait(timeout=60)
    (machine,) = [one for one in find_processes(mortal.settings, service_pid=0) if one.kind == "machine"]
    assert machine.subject == instance_id, "the guest was not done shutting down: it is left alone"
    mortal.start()
    assert describe(mortal, instance_id)["State"]["Name"] == "stopping"
    assert unsettled(mortal.settings)
    # What the guest would have done at last.
    os.kill(machine.pid, signal.SIGTERM)
    wait_until_settled(mortal.settings)
    assert describe(mortal, instance_id)["State"]["Name"] == "stopped"
    mortal.ec2.terminate_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)
    assert_true(mortal)
