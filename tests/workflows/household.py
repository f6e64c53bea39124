"""What the tests here ask of a service, and the truth about it afterwards."""

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from bakehouse.durable.engine import Moment
from tests.framework.host_truth import differences
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.patience import wait_for
from tests.framework.settling import wait_until_settled

# What ends after its end was said: an uplink behind its agent, a program between fork and exec.
_ENDING_S = 30


def kill_points(workflow: str, *steps: str, moments: Iterable[Moment] = (Moment.DONE,)) -> list[KillPoint]:
    """Right after each of a workflow's steps: where nothing else is said when it is done but not yet remembered.

    That is the harder case, as the step runs again; killed once it is remembered, the next one runs first.
    """
    return [KillPoint(workflow=workflow, step=step, moment=moment) for step in steps for moment in moments]


def steps_of(mortal: MortalService, workflow: str) -> list[str]:
    """The steps in the trace, in order."""
    return [point.step for point in mortal.trace() if point.workflow == workflow and point.moment == Moment.REMEMBERED]


def launch(mortal: MortalService, image_id: str, **more: Any) -> str:
    """Ask for one instance; its id."""
    reply = mortal.ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1, **more)
    return str(reply["Instances"][0]["InstanceId"])


def describe(mortal: MortalService, instance_id: str) -> dict[str, Any]:
    """The instance."""
    found: dict[str, Any] = mortal.ec2.describe_instances(InstanceIds=[instance_id])
    instance: dict[str, Any] = found["Reservations"][0]["Instances"][0]
    return instance


def terminate(mortal: MortalService, *instance_ids: str) -> None:
    """End instances without asking the guests."""
    mortal.ec2.terminate_instances(InstanceIds=list(instance_ids), SkipOsShutdown=True)
    wait_until_settled(mortal.settings)


def assert_running(mortal: MortalService, instance_id: str) -> None:
    """The record says running, QEMU answers, and the guest counts on (it is neither paused nor held)."""
    assert describe(mortal, instance_id)["State"]["Name"] == "running"
    assert mortal.ec2.get_console_screenshot(InstanceId=instance_id)["ImageData"]
    log = mortal.settings.state.instance(instance_id).serial_log
    before = log.stat().st_size if log.exists() else 0
    wait_for(lambda: log.exists() and log.stat().st_size > before, f"a sign of life of {instance_id}")


def assert_true(mortal: MortalService) -> None:
    """The host holds what the rows say, once everything that was told to end has ended."""
    wrong: list[str] = []

    def is_true() -> bool:
        try:
            wrong[:] = differences(mortal.settings, service_pid=mortal.service.process.pid)
        except subprocess.CalledProcessError as error:  # it ended while it was looked at
            wrong[:] = [str(error)]
        return not wrong

    with suppress(AssertionError):
        wait_for(is_true, "the truth", timeout_s=_ENDING_S, pause_s=0.5)
    assert not wrong, "\n".join(wrong)
