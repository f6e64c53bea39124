"""The bytes around the root filesystem, and what decides that an image is built anew."""

import struct
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from bakehouse.guest.base_image import boot_disk, recipe
from bakehouse.guest.base_image.boot_disk import BootDiskError, Layout, first_stage, located_core
from bakehouse.guest.base_image.recipe import MIB, SECTOR_BYTES

PROGRAMS = ("usr/lib/bakehouse/*", "etc/initramfs-tools/*/*/*", "etc/initramfs-tools/hooks/*", "etc/grub.d/*")
LAYOUT = Layout(size_bytes=8192 * MIB, disk_id=UUID(int=7))


def test_the_root_partition_is_number_one_and_lies_last_so_that_it_can_grow() -> None:
    parts = sorted((LAYOUT.root, LAYOUT.bios_boot, LAYOUT.efi_system), key=lambda part: part.start_bytes)
    assert [part.number for part in parts] == [14, 15, 1]
    for part, following in pairwise(parts):
        assert part.start_bytes + part.size_bytes == following.start_bytes
    assert parts[-1].start_bytes + parts[-1].size_bytes == LAYOUT.size_bytes - MIB


def test_every_partition_begins_at_a_whole_mebibyte() -> None:
    for part in (LAYOUT.root, LAYOUT.bios_boot, LAYOUT.efi_system):
        assert part.start_bytes % MIB == 0
        assert f"{part.number} : start={part.start_bytes // SECTOR_BYTES}," in LAYOUT.sfdisk_script()


def test_the_first_stage_points_at_the_core_image_and_leaves_the_partition_table_alone() -> None:
    code = first_stage(bytes(SECTOR_BYTES), core_sector=2048)
    assert len(code) == 440
    assert struct.unpack_from("<Q", code, 0x5C) == (2048,)
    assert code[0x66:0x68] == b"\x90\x90"


def test_the_core_image_knows_where_its_rest_lies() -> None:
    core = located_core(b"\xaa" * (SECTOR_BYTES * 3 + 1), core_sector=2048)
    assert len(core) == 4 * SECTOR_BYTES
    assert struct.unpack_from("<QHH", core, SECTOR_BYTES - 12) == (2049, 3, 0x820)


def test_a_core_image_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    too_large = bytes(LAYOUT.bios_boot.size_bytes + 1)
    with pytest.raises(BootDiskError, match="core image"):
        boot_disk.write_bios_grub(disk, LAYOUT, boot_image=bytes(SECTOR_BYTES), core_image=too_large)


def test_a_boot_image_of_another_size_is_refused() -> None:
    with pytest.raises(BootDiskError, match=r"boot\.img"):
        first_stage(b"short", core_sector=1)


def test_no_file_of_the_image_holds_a_key_or_a_password_hash() -> None:
    tree = Path(str(recipe.tree()))
    for path in (path for path in tree.rglob("*") if path.is_file()):
        text = path.read_text()
        assert "PRIVATE KEY" not in text
        assert "$6$" not in text
        assert "$y$" not in text


def test_programs_in_the_images_files_are_known_by_their_first_line() -> None:
    tree = Path(str(recipe.tree()))
    for path in (path for pattern in PROGRAMS for path in tree.glob(pattern)):
        assert path.read_text().startswith("#!"), path


def test_what_comes_after_ssh_is_nothing_that_ssh_itself_waits_for() -> None:
    """systemd drops a job out of an ordering cycle, which may be sshd's."""
    script = recipe.finish_script().read_text()
    listed = script.split("start_after_ssh systemd", 1)[1].split("\n    for ", 1)[0].replace("\\\n", " ")
    later = set(("systemd" + listed).split())
    front = {"systemd-udevd.service", "systemd-networkd.service", "ec2-identity.service", "ec2-network-device.service"}
    assert "systemd-udev-trigger.service" in later
    assert not later & (front | {"tmp.mount", "ssh.service", "systemd-journald.service"})


def test_a_build_relies_on_no_directory_that_a_clone_does_not_have() -> None:
    """Git keeps no empty directories: what is made in one belongs to the finish script."""
    directories = [path for path in Path(str(recipe.tree())).rglob("*") if path.is_dir()]
    assert directories
    assert [path for path in directories if not any(path.iterdir())] == []
