"""The disks of a stopped machine, or volumes attached to none, opened by a QEMU that runs no guest.

It offers the captures a running machine offers, dirty bitmaps included, and keeps the disks locked meanwhile:
the machine cannot start before it is closed.

Invariant: whatever opens a guest's qcow2 runs confined under the uid the files belong to.
"""

import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from bakehouse.host.files import make_private_directory
from bakehouse.host.loop import HostLoop
from bakehouse.host.spawn import Spawner, reap, spawn_on_host
from bakehouse.hypervisor import power
from bakehouse.hypervisor.capturable import Capturable
from bakehouse.hypervisor.capture_record import forget_captures
from bakehouse.hypervisor.command_line import QEMU, control_args, disk_node, process_args
from bakehouse.hypervisor.launch import place_bases, wait_until_ready
from bakehouse.hypervisor.process import find_processes_under, open_process, wait_for_end
from bakehouse.hypervisor.spec import Accelerator, BootMode, DiskSpec, MachineError, MachineSpec
from bakehouse.paths import InstanceDirectory, StateDirectory

_END_TIMEOUT_S = 10.0


class DiskServer(Capturable):
    """A running disk server; see ``start_disk_server``."""

    _is_live = False


@contextmanager
def start_disk_server(
    loop: HostLoop,
    state: StateDirectory,
    name: str,
    disks: Sequence[DiskSpec],
    *,
    uid: int | None,
    spawn: Spawner = spawn_on_host,
) -> Iterator[DiskServer]:
    """Serve ``disks`` (their slots do not matter) for the length of the block.

    ``name`` is unique among the servers of this host, a capture's id for example; one of the same name that a
    killed service left behind is ended first. MachineError, for example when a machine has the disks open.
    """
    files = state.disk_server(name)
    _clear_away(state, files)
    make_private_directory(files.root, owner=uid)
    numbered = tuple(replace(disk, slot=slot) for slot, disk in enumerate(disks))
    spec = _spec_of(name, numbered, uid=uid)
    try:
        pid = _spawn(spec, files, spawn=spawn)
        live = wait_until_ready(loop, spec, files, pid)
        try:
            yield DiskServer(loop, live)
        finally:
            # An orderly end: QEMU writes the dirty bitmaps into the overlays.
            loop.call(power.quit_now(live), timeout_s=None)
            loop.call(live.close(), timeout_s=None)
    finally:
        _clear_away(state, files)


def end_leftover_disk_servers(state: StateDirectory) -> None:
    """End what an earlier life of the service left running; call it before any disk is used."""
    if state.disk_servers.is_dir():
        names = {path.name.removesuffix(".captures") for path in state.disk_servers.iterdir()}
        for name in sorted(names):
            _clear_away(state, state.disk_server(name))


def _clear_away(state: StateDirectory, files: InstanceDirectory) -> None:
    """End the process of a server, if there is one, and delete its files."""
    make_private_directory(state.disk_servers)
    state.disk_servers.chmod(0o711)  # the servers' own uids pass through
    for pid in find_processes_under(files.root):
        with open_process(pid) as pidfd:
            if pidfd is None or pid not in find_processes_under(files.root):
                continue
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not wait_for_end(pidfd, timeout_s=_END_TIMEOUT_S):
                raise MachineError(f"the disk server {files.root.name} does not end")
        reap(pid)
    forget_captures(files)
    with suppress(FileNotFoundError):
        shutil.rmtree(files.root)


def _spec_of(name: str, disks: tuple[DiskSpec, ...], *, uid: int | None) -> MachineSpec:
    """A machine with disks and nothing else."""
    return MachineSpec(
        instance_id=name,
        uuid="",
        instance_type="",
        vcpus=0,
        memory_mib=0,
        accelerator=Accelerator.TCG,
        boot_mode=BootMode.LEGACY_BIOS,
        disks=disks,
        nics=(),
        uid=uid,
    )


def disk_server_command_line(spec: MachineSpec, files: InstanceDirectory, bases: dict[str, int]) -> list[str]:
    """The words that start a disk server; ``bases`` are the bases' descriptors in the child, by volume id."""
    words = [QEMU, *process_args(spec, files), "-machine", "none", "-S", *control_args(files)]
    for disk in spec.disks:
        base_fd = bases.get(disk.volume_id)
        words += [] if base_fd is None else ["-add-fd", f"fd={base_fd},set={base_fd}"]
        words += ["-blockdev", json.dumps(disk_node(disk, base_set=base_fd))]
    return words


def _spawn(spec: MachineSpec, files: InstanceDirectory, *, spawn: Spawner) -> int:
    with ExitStack() as opened:
        fds: list[int] = []
        bases = place_bases(spec.disks, fds, opened)
        words = disk_server_command_line(spec, files, bases)
        try:
            return spawn(words, fds=fds, uid=spec.uid, log=files.qemu_log)
        except OSError as error:
            raise MachineError(f"the disk server {spec.instance_id} could not be spawned ({error})") from error
