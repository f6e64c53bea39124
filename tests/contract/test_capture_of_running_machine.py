"""Captures of a running machine: one instant over all disks, unmoved by a guest that writes on."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bakehouse.hypervisor.machine import Machine, Machines
from bakehouse.hypervisor.qmp import QmpSession
from bakehouse.hypervisor.spec import DiskView, MachineError
from bakehouse.storage.errors import SourceError
from bakehouse.storage.nbd import NbdConnection
from tests.framework.counting_guest import TRAIL_SLOTS, TRAIL_STRIDE_BYTES, last_count_in_slot, trail_offset
from tests.framework.patience import PATIENCE_S
from tests.framework.tiny_host import (
    CAPTURE,
    INSTANCE,
    UID,
    VOLUMES,
    TinyHost,
    read_count,
    read_view,
    start_tiny_host,
    wait_for,
)

pytestmark = pytest.mark.programs


@pytest.fixture(name="host")
def _host() -> Iterator[TinyHost]:
    with start_tiny_host() as host:
        yield host


def _trail(view: DiskView) -> list[int]:
    """The counts of every slot of the trail."""
    with NbdConnection(view.socket, view.export_name, contexts=[], server_uid=UID) as connection:
        buffer = bytearray(TRAIL_SLOTS * TRAIL_STRIDE_BYTES)
        for start in range(0, len(buffer), 8 << 20):
            part = memoryview(buffer)[start : start + (8 << 20)]
            connection.read_into(trail_offset(0) + start, part)
    return [int.from_bytes(buffer[slot * TRAIL_STRIDE_BYTES :][:4], "little") for slot in range(TRAIL_SLOTS)]


def _dirty_bytes(view: DiskView) -> int:
    assert view.dirty_context is not None
    return sum(length for length, flags in _extents(view, view.dirty_context) if flags)


def _extents(view: DiskView, context: str) -> list[tuple[int, int]]:
    with NbdConnection(view.socket, view.export_name, contexts=[context], server_uid=UID) as connection:
        offset, found = 0, []
        while offset < view.size_bytes:
            for length, flags in connection.block_status(offset, view.size_bytes - offset)[context]:
                found.append((length, flags))
                offset += length
    return found


def _scratch_files(host: TinyHost) -> list[Path]:
    return sorted(host.state.volumes.glob("*/capture-*"))


def _progress(host: TinyHost, machine: Machine) -> None:
    """Wait until the guest has written for a while longer."""
    said = len(host.console())
    wait_for(lambda: len(host.console()) > said + 3, "progress of the guest")


def test_the_views_of_two_disks_show_one_instant_and_stay_while_the_guest_writes_on(
    host: TinyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = host.launch_counting()
    _slow_down_commands(monkeypatch)
    first, second = machine.begin_capture(CAPTURE, host.capture_disks("a"))
    monkeypatch.undo()
    count = read_count(first)
    assert count - read_count(second) in {0, 1}
    for _ in range(3):
        _progress(host, machine)
        assert read_count(first) == count
    trail = _trail(first)
    # The instant may lie between the two writes of one count.
    expected = [last_count_in_slot(slot, count) for slot in range(TRAIL_SLOTS)]
    assert {slot for slot in range(TRAIL_SLOTS) if trail[slot] != expected[slot]} <= {count % TRAIL_SLOTS}
    machine.end_capture(CAPTURE)
    assert machine.captures() == []
    assert _scratch_files(host) == []
    _progress(host, machine)


def _slow_down_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the guest time to write between any two commands of a capture."""
    real = QmpSession.execute

    async def slow(session: QmpSession, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0.1)
        return await real(session, *arguments, **options)

    monkeypatch.setattr(QmpSession, "execute", slow)


def test_views_cannot_be_written_to(host: TinyHost) -> None:
    machine = host.launch_counting(disks=1)
    (view,) = machine.begin_capture(CAPTURE, host.capture_disks("a", count=1))
    address = f"nbd:unix:{view.socket}:exportname={view.export_name}"
    done = subprocess.run(
        ["qemu-io", "-f", "raw", "-c", "write 0 512", address], capture_output=True, text=True, check=False
    )
    # qemu-io asks for a writable export and is refused.
    assert "permission denied" in (done.stdout + done.stderr).lower()


