"""A disk grows under its running guest, and at rest; captures before and after stay true."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from bakehouse.hypervisor.disk_server import start_disk_server
from bakehouse.hypervisor.spec import DiskView, MachineError, MachineSpec
from bakehouse.storage.disk_view import DiskView as StorageView
from bakehouse.storage.disk_view import DiskViewSource
from tests.framework.counting_guest import DISK_BYTES
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

GROWN_BYTES = 3 * DISK_BYTES


@pytest.fixture(name="host")
def _host() -> Iterator[TinyHost]:
    with start_tiny_host() as host:
        yield host


def size_on_disk(host: TinyHost, volume_id: str) -> int:
    """The overlay's size as its own header has it, whoever has it open."""
    words = ["qemu-img", "info", "-U", "--output=json", str(host.state.volume(volume_id).disk)]
    return int(json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["virtual-size"])


def changed(view: DiskView) -> list[tuple[int, int]]:
    """What a reader of the view takes for changed since its parent: offset and length."""
    source = StorageView(
        socket=view.socket,
        export_name=view.export_name,
        size_bytes=view.size_bytes,
        dirty_context=view.dirty_context,
        base_depth=view.base_depth,
        server_uid=UID,
    )
    offset, found = 0, []
    with DiskViewSource(source) as opened:
        for extent in opened.extents():
            if not extent.is_unchanged:
                found.append((offset, extent.length))
            offset += extent.length
    assert offset == view.size_bytes
    return found


def crashed_with_bitmaps(host: TinyHost) -> MachineSpec:
    """A machine whose QEMU was killed with bitmaps of an earlier life open: QEMU calls them inconsistent."""
    spec = host.spec(host.disk(0), host.disk(1))
    machine = host.launch(spec)
    host.wait_for_console(b"..")
    machine.begin_capture("ami-1", host.capture_disks("a"))
    machine.end_capture("ami-1")
    assert machine.power_down(timeout_s=PATIENCE_S)  # only now are they written to the disks
    host.launch(spec)
    host.machines.kill(INSTANCE)
    return spec


def test_a_running_machines_disk_grows_and_its_guest_goes_on(host: TinyHost) -> None:
    machine = host.launch_counting()
    assert machine.disk_size_bytes(VOLUMES[0]) == DISK_BYTES
    for _ in range(2):  # the second time nothing is left to do
        machine.grow_disk(VOLUMES[0], GROWN_BYTES)
    machine.grow_disk(VOLUMES[0], DISK_BYTES)  # and a disk never shrinks
    assert machine.disk_size_bytes(VOLUMES[0]) == GROWN_BYTES
    assert size_on_disk(host, VOLUMES[0]) == GROWN_BYTES
    assert machine.disk_size_bytes(VOLUMES[1]) == DISK_BYTES
    said = len(host.console())
    wait_for(lambda: len(host.console()) > said + 3, "progress of the guest")
    view, other = machine.begin_capture(CAPTURE, host.capture_disks("a"))
    assert (view.size_bytes, other.size_bytes) == (GROWN_BYTES, DISK_BYTES)
    assert read_view(view, GROWN_BYTES - 512, 512) == bytes(512)
    machine.end_capture(CAPTURE)


def test_what_changed_since_a_capture_is_known_across_the_growth(host: TinyHost) -> None:
    spec = host.spec(host.disk(0), host.disk(1))
    machine = host.launch(spec)
    host.wait_for_console(b"..")
    machine.begin_capture("ami-1", host.capture_disks("a"))
    machine.end_capture("ami-1")
    machine.grow_disk(VOLUMES[0], GROWN_BYTES)
    view, _ = machine.begin_capture("ami-2", host.capture_disks("b", since="a"))
    assert view.has_dirty_bitmap
    assert read_count(view) > 0
    assert changed(view), "the guest counted on"
    assert all(offset + length <= DISK_BYTES for offset, length in changed(view)), "the new room is untouched"
    machine.end_capture("ami-2")
    assert machine.power_down(timeout_s=PATIENCE_S)
    with start_disk_server(host.loop, host.state, "ami-3", spec.disks[:1], uid=UID) as server:
        (after,) = server.begin_capture("ami-3", host.capture_disks("c", since="b", count=1))
        assert after.has_dirty_bitmap
        assert after.size_bytes == GROWN_BYTES


def test_a_disk_that_is_being_captured_does_not_grow(host: TinyHost) -> None:
    machine = host.launch_counting()
    view, _ = machine.begin_capture(CAPTURE, host.capture_disks("a"))
    with pytest.raises(MachineError):
        machine.grow_disk(VOLUMES[0], GROWN_BYTES)
    assert view.size_bytes == DISK_BYTES
    assert read_count(view) > 0
    machine.end_capture(CAPTURE)
    machine.grow_disk(VOLUMES[0], GROWN_BYTES)


def test_a_disk_grows_although_its_bitmaps_died_with_a_crashed_machine(host: TinyHost) -> None:
    spec = crashed_with_bitmaps(host)
    machine = host.launch(spec)
    machine.grow_disk(VOLUMES[0], GROWN_BYTES)
    first, second = machine.begin_capture("ami-2", host.capture_disks("b", since="a"))
    assert first.size_bytes == GROWN_BYTES
    assert not first.has_dirty_bitmap
    assert not second.has_dirty_bitmap


def test_a_disk_at_rest_grows_and_its_machine_starts_with_it(host: TinyHost) -> None:
    spec = crashed_with_bitmaps(host)
    with start_disk_server(host.loop, host.state, VOLUMES[0], spec.disks[:1], uid=UID) as server:
        server.grow_disk(VOLUMES[0], GROWN_BYTES)
        server.grow_disk(VOLUMES[0], GROWN_BYTES)
    assert size_on_disk(host, VOLUMES[0]) == GROWN_BYTES
    assert host.state.volume(VOLUMES[0]).disk.stat().st_uid == (UID or 0)
    machine = host.launch(spec)
    assert machine.disk_size_bytes(VOLUMES[0]) == GROWN_BYTES
    said = len(host.console())
    wait_for(lambda: len(host.console()) > said + 1, "the guest's counting on")
