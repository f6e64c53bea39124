"""Whether KVM really works on this host: a tiny guest is booted under a short limit, once per host boot.

Invariant: KVM is used only after a guest has run on it with the processor model machines will get.
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bakehouse.host.files import write_atomically
from bakehouse.host.run import CommandFailed, Completed, Credentials, run
from bakehouse.hypervisor.command_line import QEMU, accelerator_args, base_node
from bakehouse.hypervisor.probe_guest import BOOT_SECTOR, EXIT_PORT, SUCCESS_EXIT_CODE
from bakehouse.hypervisor.spec import Accelerator, MachineError
from bakehouse.paths import StateDirectory

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_KVM = Path("/dev/kvm")
_TCG_TIME_LIMIT_S = 20.0
# KVM can also be there and be slower than no KVM at all (a nested host that emulates it).
_SLOWEST_KVM_S = 1.5
_SLOWEST_KVM_TIMES_TCG = 5
_DISK_BYTES = 1 << 20  # SeaBIOS does not boot from less


@dataclass(frozen=True, kw_only=True)
class AcceleratorFinding:
    """What this host's machines run on, and why, in words for ``doctor`` and the log."""

    accelerator: Accelerator
    reason: str


def find_accelerator(state: StateDirectory, *, wanted: str, uid: int | None) -> AcceleratorFinding:
    """The accelerator to use; ``wanted`` is auto, kvm or tcg.

    ``uid`` is the identity machines run under, and the probe with them. The answer of a probe is kept until
    the host's next boot. MachineError when kvm is demanded and does not work.
    """
    if wanted == Accelerator.TCG:
        return AcceleratorFinding(accelerator=Accelerator.TCG, reason="the settings say tcg")
    found = _read_cache(state, uid=uid)
    if found is None:
        found = probe_kvm(uid=uid)
        entry = {"key": _cache_key(uid), "accelerator": found.accelerator, "reason": found.reason}
        with suppress(OSError):  # before the first start, or another user's: the next one asks again
            write_atomically(state.accelerator, json.dumps(entry))
    if wanted == Accelerator.KVM and found.accelerator is not Accelerator.KVM:
        raise MachineError(f"the settings say kvm, but {found.reason}")
    return found


def probe_kvm(*, uid: int | None) -> AcceleratorFinding:
    """Boot the probe's guest without KVM, then with it, and say what came of it.

    MachineError when QEMU cannot even run it without KVM.
    """
    begun = time.monotonic()
    failure = boot_probe_guest(Accelerator.TCG, uid=uid, time_limit_s=_TCG_TIME_LIMIT_S)
    if failure is not None:
        raise MachineError(f"QEMU does not work on this host: {failure}")
    if not _KVM.exists():
        return AcceleratorFinding(accelerator=Accelerator.TCG, reason="there is no /dev/kvm")
    limit_s = max(_SLOWEST_KVM_S, _SLOWEST_KVM_TIMES_TCG * (time.monotonic() - begun))
    failure = boot_probe_guest(Accelerator.KVM, uid=uid, time_limit_s=limit_s)
    if failure is not None:
        return AcceleratorFinding(accelerator=Accelerator.TCG, reason=f"KVM does not work here: {failure}")
    return AcceleratorFinding(accelerator=Accelerator.KVM, reason="a test guest ran under KVM")


def boot_probe_guest(accelerator: Accelerator, *, uid: int | None, time_limit_s: float) -> str | None:
    """None when the probe's guest ran to its end, else what went wrong."""
    memory = os.memfd_create("probe", os.MFD_CLOEXEC)
    try:
        os.write(memory, BOOT_SECTOR)
        os.truncate(memory, _DISK_BYTES)
        # QEMU takes a descriptor only for exactly the access it wants: reading.
        disk = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(memory)
    try:
        credentials = Credentials(uid=uid, gid=uid) if uid is not None else None
        words = _probe_command_line(accelerator, disk)
        done = run(words, timeout_s=time_limit_s, check=False, credentials=credentials, pass_fds=[disk])
    except CommandFailed as error:
        return str(error)
    finally:
        os.close(disk)
    return None if done.exit_code == SUCCESS_EXIT_CODE else _last_words(done)


def _probe_command_line(accelerator: Accelerator, disk: int) -> list[str]:
    return [
        QEMU,
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "q35,sata=off", "-m", "64M", "-boot", "strict=on"),
        *accelerator_args(accelerator),
        *("-add-fd", f"fd={disk},set=1"),
        *("-blockdev", json.dumps({"node-name": "probe", **base_node(1)})),
        *("-device", "virtio-blk-pci,drive=probe,bootindex=0"),
        *("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"),
    ]


def _last_words(done: Completed) -> str:
    """An exit code with the first line of what was said."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    said = f" ({lines[0][:200]})" if lines else ""
    return f"QEMU ended with {done.exit_code}{said}"


def _cache_key(uid: int | None) -> str:
    """A probe's answer holds for one boot of the host, one identity, and one QEMU."""
    qemu = run([QEMU, "--version"], timeout_s=20).stdout.splitlines()[0]
    return f"{_BOOT_ID.read_text().strip()} {uid} {qemu}"


def _read_cache(state: StateDirectory, *, uid: int | None) -> AcceleratorFinding | None:
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        entry = json.loads(state.accelerator.read_text())
        if entry["key"] == _cache_key(uid):
            return AcceleratorFinding(accelerator=Accelerator(entry["accelerator"]), reason=str(entry["reason"]))
    return None
