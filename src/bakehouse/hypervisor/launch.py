"""Start a machine's QEMU, once, whatever instant an earlier attempt died at.

Invariant: at most one QEMU per instance; it is found by its pid file's name on its own command line.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from bakehouse.host.files import make_private_directory, write_atomically
from bakehouse.host.loop import HostLoop
from bakehouse.host.spawn import Spawner
from bakehouse.hypervisor.capture_record import forget_captures
from bakehouse.hypervisor.command_line import command_line
from bakehouse.hypervisor.devices import open_base
from bakehouse.hypervisor.firmware import UefiFirmware, get_firmware
from bakehouse.hypervisor.live import LiveMachine
from bakehouse.hypervisor.process import find_process, kill_and_wait, read_tail
from bakehouse.hypervisor.spec import DiskSpec, MachineError, MachineSpec
from bakehouse.paths import InstanceDirectory

_FIRST_FD = 3
_START_TIMEOUT_S = 30.0
_POLL_S = 0.02
_LOG_TAIL_BYTES = 2000


def adopt_or_launch(
    loop: HostLoop,
    spec: MachineSpec,
    files: InstanceDirectory,
    *,
    spawn: Spawner,
    tap_fds: Mapping[str, int],
) -> LiveMachine:
    """The running QEMU of ``spec``, started now if there is none; MachineError with the end of its log."""
    pid = find_process(files.pid_file, uid=spec.uid)
    if pid is not None:
        try:
            return wait_until_ready(loop, spec, files, pid)
        except MachineError:
            # Half started, or hung before it ever ran: nothing of the guest is lost by starting again.
            kill_and_wait(pid, pid_file=files.pid_file, uid=spec.uid)
    _make_ready(spec, files)
    pid = _spawn(spec, files, spawn=spawn, tap_fds=tap_fds)
    try:
        return wait_until_ready(loop, spec, files, pid)
    except MachineError:
        kill_and_wait(pid, pid_file=files.pid_file, uid=spec.uid)
        raise


def wait_until_ready(loop: HostLoop, spec: MachineSpec, files: InstanceDirectory, pid: int) -> LiveMachine:
    """A live machine whose QEMU answers; MachineError when it ends or stays silent."""
    live = loop.call(LiveMachine.open(spec, files, pid))
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            loop.call(live.session.connect())
        except MachineError as error:
            if live.has_ended or time.monotonic() > deadline:
                loop.call(live.close())
                tail = read_tail(files.qemu_log, limit_bytes=_LOG_TAIL_BYTES, uid=spec.uid)
                text = tail.decode(errors="replace").strip()
                raise MachineError(f"{spec.instance_id} did not start ({error}): {text}") from error
            time.sleep(_POLL_S)
        else:
            return live


def _make_ready(spec: MachineSpec, files: InstanceDirectory) -> None:
    """The directory, the spec, the firmware's variables; leftovers of an earlier life go."""
    files.root.parent.mkdir(parents=True, exist_ok=True)
    files.root.parent.chmod(0o711)  # the machines' own uids pass through
    make_private_directory(files.root, owner=spec.uid)
    forget_captures(files)
    for leftover in (files.pid_file, files.qmp_socket, files.guest_agent_socket, files.nbd_socket):
        leftover.unlink(missing_ok=True)
    firmware = get_firmware(spec.boot_mode)
    if firmware is not None:
        _copy_variables(firmware, files.firmware_variables, uid=spec.uid)
    write_atomically(files.spec, spec.to_json())


def _copy_variables(firmware: UefiFirmware, target: Path, *, uid: int | None) -> None:
    """Give a machine its own variable store, once; the copy appears whole or not at all."""
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    if target.is_symlink() or target.exists():
        return
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as output, firmware.variables_template.open("rb") as template:
        shutil.copyfileobj(template, output)
        if uid is not None:
            os.fchown(output.fileno(), uid, uid)
    part.rename(target)


def _spawn(spec: MachineSpec, files: InstanceDirectory, *, spawn: Spawner, tap_fds: Mapping[str, int]) -> int:
    """Hand taps and opened bases over as 3, 4 ... and start the process."""
    with ExitStack() as opened:
        fds: list[int] = []
        taps = {}
        for nic in spec.nics:
            taps[nic.interface_id] = _FIRST_FD + len(fds)
            fds.append(tap_fds[nic.interface_id])
        bases = place_bases(spec.disks, fds, opened)
        firmware = get_firmware(spec.boot_mode)
        words = command_line(spec, files, base_fds=bases, tap_fds=taps, firmware=firmware)
        try:
            return spawn(words, fds=fds, uid=spec.uid, log=files.qemu_log)
        except OSError as error:
            raise MachineError(f"{spec.instance_id} could not be spawned ({error})") from error


def place_bases(disks: Sequence[DiskSpec], fds: list[int], opened: ExitStack) -> dict[str, int]:
    """Open every base, add it to ``fds``, and say which number it gets in the child; by volume id."""
    places = {}
    for disk in disks:
        if disk.base is not None:
            base = open_base(disk)
            opened.callback(os.close, base)
            places[disk.volume_id] = _FIRST_FD + len(fds)
            fds.append(base)
    return places


def remove_files(files: InstanceDirectory) -> None:
    """Delete a machine's files and records; its process must be gone."""
    forget_captures(files)
    with suppress(FileNotFoundError):
        shutil.rmtree(files.root)
    files.spec.unlink(missing_ok=True)
