"""A host for machines with tiny guests: a state directory of its own, a loop, and nothing left behind."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bakehouse.host.loop import HostLoop
from bakehouse.host.spawn import spawn_on_host
from bakehouse.hypervisor.machine import Machine, Machines
from bakehouse.hypervisor.spec import Accelerator, BootMode, CaptureDisk, DiskSpec, DiskView, MachineSpec
from bakehouse.paths import StateDirectory
from bakehouse.storage.nbd import NbdConnection
from tests.framework.counting_guest import BOOT_SECTOR, COUNT_OFFSET, DISK_BYTES
from tests.framework.patience import wait_for as wait_for  # noqa: PLC0414  # many have it from here

INSTANCE = "i-0123456789abcdef0"
VOLUMES = ("vol-0123456789abcdef0", "vol-0123456789abcdef1")
CAPTURE = "ami-0123456789abcdef0"
UID = 1_900_000_007 if os.geteuid() == 0 else None


class TinyHost:
    """Launches the counting guest; every volume is an overlay, the first one over a base."""

    def __init__(self, root: Path, loop: HostLoop) -> None:
        self.loop = loop
        self.state = StateDirectory(root=root)
        for directory in (self.state.instances, self.state.volumes, self.state.bases):
            directory.mkdir()
            directory.chmod(0o711)
        self.base = self.state.base("snap-base")
        self.base.write_bytes(BOOT_SECTOR)
        os.truncate(self.base, DISK_BYTES)
        self.base.chmod(0o400)
        self.machines = Machines(loop, self.state)

    def restart_service(self) -> None:
        """Forget everything, as a new process of the service would."""
        self.machines.close()
        self.machines = Machines(self.loop, self.state)

    def volume(self, volume_id: str) -> Path:
        """A fresh, empty overlay that belongs to the machine's uid."""
        directory = self.state.volume(volume_id)
        directory.root.mkdir(mode=0o700, exist_ok=True)
        words = ["qemu-img", "create", "-q", "-f", "qcow2", str(directory.disk), str(DISK_BYTES)]
        if UID is None:
            subprocess.run(words, check=True)
        else:
            os.chown(directory.root, UID, UID)
            subprocess.run(words, check=True, user=UID, group=UID, extra_groups=[])
        return directory.disk

    def disk(self, number: int, *, is_boot: bool = True) -> DiskSpec:
        """The disk of the ``number``th volume, which is made now; SeaBIOS sees boot disks only."""
        volume_id = VOLUMES[number]
        return DiskSpec(
            volume_id=volume_id,
            overlay=self.volume(volume_id),
            base=self.base if number == 0 else None,
            serial=volume_id.replace("-", ""),
            slot=number,
            is_boot=is_boot,
        )

    def spec(self, *disks: DiskSpec, boot_mode: BootMode = BootMode.LEGACY_BIOS) -> MachineSpec:
        """A small machine."""
        return MachineSpec(
            instance_id=INSTANCE,
            uuid="ec2a1b2c-1111-2222-3333-444455556666",
            instance_type="t3.nano",
            vcpus=1,
            memory_mib=64,
            accelerator=Accelerator.TCG,
            boot_mode=boot_mode,
            disks=disks,
            nics=(),
            uid=UID,
        )

    def launch(self, spec: MachineSpec) -> Machine:
        """Start it without a VPC."""
        return self.machines.launch(spec, spawn=spawn_on_host, tap_fds={})

    def launch_counting(self, *, disks: int = 2) -> Machine:
        """A machine whose guest has begun to count on its disks."""
        machine = self.launch(self.spec(*(self.disk(number) for number in range(disks))))
        self.wait_for_console(b"..")
        return machine

    def console(self) -> bytes:
        """The serial log."""
        return self.machines.console_output(INSTANCE)

    def wait_for_console(self, text: bytes) -> None:
        """Wait until the guest has said ``text``."""
        wait_for(lambda: text in self.console(), f"{text!r} on the console")

    def capture_disks(self, snapshot: str, *, since: str | None = None, count: int = 2) -> list[CaptureDisk]:
        """What to ask for to capture the first ``count`` volumes."""
        return [
            CaptureDisk(
                volume_id=volume_id,
                snapshot_id=f"{snapshot}-{number}",
                scratch=self.state.volume(volume_id).capture(f"{snapshot}-{number}"),
                bitmap_since=f"{since}-{number}" if since else None,
            )
            for number, volume_id in enumerate(VOLUMES[:count])
        ]


@contextmanager
def start_tiny_host() -> Iterator[TinyHost]:
    """A host for the length of a test; its machine is ended and its files are deleted."""
    root = Path(tempfile.mkdtemp(prefix="bakehouse-"))  # a short path: sockets lie below it
    root.chmod(0o711)
    loop = HostLoop()
    host = TinyHost(root, loop)
    try:
        yield host
    finally:
        host.machines.kill(INSTANCE)
        host.machines.close()
        loop.close()
        shutil.rmtree(root)


def read_view(view: DiskView, offset: int, length: int) -> bytes:
    """Bytes of a served view."""
    with NbdConnection(view.socket, view.export_name, contexts=[], server_uid=UID) as connection:
        buffer = bytearray(length)
        connection.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def read_count(view: DiskView) -> int:
    """The count that stands on a view."""
    return int.from_bytes(read_view(view, COUNT_OFFSET, 4), "little")
