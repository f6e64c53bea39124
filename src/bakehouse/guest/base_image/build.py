"""Build a base image: Debian from its own archive to a disk that boots by itself.

Invariant: ``output`` is whole or absent; scratch files are gone when ``build_base_image`` returns or raises.
"""

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources.abc import Traversable
from pathlib import Path
from uuid import UUID, uuid4

from bakehouse.errors import PartError
from bakehouse.guest.base_image import apt_configuration, boot_disk, recipe, root_filesystem
from bakehouse.guest.base_image.apt_configuration import KEYRING, AptConfiguration, read_host_configuration
from bakehouse.guest.base_image.boot_disk import (
    Layout,
    write_bios_grub,
    write_efi_system,
    write_partition_table,
)
from bakehouse.guest.base_image.recipe import DEFAULT_RELEASE, DEFAULT_USER, Recipe, finish_script, tree
from bakehouse.guest.base_image.root_filesystem import (
    Progress,
    fill_root_tree,
    make_root_filesystem,
    remove_tree,
)

_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "mformat": "mtools",
    "mcopy": "mtools",
}
_PROGRAMS_WITHOUT_ROOT = {"unshare": "util-linux", "newuidmap": "uidmap", "newgidmap": "uidmap"}
_SBIN = ("/usr/sbin", "/sbin")


class BaseImageError(PartError):
    """A base image cannot be built on this host; the message names the remedy."""


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """What was built, in the words of EC2's Image shape."""

    name: str
    description: str
    architecture: str
    boot_mode: str
    root_device_name: str
    size_bytes: int
    default_user: str
    inputs_digest: str


def build_base_image(output: Path, *, release: str = DEFAULT_RELEASE, scratch: Path, progress: Progress) -> BaseImage:
    """Build the raw, sparse disk image of Debian ``release`` at ``output``.

    ``scratch`` is a directory for temporary files (2 GiB), on the same filesystem as ``output``;
    ``progress`` gets what is being done and the fraction done (0 to 1). Raises BaseImageError (something is
    missing on this host) or RootFilesystemError, BootDiskError, CommandFailed (a step failed).
    """
    require_known(release)
    plan = Recipe(release=release)
    require_programs()
    _require_keys(release)
    apt = read_host_configuration(release)
    scratch.mkdir(parents=True, exist_ok=True)
    with _scratch_directory(scratch) as work:
        disk = _make_disk(plan, apt, work, progress)
        progress("writing the image", 0.98)
        _sync(disk)
        disk.replace(output)
    progress("done", 1.0)
    return _describe(plan, inputs_digest(release))


def inputs_digest(release: str = DEFAULT_RELEASE) -> str:
    """A hash (hex) of everything on this host that decides the image: recipe, files, code, apt configuration.

    Debian's archive moves on without changing it: an image with the same digest is as good, not as new.
    """
    digest = hashlib.sha256()
    apt = read_host_configuration(release)
    for part in (repr(Recipe(release=release)), apt.sources):
        digest.update(part.encode() + b"\0")
    for path, content in sorted(apt.files.items()):
        digest.update(str(path).encode() + b"\0" + content + b"\0")
    for name, content in (*_contents(tree(), "tree"), ("finish", finish_script().read_bytes())):
        digest.update(name.encode() + b"\0" + content + b"\0")
    for module in (apt_configuration, boot_disk, root_filesystem):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def require_known(release: str) -> None:
    """Raise BaseImageError naming the releases that there are recipes for."""
    if release not in recipe.DEBIAN_VERSIONS:
        known = ", ".join(recipe.DEBIAN_VERSIONS)
        raise BaseImageError(f"no recipe for Debian release {release!r} (there are: {known})")


def require_programs() -> None:
    """Raise BaseImageError naming the Debian packages that this host lacks."""
    needed = {**_PROGRAMS, **({} if os.geteuid() == 0 else _PROGRAMS_WITHOUT_ROOT)}
    search = os.pathsep.join((os.environ.get("PATH", ""), *_SBIN))
    missing = sorted({needed[program] for program in needed if not shutil.which(program, path=search)})
    if missing:
        raise BaseImageError(f"to build a base image, install: apt-get install {' '.join(missing)}")
    if platform.machine() != "x86_64":
        raise BaseImageError(f"base images are built for x86_64 on x86_64; this host is {platform.machine()}")


def _require_keys(release: str) -> None:
    """Debian 12's first keyring did not have Debian 13's keys yet."""
    own = KEYRING.with_name(f"debian-archive-{release}-stable.gpg")
    if not (KEYRING.exists() and own.exists()):
        raise BaseImageError(
            f"the keys of Debian {release} are missing: apt-get update && apt-get install debian-archive-keyring"
        )


@contextmanager
def _scratch_directory(parent: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="base-image-", dir=parent))
    work.chmod(0o711)  # apt downloads as its own unprivileged user, who must be able to pass
    try:
        yield work
    finally:
        remove_tree(work)


def _make_disk(plan: Recipe, apt: AptConfiguration, work: Path, progress: Progress) -> Path:
    """Fill a root tree and lay the disk around it; the result lies in ``work``."""
    layout = Layout(size_bytes=plan.size_bytes, disk_id=uuid4())
    root_id: UUID = uuid4()
    root = fill_root_tree(
        plan, apt, root_id=root_id, scratch=work, progress=lambda text, part: progress(text, part * 0.9)
    )
    progress("making the root filesystem", 0.88)
    disk = work / "disk.raw"
    with disk.open("xb") as file:
        file.truncate(plan.size_bytes)
    disk.chmod(0o600)
    place = layout.root
    make_root_filesystem(root, disk, root_id=root_id, offset_bytes=place.start_bytes, size_bytes=place.size_bytes)
    progress("making the disk bootable", 0.95)
    write_partition_table(disk, layout)
    write_efi_system(disk, layout, root.efi_files)
    write_bios_grub(disk, layout, boot_image=root.boot_image, core_image=root.core_image)
    return disk


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _describe(plan: Recipe, digest: str) -> BaseImage:
    day = datetime.now(UTC).strftime("%Y%m%d")
    return BaseImage(
        name=f"debian-{plan.debian_version}-amd64-{day}",
        description=f"Debian {plan.debian_version} ({plan.release}) amd64",
        architecture="x86_64",
        boot_mode="legacy-bios",
        root_device_name="/dev/xvda",
        size_bytes=plan.size_bytes,
        default_user=DEFAULT_USER,
        inputs_digest=digest,
    )


def _contents(directory: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _contents(entry, path)
        else:
            yield path, entry.read_bytes()
