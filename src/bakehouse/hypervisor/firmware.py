"""Where the host keeps the firmware files QEMU boots from."""

from dataclasses import dataclass
from pathlib import Path

from bakehouse.hypervisor.spec import BootMode, MachineError

# Debian's package ovmf, then Fedora's edk2-ovmf and Arch's edk2; code and its variable store belong together.
_UEFI_CANDIDATES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
)


@dataclass(frozen=True, kw_only=True)
class UefiFirmware:
    """OVMF's read-only code and the template of a machine's own variable store."""

    code: Path
    variables_template: Path


def find_uefi_firmware() -> UefiFirmware | None:
    """The host's OVMF, or None."""
    for code, variables in _UEFI_CANDIDATES:
        if Path(code).is_file() and Path(variables).is_file():
            return UefiFirmware(code=Path(code), variables_template=Path(variables))
    return None


def get_firmware(boot_mode: BootMode) -> UefiFirmware | None:
    """The files ``boot_mode`` needs: None for SeaBIOS, which QEMU finds itself; MachineError without OVMF."""
    if boot_mode is BootMode.LEGACY_BIOS:
        return None
    firmware = find_uefi_firmware()
    if firmware is None:
        raise MachineError("UEFI machines need OVMF (Debian package ovmf)")
    return firmware
