"""Stop, start, reboot, terminate and a guest's own shutdown, with the service killed after every step."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.framework.host_truth import find_processes, run_inside
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.framework.tiny_host import wait_for
from tests.workflows.household import assert_running, assert_true, describe, kill_points, launch, steps_of, terminate

pytestmark = pytest.mark.programs

STOP = ("end_machine", "leave_network", "mark_stopped")
START = ("hydrate_bases", "prepare_volumes", "start_machine", "mark_running")
REBOOT = ("bring_down", "boot")
TERMINATE = ("end_machine", "leave_network", "delete_files", "mark_terminated")


@pytest.fixture(scope="module")
def instance_id(mortal: MortalService, image_id: str) -> Iterator[str]:
    """An instance that is stopped and started again and again; each test finds it running."""
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    yield instance_id
    terminate(mortal, instance_id)


def stop(mortal: MortalService, instance_id: str) -> None:
    """Stop it, undisturbed."""
    mortal.ec2.stop_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)


def start(mortal: MortalService, instance_id: str) -> None:
    """Start it, undisturbed."""
    mortal.ec2.start_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)


def test_these_workflows_take_the_steps_that_are_killed_here(
    mortal: MortalService, instance_id: str, image_id: str
) -> None:
    mortal.forget_trace()
    stop(mortal, instance_id)
    assert describe(mortal, instance_id)["State"]["Name"] == "stopped"
    assert_true(mortal)
    start(mortal, instance_id)
    mortal.ec2.reboot_instances(InstanceIds=[instance_id])
    wait_until_settled(mortal.settings)
    assert_running(mortal, instance_id)
    terminate(mortal, launch(mortal, image_id))
    assert steps_of(mortal, "stop_instance") == list(STOP)
    assert steps_of(mortal, "start_instance") == list(START)
    assert steps_of(mortal, "reboot_instance") == list(REBOOT)
    assert steps_of(mortal, "terminate_instance") == list(TERMINATE)
    assert steps_of(mortal, "apply_firewall")[-1:] == ["render_firewall"]
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("stop_instance", *STOP), ids=str)
def test_a_stop_killed_there_ends_stopped(mortal: MortalService, instance_id: str, point: KillPoint) -> None:
    with mortal.killed_at(point):
        mortal.ec2.stop_instances(InstanceIds=[instance_id])
    found = describe(mortal, instance_id)
    assert found["State"]["Name"] == "stopped"
    assert "PublicIpAddress" not in found
    assert found["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    log = mortal.settings.state.instance(instance_id).serial_log.read_bytes()
    assert log.rstrip(b".").endswith(b"S") or log.endswith(b"S"), "the guest was asked"
    assert_true(mortal)
    start(mortal, instance_id)
    assert_running(mortal, instance_id)


@pytest.mark.parametrize("point", kill_points("start_instance", *START), ids=str)
def test_a_start_killed_there_ends_with_one_running_machine(
    mortal: MortalService, instance_id: str, point: KillPoint
) -> None:
    stop(mortal, instance_id)
    with mortal.killed_at(point):
        mortal.ec2.start_instances(InstanceIds=[instance_id])
    assert_running(mortal, instance_id)
    assert describe(mortal, instance_id)["PublicIpAddress"]
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("reboot_instance", *REBOOT), ids=str)
def test_a_reboot_killed_there_ends_running(mortal: MortalService, instance_id: str, point: KillPoint) -> None:
    log = mortal.settings.state.instance(instance_id).serial_log
    shutdowns = log.read_bytes().count(b"S")
    with mortal.killed_at(point):
        mortal.ec2.reboot_instances(InstanceIds=[instance_id])
    assert_running(mortal, instance_id)
    assert log.read_bytes().count(b"S") == shutdowns + 1, "the guest was asked, once"
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("terminate_instance", *TERMINATE), ids=str)
def test_a_termination_killed_there_leaves_nothing(mortal: MortalService, image_id: str, point: KillPoint) -> None:
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    with mortal.killed_at(point):
        mortal.ec2.terminate_instances(InstanceIds=[instance_id])
    assert describe(mortal, instance_id)["State"]["Name"] == "terminated"
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("machine_exited", "follow_exit"), ids=str)
def test_a_machine_that_died_is_noted_though_the_service_is_killed_there(
    mortal: MortalService, instance_id: str, point: KillPoint
) -> None:
    with mortal.killed_at(point):
        machine = _machine(mortal, instance_id)
        os.kill(machine, signal.SIGKILL)
    found = describe(mortal, instance_id)
    assert found["State"]["Name"] == "stopped"
    assert found["StateReason"]["Code"] == "Server.InternalError"
    assert_true(mortal)
    start(mortal, instance_id)


def test_a_machine_that_died_while_no_service_ran_is_noted(mortal: MortalService, instance_id: str) -> None:
    machine = _machine(mortal, instance_id)
    mortal.service.kill()
    os.kill(machine, signal.SIGKILL)
    mortal.start()
    wait_for(lambda: describe(mortal, instance_id)["State"]["Name"] != "running", "the note")
    wait_until_settled(mortal.settings)
    assert describe(mortal, instance_id)["State"]["Name"] == "stopped"
    assert_true(mortal)
    start(mortal, instance_id)


@pytest.mark.parametrize("point", kill_points("apply_firewall", "render_firewall"), ids=str)
def test_a_rule_takes_effect_though_the_service_is_killed_there(
    mortal: MortalService, instance_id: str, point: KillPoint
) -> None:
    group_id, port = describe(mortal, instance_id)["SecurityGroups"][0]["GroupId"], 4711
    with mortal.killed_at(point):
        mortal.ec2.authorize_security_group_ingress(
            GroupId=group_id, IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp="0.0.0.0/0"
        )
    (agent,) = [one for one in find_processes(mortal.settings, service_pid=0) if one.kind == "agent"]
    assert f"dport {port}" in run_inside(agent.pid, "nft", "list", "ruleset")
    assert_true(mortal)


def _machine(mortal: MortalService, instance_id: str) -> int:
    found = find_processes(mortal.settings, service_pid=mortal.service.process.pid)
    (pid,) = [one.pid for one in found if one.kind == "machine" and one.subject == instance_id]
    return pid
