"""Captures of disks no machine has open, by a disk server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.hypervisor.disk_server import end_leftover_disk_servers, start_disk_server
from bakehouse.hypervisor.process import find_processes_under
from bakehouse.hypervisor.spec import MachineError, MachineSpec
from bakehouse.storage.disk_view import DiskView as StorageView
from bakehouse.storage.disk_view import DiskViewSource
from tests.framework.patience import PATIENCE_S
from tests.framework.tiny_host import CAPTURE, UID, TinyHost, read_count, start_tiny_host

pytestmark = pytest.mark.programs


@pytest.fixture(name="host")
def _host() -> Iterator[TinyHost]:
    with start_tiny_host() as host:
        yield host


@pytest.fixture(name="stopped")
def _stopped(host: TinyHost) -> MachineSpec:
    """A machine that has counted, and was shut down by its guest."""
    spec = host.spec(host.disk(0), host.disk(1))
    machine = host.launch(spec)
    host.wait_for_console(b"..")
    assert machine.power_down(timeout_s=PATIENCE_S)
    return spec


def test_the_views_hold_what_the_guest_wrote_last(host: TinyHost, stopped: MachineSpec) -> None:
    with start_disk_server(host.loop, host.state, CAPTURE, stopped.disks, uid=UID) as server:
        first, second = server.begin_capture(CAPTURE, host.capture_disks("a"))
        assert read_count(first) == read_count(second) > 0
        assert first.base_depth == 2
        assert server.captures() == [CAPTURE]
        server.end_capture(CAPTURE)
        assert server.captures() == []
    assert list(host.state.disk_servers.iterdir()) == []


def test_the_chain_of_changes_goes_on_through_stops(host: TinyHost, stopped: MachineSpec) -> None:
    with start_disk_server(host.loop, host.state, "ami-1", stopped.disks, uid=UID) as server:
        server.begin_capture("ami-1", host.capture_disks("a"))
    with start_disk_server(host.loop, host.state, "ami-2", stopped.disks, uid=UID) as server:
        view, _ = server.begin_capture("ami-2", host.capture_disks("b", since="a"))
        assert view.has_dirty_bitmap
        source = StorageView(
            socket=view.socket,
            export_name=view.export_name,
            size_bytes=view.size_bytes,
            dirty_context=view.dirty_context,
            base_depth=view.base_depth,
            server_uid=UID,
        )
        with DiskViewSource(source) as opened:
            assert all(extent.is_unchanged for extent in opened.extents())
    machine = host.launch(stopped)
    view, _ = machine.begin_capture("ami-3", host.capture_disks("c", since="b"))
    assert view.has_dirty_bitmap


def test_a_machine_cannot_start_while_its_disks_are_served(host: TinyHost, stopped: MachineSpec) -> None:
    with (
        start_disk_server(host.loop, host.state, CAPTURE, stopped.disks, uid=UID),
        pytest.raises(MachineError, match="lock"),
    ):
        host.launch(stopped)
    host.launch(stopped)


def test_the_disks_of_a_running_machine_are_not_served(host: TinyHost) -> None:
    machine = host.launch_counting()
    with (
        pytest.raises(MachineError, match="lock"),
        start_disk_server(host.loop, host.state, CAPTURE, machine.spec.disks, uid=UID),
    ):
        pass
    assert machine.status() == "running"


def test_a_server_left_behind_by_a_killed_service_is_ended(host: TinyHost, stopped: MachineSpec) -> None:
    abandoned = start_disk_server(host.loop, host.state, CAPTURE, stopped.disks, uid=UID)
    abandoned.__enter__().begin_capture(CAPTURE, host.capture_disks("a"))
    assert find_processes_under(host.state.disk_servers)
    end_leftover_disk_servers(host.state)
    assert find_processes_under(host.state.disk_servers) == []
    assert list(host.state.disk_servers.iterdir()) == []
    host.launch(stopped)
    abandoned.__exit__(None, None, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process another uid")
def test_the_server_runs_confined(host: TinyHost, stopped: MachineSpec) -> None:
    with start_disk_server(host.loop, host.state, CAPTURE, stopped.disks, uid=UID):
        (pid,) = find_processes_under(host.state.disk_servers)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"] == f"{UID}\t{UID}\t{UID}\t{UID}"
    assert (int(status["CapBnd"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, "1", "2")
