"""The disk around the root filesystem: a GUID partition table, GRUB for SeaBIOS, a system partition for UEFI.

Layout, as in Debian's own cloud images: root is partition 1 and lies last, so that growpart can enlarge it;
14 holds GRUB's core image for BIOS; 15 is the EFI system partition. Everything is written into a plain file:
no loop device, no mount.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bakehouse.errors import PartError
from bakehouse.guest.base_image.recipe import MIB, SECTOR_BYTES
from bakehouse.host.run import run

_LINUX_ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"

# GRUB's boot.img and diskboot.img keep these for the one who installs them (grub-core/boot/i386/pc/*.S).
_BOOT_CODE_BYTES = 440  # the rest of the sector is the partition table's
_KERNEL_SECTOR_OFFSET = 0x5C  # boot.img: u64, first sector of core.img
_BOOT_DRIVE_CHECK_OFFSET = 0x66  # boot.img: a jump that trusts only drive numbers of hard disks
_BLOCK_LIST_OFFSET = SECTOR_BYTES - 12  # diskboot.img: u64 sector, u16 sectors, u16 segment
_CORE_SEGMENT = 0x820


class BootDiskError(PartError):
    """The disk around the root filesystem could not be made."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition: its number, where it lies (bytes), its GPT type."""

    number: int
    start_bytes: int
    size_bytes: int
    type_id: str
    name: str

    @property
    def first_sector(self) -> int:
        """Where it begins, in sectors."""
        return self.start_bytes // SECTOR_BYTES


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The three partitions of a disk of ``size_bytes``."""

    size_bytes: int
    disk_id: UUID

    @property
    def bios_boot(self) -> Partition:
        """Raw room for GRUB's core image."""
        return Partition(number=14, start_bytes=MIB, size_bytes=3 * MIB, type_id=_BIOS_BOOT, name="bios")

    @property
    def efi_system(self) -> Partition:
        """FAT32 with Debian's signed loaders."""
        return Partition(number=15, start_bytes=4 * MIB, size_bytes=124 * MIB, type_id=_EFI_SYSTEM, name="esp")

    @property
    def root(self) -> Partition:
        """The rest, less the last MiB, where the backup partition table lies."""
        start = 128 * MIB
        size = self.size_bytes - start - MIB
        return Partition(number=1, start_bytes=start, size_bytes=size, type_id=_LINUX_ROOT_X86_64, name="root")

    def sfdisk_script(self) -> str:
        """The table as sfdisk(8) reads it."""
        lines = [
            "label: gpt",
            f"label-id: {self.disk_id}",
            "unit: sectors",
            f"sector-size: {SECTOR_BYTES}",
            "",
        ]
        lines += [
            f"{part.number} : start={part.first_sector}, size={part.size_bytes // SECTOR_BYTES}, "
            f'type={part.type_id}, name="{part.name}"'
            for part in (self.root, self.bios_boot, self.efi_system)
        ]
        return "\n".join(lines) + "\n"


def write_partition_table(disk: Path, layout: Layout) -> None:
    """Write protective MBR and both GPTs into the file ``disk``, which has its full size already."""
    run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk], stdin=layout.sfdisk_script())


def write_bios_grub(disk: Path, layout: Layout, *, boot_image: bytes, core_image: bytes) -> None:
    """Put GRUB's first stage into the MBR's code area and its core image into the BIOS boot partition.

    What grub-bios-setup does, for a disk that is a file: the first stage learns where core.img begins, and
    core.img's first sector learns where the rest of it lies (right behind, in one piece).
    """
    place = layout.bios_boot
    if len(core_image) > place.size_bytes:
        raise BootDiskError(f"GRUB's core image has {len(core_image)} bytes; its partition {place.size_bytes}")
    with disk.open("r+b") as file:
        file.write(first_stage(boot_image, core_sector=place.first_sector))
        file.seek(place.start_bytes)
        file.write(located_core(core_image, core_sector=place.first_sector))


def first_stage(boot_image: bytes, *, core_sector: int) -> bytes:
    """boot.img's code, pointed at core.img (440 bytes)."""
    if len(boot_image) != SECTOR_BYTES:
        raise BootDiskError(f"GRUB's boot.img has {len(boot_image)} bytes instead of {SECTOR_BYTES}")
    code = bytearray(boot_image[:_BOOT_CODE_BYTES])
    struct.pack_into("<Q", code, _KERNEL_SECTOR_OFFSET, core_sector)
    # Two no-operations instead of the jump: believe the BIOS only when it names a hard disk.
    code[_BOOT_DRIVE_CHECK_OFFSET : _BOOT_DRIVE_CHECK_OFFSET + 2] = b"\x90\x90"
    return bytes(code)


def located_core(core_image: bytes, *, core_sector: int) -> bytes:
    """core.img with the block list of its first sector filled in, padded to whole sectors."""
    sectors = -(-len(core_image) // SECTOR_BYTES)
    core = bytearray(core_image.ljust(sectors * SECTOR_BYTES, b"\0"))
    struct.pack_into("<QHH", core, _BLOCK_LIST_OFFSET, core_sector + 1, sectors - 1, _CORE_SEGMENT)
    return bytes(core)


def write_efi_system(disk: Path, layout: Layout, contents: Path) -> None:
    """Make the FAT32 filesystem of the system partition and copy the directory ``contents`` into it."""
    part = layout.efi_system
    drive = f"{disk}@@{part.start_bytes}"
    geometry = ["-T", str(part.size_bytes // SECTOR_BYTES), "-H", str(part.first_sector), "-c", "1"]
    names = ["-N", layout.disk_id.hex[:8], "-v", "UEFI"]
    run(["mformat", "-i", drive, "-F", *geometry, *names, "::"])
    run(["mcopy", "-i", drive, "-s", "-Q", *sorted(contents.iterdir()), "::/"])
