"""Disks and interfaces that come and go while a machine runs."""

import array
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bakehouse.hypervisor.spec import MachineError, NicSpec
from tests.framework.tiny_host import CAPTURE, VOLUMES, TinyHost, start_tiny_host

pytestmark = pytest.mark.programs

NIC = NicSpec(interface_id="eni-0123456789abcdef0", mac="02:00:00:00:00:0a", slot=5)

# Runs in a network namespace of its own: makes a tap and sends its descriptor through a given socket.
_TAP_MAKER = """
import array, fcntl, os, socket, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH", b"tap0", 0x0002 | 0x1000 | 0x4000))
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [tap]))]
socket.socket(fileno=int(sys.argv[1])).sendmsg([b"t"], rights)
"""


@pytest.fixture(name="host")
def _host() -> Iterator[TinyHost]:
    with start_tiny_host() as host:
        yield host


def test_an_attached_disk_is_part_of_the_machine_and_of_its_captures(host: TinyHost) -> None:
    machine = host.launch_counting(disks=1)
    disk = replace(host.disk(1, is_boot=False), slot=7)
    machine.attach_disk(disk)
    machine.attach_disk(disk)
    assert [known.volume_id for known in machine.spec.disks] == list(VOLUMES)
    host.restart_service()
    found = host.machines.find(machine.instance_id)
    assert found is not None
    assert found.spec == machine.spec
    views = found.begin_capture(CAPTURE, host.capture_disks("a"))
    assert [view.volume_id for view in views] == list(VOLUMES)


def test_a_disk_over_a_base_can_be_attached(host: TinyHost) -> None:
    machine = host.launch(host.spec(host.disk(1)))
    machine.attach_disk(replace(host.disk(0, is_boot=False), slot=3))
    assert len(machine.spec.disks) == 2


def test_a_disk_that_cannot_be_opened_is_not_attached(host: TinyHost) -> None:
    machine = host.launch_counting(disks=1)
    disk = host.disk(1, is_boot=False)
    disk.overlay.unlink()
    with pytest.raises(MachineError, match="No such file"):
        machine.attach_disk(disk)
    assert len(machine.spec.disks) == 1


def test_two_disks_do_not_fit_in_one_slot(host: TinyHost) -> None:
    machine = host.launch_counting(disks=1)
    disk = host.disk(1, is_boot=False)
    with pytest.raises(MachineError):
        machine.attach_disk(replace(disk, slot=0))
    assert len(machine.spec.disks) == 1
    machine.attach_disk(disk)


def test_a_guest_that_does_not_release_a_disk_is_an_error_and_the_disk_stays(host: TinyHost) -> None:
    machine = host.launch_counting()  # it knows nothing of hot-plug
    with pytest.raises(MachineError, match="did not release"):
        machine.detach_disk(VOLUMES[1], timeout_s=1)
    assert len(machine.spec.disks) == 2
    assert machine.status() == "running"


def test_detaching_what_is_not_attached_does_nothing(host: TinyHost) -> None:
    machine = host.launch_counting(disks=1)
    machine.detach_disk("vol-0fffffffffffffff0")
    machine.remove_nic("eni-0fffffffffffffff0")


@pytest.mark.skipif(os.geteuid() != 0, reason="a tap in a namespace of its own needs root")
def test_an_interface_can_be_added_over_an_open_tap(host: TinyHost) -> None:
    machine = host.launch_counting(disks=1)
    with _open_tap() as tap_fd:
        machine.add_nic(NIC, tap_fd=tap_fd)
        machine.add_nic(NIC, tap_fd=tap_fd)
    assert machine.spec.nics == (NIC,)
    with pytest.raises(MachineError, match="did not release"):
        machine.remove_nic(NIC.interface_id, timeout_s=0.5)


@pytest.mark.skipif(os.geteuid() != 0, reason="a tap in a namespace of its own needs root")
def test_a_machine_is_born_with_its_interface(host: TinyHost) -> None:
    from bakehouse.host.spawn import spawn_on_host

    spec = replace(host.spec(host.disk(0)), nics=(NIC,))
    with _open_tap() as tap_fd:
        machine = host.machines.launch(spec, spawn=spawn_on_host, tap_fds={NIC.interface_id: tap_fd})
    opened = [str(link.readlink()) for link in Path(f"/proc/{machine.pid}/fd").iterdir()]
    assert "/dev/net/tun" in opened


@contextmanager
def _open_tap() -> Iterator[int]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        words = ["unshare", "--net", sys.executable, "-c", _TAP_MAKER, str(theirs.fileno())]
        subprocess.run(words, check=True, pass_fds=[theirs.fileno()])
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        fds = array.array("i")
        fds.frombytes(ancillary[0][2][:4])
    try:
        yield fds[0]
    finally:
        os.close(fds[0])
