"""A machine's life: launched once, found again, stopped, held, ended; and what it may do meanwhile."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.host.spawn import SpawnError, spawn_on_host
from bakehouse.hypervisor import launch, qmp
from bakehouse.hypervisor.machine import Machine
from bakehouse.hypervisor.spec import BootMode, ExitReason, MachineError
from tests.framework.patience import PATIENCE_S
from tests.framework.tiny_host import INSTANCE, UID, VOLUMES, TinyHost, start_tiny_host, wait_for

pytestmark = pytest.mark.programs
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process another uid")


@pytest.fixture(name="host")
def _host() -> Iterator[TinyHost]:
    with start_tiny_host() as host:
        yield host


@pytest.fixture(name="exits")
def _exits() -> list[tuple[str, ExitReason]]:
    return []


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _watch(host: TinyHost, exits: list[tuple[str, ExitReason]]) -> None:
    host.machines.watch(INSTANCE, lambda instance_id, reason: exits.append((instance_id, reason)))


@needs_root
def test_qemu_runs_under_its_own_uid_with_no_capability_and_seccomp(host: TinyHost) -> None:
    status = _status(host.launch_counting().pid)
    assert status["Uid"] == status["Gid"] == f"{UID}\t{UID}\t{UID}\t{UID}"
    assert status["Groups"].split() == []
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


@needs_root
def test_nobody_else_can_read_a_machines_files(host: TinyHost) -> None:
    host.launch_counting()
    files = host.state.instance(INSTANCE)
    assert (files.root.stat().st_uid, files.root.stat().st_mode & 0o777) == (UID, 0o700)
    assert files.spec.stat().st_uid == 0
    assert {path.stat().st_mode & 0o077 for path in files.root.iterdir()} <= {0, 0o044}  # qemu.pid: 0644


@needs_root
def test_a_base_reaches_its_machine_as_a_descriptor_only(host: TinyHost) -> None:
    machine = host.launch_counting()
    assert host.base.stat().st_uid == 0
    assert host.base.stat().st_mode & 0o777 == 0o400
    opened = [str(link.readlink()) for link in Path(f"/proc/{machine.pid}/fd").iterdir()]
    assert opened.count(str(host.base)) >= 1
    assert not [name for name in opened if name.startswith(str(host.state.database))]


@needs_root
def test_root_never_starts_a_machine_under_its_own_uid(tmp_path: Path) -> None:
    with pytest.raises(SpawnError, match="uid of its own"):
        spawn_on_host(["true"], fds=[], uid=None, log=tmp_path / "log")


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpawnError, match="no-such-program: not found"):
        spawn_on_host(["no-such-program"], fds=[], uid=UID, log=tmp_path / "log")


def test_launching_twice_starts_one_process(host: TinyHost) -> None:
    spec = host.spec(host.disk(0))
    first = host.launch(spec)
    assert host.launch(spec).pid == first.pid
    host.restart_service()
    assert host.launch(spec).pid == first.pid
    assert host.machines.pids() == {INSTANCE: first.pid}


def test_a_launch_that_died_after_the_spawn_is_taken_up(host: TinyHost, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        """Stands for kill -9."""

    def die(*_: object) -> None:
        raise KilledError

    spec = host.spec(host.disk(0))
    monkeypatch.setattr(launch, "wait_until_ready", die)
    with pytest.raises(KilledError):
        host.launch(spec)
    monkeypatch.undo()
    host.restart_service()
    # Even without its pid file, which QEMU may not have written yet.
    host.state.instance(INSTANCE).pid_file.unlink(missing_ok=True)
    (pid,) = host.machines.pids().values()
    assert host.launch(spec).pid == pid


def test_a_machine_that_cannot_start_says_why(host: TinyHost) -> None:
    spec = host.spec(host.disk(0))
    spec.disks[0].overlay.unlink()
    with pytest.raises(MachineError, match="No such file"):
        host.launch(spec)
    assert host.machines.all_running() == []
    assert host.machines.find(INSTANCE) is None


def test_a_restarted_service_finds_the_machine_and_its_spec(host: TinyHost) -> None:
    machine = host.launch_counting()
    host.restart_service()
    found = host.machines.find(INSTANCE)
    assert found is not None
    assert (found.pid, found.spec, found.status()) == (machine.pid, machine.spec, "running")
    assert host.machines.all_running() == [INSTANCE]


def test_a_hung_machine_is_an_error_in_time_and_can_be_killed(host: TinyHost, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = host.launch_counting()
    monkeypatch.setattr(qmp, "COMMAND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(qmp, "_CONNECT_TIMEOUT_S", 0.5)
    os.kill(machine.pid, signal.SIGSTOP)
    with pytest.raises(MachineError, match="did not answer query-status"):
        machine.status()
    with pytest.raises(MachineError, match="does not answer"):
        machine.status()
    host.machines.kill(INSTANCE)
    assert host.machines.find(INSTANCE) is None


def test_a_guest_that_shuts_down_ends_its_machine(host: TinyHost, exits: list[tuple[str, ExitReason]]) -> None:
    machine = host.launch_counting()
    _watch(host, exits)
    assert machine.power_down(timeout_s=PATIENCE_S)
    wait_for(lambda: bool(exits), "the report of the end")
    assert exits == [(INSTANCE, ExitReason.GUEST_SHUTDOWN)]
    assert host.machines.find(INSTANCE) is None
    assert host.console().endswith(b"S")


def test_quitting_and_crashing_are_told_apart(host: TinyHost, exits: list[tuple[str, ExitReason]]) -> None:
    spec = host.spec(host.disk(0))
    machine = host.launch(spec)
    _watch(host, exits)
    machine.quit()
    machine.quit()
    wait_for(lambda: len(exits) == 1, "the report of the end")
    machine = host.launch(spec)
    _watch(host, exits)
    os.kill(machine.pid, signal.SIGKILL)
    wait_for(lambda: len(exits) == 2, "the report of the end")
    assert [reason for _, reason in exits] == [ExitReason.QUIT, ExitReason.CRASH]


def test_an_end_nobody_saw_is_reported_after_a_restart(host: TinyHost, exits: list[tuple[str, ExitReason]]) -> None:
    machine = host.launch_counting()
    pid = machine.pid
    host.machines.close()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not host.machines.pids(), "the end of the process")
    host.restart_service()
    _watch(host, exits)
    wait_for(lambda: bool(exits), "the report of the end")
    assert exits == [(INSTANCE, ExitReason.CRASH)]


def test_a_guest_that_ignores_the_button_stays_up(host: TinyHost) -> None:
    machine = host.launch(host.spec(host.disk(1)))  # an empty disk: only the firmware runs
    assert not machine.power_down(timeout_s=1)
    assert not machine.shut_down_and_hold(timeout_s=1)
    assert machine.status() == "running"


def test_a_held_machine_keeps_its_process_and_boots_again(host: TinyHost) -> None:
    machine = host.launch_counting()
    assert machine.shut_down_and_hold(timeout_s=PATIENCE_S)
    assert machine.status() == "shutdown"
    assert machine.shut_down_and_hold(timeout_s=1)
    said = len(host.console())
    machine.boot_again()
    machine.boot_again()
    assert machine.status() == "running"
    wait_for(lambda: len(host.console()) > said, "the guest's second boot")
    assert machine.power_down(timeout_s=PATIENCE_S)


def test_a_paused_machine_stands_still_and_a_reset_one_boots(host: TinyHost) -> None:
    machine = host.launch_counting()
    machine.pause()
    assert machine.status() == "paused"
    machine.resume()
    assert machine.status() == "running"
    machine.pause()
    dots = host.console().count(b".")
    machine.boot_again()
    assert machine.status() == "running"
    wait_for(lambda: host.console().count(b".") > dots, "the guest after the reset")


def test_a_machine_that_was_reset_by_a_service_that_died_just_then_is_booted_by_the_next(host: TinyHost) -> None:
    machine = host.launch_counting()
    machine.pause()
    host.loop.call(machine._live.session.execute("system_reset"))
    wait_for(lambda: machine.status() == "prelaunch", "the reset")
    dots = host.console().count(b".")
    machine.boot_again()
    wait_for(lambda: host.console().count(b".") > dots, "the guest after the reset")


def test_a_guest_that_goes_down_late_is_held_all_the_same(host: TinyHost) -> None:
    machine = host.launch_counting()
    assert not machine.shut_down_for_boot(timeout_s=0)
    host.loop.call(machine._live.session.execute("system_powerdown"))
    wait_for(lambda: machine.status() == "shutdown", "the guest's shutdown")
    machine.boot_again()
    assert machine.power_down(timeout_s=30)


def test_the_screenshot_is_a_picture(host: TinyHost) -> None:
    machine = host.launch_counting()
    assert machine.screenshot().startswith(b"\x89PNG\r\n")
    assert machine.screenshot().endswith(b"IEND\xaeB`\x82")


def test_a_uefi_machine_has_variables_of_its_own(host: TinyHost) -> None:
    machine = host.launch(host.spec(host.disk(0), boot_mode=BootMode.UEFI))
    variables = host.state.instance(INSTANCE).firmware_variables
    assert machine.status() == "running"
    assert variables.stat().st_uid == (os.geteuid() if UID is None else UID)
    machine.quit()
    host.launch(machine.spec)


def test_removing_deletes_a_machines_files_but_not_while_it_runs(host: TinyHost) -> None:
    machine = host.launch_counting()
    with pytest.raises(MachineError, match="still runs"):
        host.machines.remove(INSTANCE)
    machine.quit()
    host.machines.remove(INSTANCE)
    host.machines.remove(INSTANCE)
    assert list(host.state.instances.iterdir()) == []
    assert host.state.volume(VOLUMES[0]).disk.exists()


@needs_root
def test_a_socket_of_another_uid_is_not_spoken_to(host: TinyHost) -> None:
    host.launch_counting()
    files = host.state.instance(INSTANCE)
    host.machines.close()
    listener = _listen_as_root(host.state.root / "foreign.sock")
    try:
        files.qmp_socket.unlink()
        files.qmp_socket.symlink_to(host.state.root / "foreign.sock")
        host.restart_service()
        with pytest.raises(MachineError, match="answered by uid 0"):
            _connect(host)
    finally:
        listener.close()


def _connect(host: TinyHost) -> Machine | None:
    original = launch._START_TIMEOUT_S
    launch._START_TIMEOUT_S = 0.2
    try:
        return host.machines.find(INSTANCE)
    finally:
        launch._START_TIMEOUT_S = original


def _listen_as_root(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


@needs_root
def test_a_console_log_that_is_a_link_is_not_followed(host: TinyHost) -> None:
    host.launch_counting()
    secret = host.state.root / "secret"
    secret.write_text("the administrator's key")
    log = host.state.instance(INSTANCE).serial_log
    log.unlink()
    log.symlink_to(secret)
    assert host.console() == b""
    log.unlink()
    os.link(secret, log)
    assert host.console() == b""
