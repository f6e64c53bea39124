"""Volumes: a directory with one qcow2 overlay, which belongs to the machine that has the volume attached.

Invariant: qemu-img opens an overlay only under the unprivileged uid that owns it, because a guest may have
written its header. No overlay names a backing file: the machine's command line gives the base.
"""

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from bakehouse.host.files import make_private_directory
from bakehouse.host.run import CommandFailed, Credentials, run
from bakehouse.paths import VolumeDirectory
from bakehouse.storage.errors import StorageError, StorageFull, os_errors_translated

_QEMU_IMG_TIMEOUT_S = 30
# How every qcow2 of ours begins: the format's name, version 3.
_MAGIC = b"QFI\xfb\0\0\0\3"


def create_overlay(volume: VolumeDirectory, *, size_bytes: int, uid: int | None = None) -> Path:
    """Make the volume's directory and its empty overlay; nothing happens when the overlay is there already.

    Takes the same time for every size. ``uid`` None: everything belongs to us (rootless). StorageFull.
    """
    if volume.disk.exists():
        return volume.disk
    with os_errors_translated(f"creating {volume.root.name}"):
        make_private_directory(volume.root, owner=uid)
        # Under another name first: a qemu-img killed half-way must not leave an overlay that looks done.
        with suppress(FileNotFoundError):
            volume.disk_part.unlink()
    _qemu_img(volume, uid, "create", "-q", "-f", "qcow2", volume.disk_part.name, str(size_bytes))
    with os_errors_translated(f"creating {volume.root.name}"):
        volume.disk_part.rename(volume.disk)
    return volume.disk


def give_to(volume: VolumeDirectory, uid: int | None) -> None:
    """Hand the volume's directory and files to another uid (idempotent); nothing to do when rootless.

    Its last owner may be hostile: links are neither followed nor handed over, nor anything but plain files.
    """
    if uid is None or os.geteuid() != 0:
        return
    with os_errors_translated(f"handing over {volume.root.name}"):
        folder = os.open(volume.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # First the directory: from now on the last owner can swap nothing below it.
            os.fchown(folder, 0, 0)
            for name in os.listdir(folder):  # noqa: PTH208  # through the descriptor: the path may be swapped
                _give_file(folder, name, uid)
            os.fchown(folder, uid, uid)
        finally:
            os.close(folder)


def delete(volume: VolumeDirectory) -> None:
    """Remove the volume's files (idempotent)."""
    with os_errors_translated(f"deleting {volume.root.name}"), suppress(FileNotFoundError):
        shutil.rmtree(volume.root)


def allocated_bytes(volume: VolumeDirectory) -> int:
    """Return what the volume takes on this host's disk, captures included; 0 when it is not there."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(volume.root) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def find_damage(volume: VolumeDirectory) -> str | None:
    """What is visibly wrong with the volume's overlay; None when it is there and begins as one does."""
    try:
        descriptor = os.open(volume.disk, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"the volume's file cannot be opened ({error.strerror})"
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or os.read(descriptor, len(_MAGIC)) != _MAGIC:
            return "the volume's file is damaged"
    finally:
        os.close(descriptor)
    return None


def _give_file(folder: int, name: str, uid: int) -> None:
    """Chown one plain file with a single name; O_PATH, so that nothing is opened that should not be."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise StorageError(f"{name} in a volume's directory is not a plain file")
        os.chown(f"/proc/self/fd/{descriptor}", uid, uid)
    finally:
        os.close(descriptor)


def _qemu_img(volume: VolumeDirectory, uid: int | None, *words: str) -> None:
    """Run qemu-img inside the volume's directory, so that its uid need not be able to reach it by path."""
    credentials = Credentials(uid=uid, gid=uid) if uid is not None and os.geteuid() == 0 else None
    try:
        run(
            ["qemu-img", *words],
            directory=volume.root,
            credentials=credentials,
            timeout_s=_QEMU_IMG_TIMEOUT_S,
        )
    except CommandFailed as error:
        kind = StorageFull if os.strerror(errno.ENOSPC) in error.stderr else StorageError
        raise kind(f"{volume.root.name}: {error}") from error