def test_the_second_capture_knows_what_changed_since_the_first(host: TinyHost) -> None:
    machine = host.launch_counting()
    first, _ = machine.begin_capture("ami-1", host.capture_disks("a"))
    count = read_count(first)
    assert not first.has_dirty_bitmap
    machine.end_capture("ami-1")
    _progress(host, machine)
    second, _ = machine.begin_capture("ami-2", host.capture_disks("b", since="a"))
    written = min(read_count(second) - count, TRAIL_SLOTS)
    assert second.has_dirty_bitmap
    # One cluster for each count of the trail, and the one with sector 1.
    assert abs(_dirty_bytes(second) // TRAIL_STRIDE_BYTES - (written + 1)) <= 2


def test_a_failed_capture_in_between_loses_no_change(host: TinyHost) -> None:
    machine = host.launch_counting()
    first, _ = machine.begin_capture("ami-1", host.capture_disks("a"))
    count = read_count(first)
    machine.end_capture("ami-1")
    _progress(host, machine)
    machine.begin_capture("ami-2", host.capture_disks("b", since="a"))
    machine.end_capture("ami-2")
    _progress(host, machine)
    third, _ = machine.begin_capture("ami-3", host.capture_disks("c", since="a"))
    written = min(read_count(third) - count, TRAIL_SLOTS)
    assert abs(_dirty_bytes(third) // TRAIL_STRIDE_BYTES - (written + 1)) <= 2


def test_changes_are_known_across_a_stop_and_a_start(host: TinyHost) -> None:
    spec = host.spec(host.disk(0), host.disk(1))
    machine = host.launch(spec)
    host.wait_for_console(b"..")
    first, _ = machine.begin_capture("ami-1", host.capture_disks("a"))
    count = read_count(first)
    machine.end_capture("ami-1")
    _progress(host, machine)
    assert machine.power_down(timeout_s=PATIENCE_S)
    machine = host.launch(spec)
    second, _ = machine.begin_capture("ami-2", host.capture_disks("b", since="a"))
    assert second.has_dirty_bitmap
    assert _dirty_bytes(second) // TRAIL_STRIDE_BYTES >= min(read_count(second) - count, TRAIL_SLOTS)


def test_after_a_crash_the_bitmap_is_not_believed(host: TinyHost) -> None:
    spec = host.spec(host.disk(0), host.disk(1))
    machine = host.launch(spec)
    host.wait_for_console(b"..")
    machine.begin_capture("ami-1", host.capture_disks("a"))
    machine.end_capture("ami-1")
    host.machines.kill(INSTANCE)
    machine = host.launch(spec)
    second, _ = machine.begin_capture("ami-2", host.capture_disks("b", since="a"))
    assert not second.has_dirty_bitmap
    machine.end_capture("ami-2")
    third, _ = machine.begin_capture("ami-3", host.capture_disks("c", since="b"))
    assert third.has_dirty_bitmap


def test_the_allocation_depth_tells_what_the_base_holds(host: TinyHost) -> None:
    machine = host.launch_counting()
    first, second = machine.begin_capture(CAPTURE, host.capture_disks("a"))
    assert first.base_depth == 3
    assert second.base_depth is None
    from_overlay = sum(
        length for length, depth in _extents(first, "qemu:allocation-depth") if 0 < depth < first.base_depth
    )
    count = min(read_count(first), TRAIL_SLOTS)
    assert abs(from_overlay // TRAIL_STRIDE_BYTES - (count + 1)) <= 2


def test_the_chain_does_not_grow_with_captures(host: TinyHost) -> None:
    machine = host.launch_counting()
    for number in range(4):
        machine.begin_capture(f"ami-{number}", host.capture_disks(f"s{number}", since=f"s{number - 1}"))
        machine.end_capture(f"ami-{number}")
    machine.quit()
    disk = host.state.volume(VOLUMES[0]).disk
    info = subprocess.run(["qemu-img", "info", str(disk)], capture_output=True, text=True, check=True).stdout
    assert "backing file" not in info
    assert info.count("bakehouse.") == 2  # the segment since the last snapshot, and the one before
    assert {path.name for path in disk.parent.iterdir()} == {disk.name}


def test_a_restarted_service_finds_a_capture_and_can_read_it_on(host: TinyHost) -> None:
    machine = host.launch_counting()
    asked = host.capture_disks("a")
    views = machine.begin_capture(CAPTURE, asked)
    count = read_count(views[0])
    host.restart_service()
    found = host.machines.find(INSTANCE)
    assert found is not None
    assert found.captures() == [CAPTURE]
    again = found.begin_capture(CAPTURE, asked)
    assert again == views
    assert read_count(again[0]) == count
    found.end_capture(CAPTURE)
    assert found.captures() == []


@pytest.mark.parametrize("verb", ["prepare", "take", "publish"])
def test_a_capture_that_dies_half_way_is_found_and_taken_away(
    host: TinyHost, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = host.launch_counting()
    _die_after(verb, monkeypatch)
    with pytest.raises(_KilledError):
        machine.begin_capture(CAPTURE, host.capture_disks("a"))
    monkeypatch.undo()
    host.restart_service()
    found = host.machines.find(INSTANCE)
    assert found is not None
    assert found.captures() == [CAPTURE]
    found.end_capture(CAPTURE)
    found.end_capture(CAPTURE)
    assert found.captures() == []
    assert _scratch_files(host) == []
    views = found.begin_capture("ami-2", host.capture_disks("b"))
    assert read_count(views[0]) > 0


class _KilledError(BaseException):
    """Stands for kill -9: nothing of ours runs any more."""


def _die_after(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakehouse.hypervisor import captures

    real = getattr(captures, verb)

    async def die(*arguments: object, **options: object) -> object:
        await real(*arguments, **options)
        raise _KilledError

    monkeypatch.setattr(captures, verb, die)
    monkeypatch.setattr(Machine, "_clean_up_after_failure", lambda *_: None)


def test_a_machine_that_is_gone_leaves_no_capture_behind(host: TinyHost) -> None:
    machine = host.launch_counting()
    machine.begin_capture(CAPTURE, host.capture_disks("a"))
    host.machines.kill(INSTANCE)
    host.machines.end_capture(INSTANCE, CAPTURE)
    assert _scratch_files(host) == []
    assert not host.state.instance(INSTANCE).captures.exists()


def test_one_volume_is_captured_once_at_a_time(host: TinyHost) -> None:
    machine = host.launch_counting()
    machine.begin_capture("ami-1", host.capture_disks("a"))
    with pytest.raises(MachineError, match="is being captured already"):
        machine.begin_capture("ami-2", host.capture_disks("b"))
    assert machine.captures() == ["ami-1"]


def test_the_guest_is_quiesced_only_around_the_instant(host: TinyHost) -> None:
    machine = host.launch_counting()
    seen: list[str] = []

    @contextmanager
    def quiesced() -> Iterator[None]:
        seen.append(f"frozen with {len(_scratch_files(host))} scratch files")
        yield
        seen.append("thawed")

    machine.begin_capture(CAPTURE, host.capture_disks("a"), quiesced=quiesced())
    assert seen == ["frozen with 2 scratch files", "thawed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file system of its own, which only root can mount")
def test_a_full_disk_ends_the_capture_and_not_the_guest(host: TinyHost) -> None:
    with _small_volumes(host, size_mib=56):
        machine = host.launch_counting()
        _wait_for_count_beyond(host, machine, TRAIL_SLOTS)  # the overlays have their full size now
        view, _ = machine.begin_capture(CAPTURE, host.capture_disks("a"))
        wait_for(lambda: machine.capture_failure(CAPTURE) is not None, "the failure of the capture")
        assert machine.capture_failure(CAPTURE) == "the host's disk was full"
        with pytest.raises(MachineError, match="disk was full"):
            machine.begin_capture(CAPTURE, host.capture_disks("a"))
        with pytest.raises((SourceError, OSError)):
            read_view(view, 0, 512)
        assert _scratch_files(host) == []
        _progress(host, machine)
        assert machine.status() == "running"
        machine.end_capture(CAPTURE)
        assert machine.captures() == []
        machine.quit()


def _wait_for_count_beyond(host: TinyHost, machine: Machine, count: int) -> None:
    wait_for(lambda: len(host.console()) > count // 16 + 2, "the trail")


@contextmanager
def _small_volumes(host: TinyHost, *, size_mib: int) -> Iterator[None]:
    """Put the volumes on a small file system of their own."""
    target = str(host.state.volumes)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=711", "none", target], check=True)
    try:
        yield
    finally:
        host.machines.kill(INSTANCE)
        subprocess.run(["umount", target], check=True)


def test_two_threads_may_ask_at_once(host: TinyHost) -> None:
    machine = host.launch_counting()
    outcomes: list[object] = []

    def capture(number: int) -> None:
        try:
            outcomes.append(machine.begin_capture(f"ami-{number}", host.capture_disks(f"s{number}")))
        except MachineError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=capture, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["MachineError", "list"]
    assert isinstance(host.machines, Machines)
