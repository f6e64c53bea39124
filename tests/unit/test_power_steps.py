"""What the steps of start, stop, reboot and `bakehouse down` do when the parts under them fail."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakehouse.domain.instances import State
from bakehouse.workflows import end_instance, launch_instance, reboot_instance
from tests.framework.paper_host import PaperHost, paper_host


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[PaperHost]:
    with paper_host(tmp_path) as host:
        yield host


def disk_of(host: PaperHost, instance_id: str) -> Path:
    """Make a disk for the root volume."""
    files = host.settings.state.volume(host.instance(instance_id).volumes[0].volume_id)
    files.root.mkdir(parents=True)
    files.disk.write_bytes(b"work")
    return files.disk


def set_state(host: PaperHost, instance_id: str, state: State) -> None:
    host.change(instance_id, lambda row: setattr(row, "state", state))


def test_a_machine_that_does_not_answer_at_once_runs_all_the_same(host: PaperHost) -> None:
    instance_id = host.launch(State.PENDING)
    host.paper.do_not_answer = True
    launch_instance.mark_running(host, instance_id)
    assert host.instance(instance_id).state == State.RUNNING
    assert host.paper.all_running() == [instance_id]


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING])
def test_a_start_that_fails_at_whatever_step_keeps_the_volumes_and_gives_the_address_back(
    host: PaperHost, state: State
) -> None:
    instance_id = host.launch()
    disk = disk_of(host, instance_id)
    set_state(host, instance_id, state)
    host.paper.do_not_answer = True
    for _ in range(2):  # killed before the step is remembered, it runs again
        end_instance.end_launch(host, instance_id, "no luck")
        row = host.instance(instance_id)
        assert (row.state, row.state_reason_message) == (State.STOPPED, "Server.InternalError: no luck")
        assert row.interface is not None
        assert row.interface.public_ip is None
        assert disk.read_bytes() == b"work"
    assert host.paper.all_running() == []


def test_a_start_that_fails_while_a_termination_is_in_line_leaves_the_rest_to_that(host: PaperHost) -> None:
    instance_id = host.launch()
    disk = disk_of(host, instance_id)
    set_state(host, instance_id, State.SHUTTING_DOWN)
    host.paper.do_not_answer = True
    end_instance.end_launch(host, instance_id, "no luck")
    assert host.instance(instance_id).state == State.SHUTTING_DOWN
    assert disk.exists()


def test_a_first_launch_that_fails_leaves_nothing(host: PaperHost) -> None:
    instance_id = host.launch(State.PENDING)
    disk = disk_of(host, instance_id)
    host.paper.do_not_answer = True
    end_instance.end_launch(host, instance_id, "no luck")
    assert host.instance(instance_id).state == State.TERMINATED
    assert not disk.exists()


def test_who_forces_is_less_patient_and_only_who_skips_the_shutdown_asks_no_guest(host: PaperHost) -> None:
    def patience_s(workflow: Callable[..., None], state: State, *arguments: bool) -> float:
        instance_id = host.launch(state)
        workflow(host, instance_id, *arguments)
        machine = host.paper.running.pop(instance_id)
        assert machine.state == "ended"
        return sum(machine.patience_s)

    stop, terminate = end_instance.stop_instance, end_instance.terminate_instance
    assert 0 < patience_s(stop, State.STOPPING, True) < patience_s(stop, State.STOPPING, False)
    assert patience_s(stop, State.STOPPING, False, True) == patience_s(stop, State.STOPPING, True, True) == 0
    ending = State.SHUTTING_DOWN
    assert 0 < patience_s(terminate, ending, False, True) < patience_s(terminate, ending, False)
    assert patience_s(terminate, ending, True) == patience_s(terminate, ending, True, True) == 0


def test_a_reboot_lets_the_guest_go_down_first_and_boots_it_once(host: PaperHost) -> None:
    machine = host.paper.running[host.launch()]
    (instance_id,) = host.paper.running
    asked: list[str] = []
    machine.when_asked = lambda: asked.append(machine.state)
    reboot_instance.bring_down(host, instance_id)
    assert (asked, machine.state, machine.boots) == (["running"], "shutdown", 1)
    for _ in range(2):  # killed before the step is remembered, it runs again
        reboot_instance.boot(host, instance_id)
        assert (machine.state, machine.boots) == ("running", 2)


def test_a_guest_that_does_not_go_down_is_reset_after_a_while_and_once(
    host: PaperHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reboot_instance, "_SHUTDOWN_TIMEOUT_S", 0.0)
    instance_id = host.launch()
    machine = host.paper.running[instance_id]
    asked: list[str] = []
    machine.is_deaf, machine.when_asked = True, lambda: asked.append(machine.state)
    for _ in range(2):
        reboot_instance.bring_down(host, instance_id)
        assert (asked, machine.state) == (["running"], "paused")
    for _ in range(2):
        reboot_instance.boot(host, instance_id)
        assert (machine.state, machine.boots) == ("running", 2)


def test_nobody_waits_for_the_reboot_of_an_instance_that_is_to_end(host: PaperHost) -> None:
    instance_id = host.launch()
    machine = host.paper.running[instance_id]
    machine.is_deaf, machine.when_asked = True, lambda: set_state(host, instance_id, State.SHUTTING_DOWN)
    reboot_instance.reboot_instance(host, instance_id)
    assert (machine.state, machine.boots) == ("running", 1)


def test_down_goes_on_though_a_guest_ends_by_itself_and_a_network_does_not(
    host: PaperHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = host.launch(), host.launch()
    host.paper.do_not_answer = True
    stop_one = end_instance._stop_one

    def ends_meanwhile(host: PaperHost, instance_id: str) -> None:
        set_state(host, first, State.STOPPED)
        stop_one(host, instance_id)

    monkeypatch.setattr(end_instance, "_stop_one", ends_meanwhile)
    host.paper_networks.fails = True
    end_instance.stop_all(host)
    assert host.instance(second).state == State.STOPPED
    assert host.paper.ended == [second]
    assert host.instance(first).state == State.STOPPED
