"""Volumes on disk: overlays made, grown, handed over and removed, as the uid that owns them."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from bakehouse.paths import VolumeDirectory
from bakehouse.storage import volumes
from bakehouse.storage.errors import StorageError

GIB = 1 << 30

pytestmark = pytest.mark.programs
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another uid")


@pytest.fixture
def volume(tmp_path: Path) -> VolumeDirectory:
    return VolumeDirectory(root=tmp_path / "volumes" / "vol-1")


def image_info(path: Path) -> dict[str, object]:
    output = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True).stdout
    info: dict[str, object] = json.loads(output)
    return info


def test_an_overlay_has_its_size_and_names_no_backing_file(volume: VolumeDirectory) -> None:
    disk = volumes.create_overlay(volume, size_bytes=100 * GIB)
    info = image_info(disk)
    assert (info["format"], info["virtual-size"]) == ("qcow2", 100 * GIB)
    assert "backing-filename" not in info
    assert volumes.allocated_bytes(volume) < 1 << 20
    assert volume.root.stat().st_mode & 0o777 == 0o700


def test_making_an_overlay_again_keeps_what_is_in_it(volume: VolumeDirectory) -> None:
    disk = volumes.create_overlay(volume, size_bytes=GIB)
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", disk], check=True, capture_output=True)
    before = disk.read_bytes()
    volumes.create_overlay(volume, size_bytes=GIB)
    assert disk.read_bytes() == before


def test_what_a_killed_creation_left_is_replaced(volume: VolumeDirectory) -> None:
    volume.root.mkdir(parents=True)
    volume.disk_part.write_bytes(b"half a header")
    assert image_info(volumes.create_overlay(volume, size_bytes=GIB))["virtual-size"] == GIB
    assert not volume.disk_part.exists()


def test_deleting_a_volume_twice_is_no_error(volume: VolumeDirectory) -> None:
    volumes.create_overlay(volume, size_bytes=GIB)
    volumes.delete(volume)
    volumes.delete(volume)
    assert not volume.root.exists()
    assert volumes.allocated_bytes(volume) == 0


def test_visible_damage_of_an_overlay_is_found(volume: VolumeDirectory, tmp_path: Path) -> None:
    assert volumes.find_damage(volume) == "the volume's file cannot be opened (No such file or directory)"
    disk = volumes.create_overlay(volume, size_bytes=GIB)
    assert volumes.find_damage(volume) is None
    disk.rename(tmp_path / "sound")
    disk.symlink_to(tmp_path / "sound")
    assert volumes.find_damage(volume) is not None, "a link a guest may have left is not followed"
    disk.unlink()
    for damage in (b"", b"QFI", bytes(1 << 20)):
        disk.write_bytes(damage)
        assert volumes.find_damage(volume) == "the volume's file is damaged"
    disk.unlink()
    os.mkfifo(disk)
    assert volumes.find_damage(volume) == "the volume's file is damaged"


@needs_root
def test_an_overlay_belongs_to_its_uid_and_is_made_below_directories_that_uid_cannot_enter(
    volume: VolumeDirectory,
) -> None:
    volume.root.parent.mkdir(mode=0o700)
    disk = volumes.create_overlay(volume, size_bytes=GIB, uid=1_900_000_007)
    assert (disk.stat().st_uid, disk.stat().st_gid, volume.root.stat().st_uid) == (1_900_000_007,) * 3


@needs_root
def test_a_volume_is_handed_to_another_uid_with_all_its_files(volume: VolumeDirectory) -> None:
    disk = volumes.create_overlay(volume, size_bytes=GIB, uid=1_900_000_007)
    volume.capture("snap-1").write_bytes(b"")
    for _ in range(2):
        volumes.give_to(volume, 1_900_000_008)
    assert {path.stat().st_uid for path in (disk, volume.root, volume.capture("snap-1"))} == {1_900_000_008}


@needs_root
@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "fifo"])
def test_a_link_a_hostile_machine_left_is_not_handed_over(volume: VolumeDirectory, tmp_path: Path, kind: str) -> None:
    volumes.create_overlay(volume, size_bytes=GIB, uid=1_900_000_007)
    secret = tmp_path / "shadow"
    secret.write_text("secret")
    trap = volume.root / "trap"
    if kind == "symbolic link":
        trap.symlink_to(secret)
    elif kind == "hard link":
        trap.hardlink_to(secret)
    else:
        os.mkfifo(trap)
    with pytest.raises(StorageError, match="trap"):
        volumes.give_to(volume, 1_900_000_008)
    assert secret.stat().st_uid == 0


@needs_root
def test_a_volume_directory_that_became_a_link_is_not_followed(volume: VolumeDirectory, tmp_path: Path) -> None:
    volume.root.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    volume.root.symlink_to(elsewhere)
    with pytest.raises(StorageError):
        volumes.give_to(volume, 1_900_000_008)
    assert elsewhere.stat().st_uid == 0
