"""The frozen values the hypervisor takes and gives: machines, disks, interfaces, captures.

Invariant: a spec says all that a machine's command line depends on, but descriptor numbers and file names.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bakehouse.errors import PartError

# Places for devices that a machine is born with; disks and interfaces share their numbers.
SLOT_COUNT = 24
SERIAL_LIMIT = 20


class MachineError(PartError):
    """A machine could not be started, reached or changed."""


class BootMode(StrEnum):
    """EC2's boot modes: SeaBIOS or OVMF."""

    LEGACY_BIOS = "legacy-bios"
    UEFI = "uefi"


class Accelerator(StrEnum):
    """How guest code runs."""

    KVM = "kvm"
    TCG = "tcg"


class ExitReason(StrEnum):
    """Why a machine's process ended."""

    GUEST_SHUTDOWN = "guest-shutdown"
    QUIT = "quit"
    CRASH = "crash"


@dataclass(frozen=True, kw_only=True)
class DiskSpec:
    """One volume as a machine sees it.

    ``overlay`` is a qcow2 whose header names no backing file; ``base`` is the read-only raw file under it,
    opened by the service and handed to QEMU as a descriptor. ``serial`` has at most 20 characters (virtio's
    limit). ``slot`` is the machine's slot, 0 up to SLOT_COUNT - 1, shared with the interfaces.
    """

    volume_id: str
    overlay: Path
    base: Path | None
    serial: str
    slot: int
    is_boot: bool = False

    def __post_init__(self) -> None:
        _check_slot(self.slot)
        if not 0 < len(self.serial) <= SERIAL_LIMIT:
            raise ValueError(f"a disk's serial has 1 to {SERIAL_LIMIT} characters")


@dataclass(frozen=True, kw_only=True)
class NicSpec:
    """One network interface as a machine sees it; the tap descriptor is given beside the spec."""

    interface_id: str
    mac: str
    slot: int

    def __post_init__(self) -> None:
        _check_slot(self.slot)


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """One machine. ``uuid`` begins with "ec2", as EC2's do; ``uid`` is the host uid (and gid) of its QEMU."""

    instance_id: str
    uuid: str
    instance_type: str
    vcpus: int
    memory_mib: int
    accelerator: Accelerator
    boot_mode: BootMode
    disks: tuple[DiskSpec, ...]
    nics: tuple[NicSpec, ...]
    uid: int | None

    def __post_init__(self) -> None:
        slots = [disk.slot for disk in self.disks] + [nic.slot for nic in self.nics]
        if len(set(slots)) != len(slots):
            raise ValueError("two devices in one slot")

    def to_json(self) -> str:
        """The spec as one JSON object; ``from_json`` reads it back."""
        return json.dumps(asdict(self), default=str, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "MachineSpec":
        """Read what ``to_json`` wrote; ValueError, KeyError or TypeError when it is something else."""
        values: dict[str, Any] = json.loads(text)
        values["accelerator"] = Accelerator(values["accelerator"])
        values["boot_mode"] = BootMode(values["boot_mode"])
        values["disks"] = tuple(_disk_from(disk) for disk in values["disks"])
        values["nics"] = tuple(NicSpec(**nic) for nic in values["nics"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class CaptureDisk:
    """One disk to capture.

    ``scratch`` is a qcow2 that will be created (in a directory of the machine's uid) to hold clusters the
    guest overwrites meanwhile. ``bitmap_since`` names the earlier snapshot of this volume whose
    changes-since bitmap is wanted.
    """

    volume_id: str
    snapshot_id: str
    scratch: Path
    bitmap_since: str | None = None


@dataclass(frozen=True, kw_only=True)
class DiskView:
    """A point-in-time, read-only view of one disk, served over NBD until the capture ends.

    Contexts besides ``base:allocation``: ``dirty_context`` (only if ``has_dirty_bitmap``: dirty = changed
    since the asked-for snapshot) and ``qemu:allocation-depth``, where 0 is a hole, values below
    ``base_depth`` come from the overlay and values from it on come from the base. ``base_depth`` is None
    when there is no base.
    """

    volume_id: str
    snapshot_id: str
    socket: Path
    export_name: str
    size_bytes: int
    has_dirty_bitmap: bool
    dirty_context: str | None
    base_depth: int | None


def _check_slot(slot: int) -> None:
    if not 0 <= slot < SLOT_COUNT:
        raise ValueError(f"slot {slot} is not in 0..{SLOT_COUNT - 1}")


def _disk_from(values: dict[str, Any]) -> DiskSpec:
    base = values["base"]
    return DiskSpec(**{**values, "overlay": Path(values["overlay"]), "base": Path(base) if base else None})
