"""The root filesystem: a directory filled by mmdebstrap from Debian's archive, then ext4 made from it.

Both run in a mount namespace of their own: what mmdebstrap mounts below the root directory ends with it, also when
it is killed. An ordinary user's is in a user namespace in which he is root and has the ids of /etc/subuid, so that
files get their true owners.
"""

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path
from uuid import UUID

from bakehouse.errors import PartError
from bakehouse.guest.base_image.apt_configuration import AptConfiguration
from bakehouse.guest.base_image.recipe import Recipe, finish_script, tree
from bakehouse.host.run import CommandFailed, run, start_program

Progress = Callable[[str, float], None]

ROOT_LABEL = "cloudimg-rootfs"
_IN_NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_AS_NAMESPACE_ROOT = ("--user", "--map-root-user", "--map-auto")
# What mmdebstrap says (stderr, "I: ...") -> what we say, and how far the root filesystem then is.
_PHASES = (
    ("running apt-get update", "reading Debian's package lists", 0.02),
    ("downloading packages", "downloading packages", 0.06),
    ("extracting archives", "unpacking the essential packages", 0.15),
    ("installing essential packages", "installing the essential packages", 0.22),
    ("installing remaining packages", "installing packages", 0.40),
    ("running --customize-hook", "installing the bootloader", 0.90),
    ("cleaning package lists", "cleaning up", 0.95),
)
_BUILD_TIMEOUT_S = 3600


class RootFilesystemError(PartError):
    """The root filesystem could not be filled or made; the message has the last lines of the log."""


@dataclass(frozen=True, kw_only=True)
class RootTree:
    """A filled root directory, and the boot files that lie outside the root filesystem."""

    directory: Path
    efi_files: Path
    boot_image: bytes
    core_image: bytes


@dataclass(frozen=True, kw_only=True)
class BuildDirectory:
    """The scratch files of one build."""

    path: Path

    @property
    def root(self) -> Path:
        """What becomes the root filesystem."""
        return self.path / "root"

    @property
    def overlay(self) -> Path:
        """Our own files, laid over the root filesystem."""
        return self.path / "overlay"

    @property
    def efi_files(self) -> Path:
        """What becomes the EFI system partition."""
        return self.path / "efi"

    @property
    def bios_files(self) -> Path:
        """GRUB's two images for BIOS."""
        return self.path / "bios"

    @property
    def sources(self) -> Path:
        """Where packages come from, during the build and in the image."""
        return self.path / "debian.sources"

    @property
    def log(self) -> Path:
        """What mmdebstrap says."""
        return self.path / "mmdebstrap.log"


def as_owner(argv: Sequence[str | Path]) -> list[str | Path]:
    """``argv``, run with the right to give files to any owner (see the module's docstring)."""
    return [*_IN_NAMESPACE, *(() if os.geteuid() == 0 else _AS_NAMESPACE_ROOT), *argv]


def fill_root_tree(
    recipe: Recipe, apt: AptConfiguration, *, root_id: UUID, scratch: Path, progress: Progress
) -> RootTree:
    """Install Debian into ``scratch``/root, configure it, and take the boot files out of it."""
    place = BuildDirectory(path=scratch)
    for directory in (place.efi_files, place.bios_files, place.overlay):
        directory.mkdir()
    _write_overlay(tree(), apt, place.overlay)
    place.sources.write_text(apt.sources)
    with as_file(finish_script()) as finish:
        _run_mmdebstrap(mmdebstrap_command(recipe, place, finish=finish, root_id=root_id), place.log, progress)
    return RootTree(
        directory=place.root,
        efi_files=place.efi_files,
        boot_image=(place.bios_files / "boot.img").read_bytes(),
        core_image=(place.bios_files / "core.img").read_bytes(),
    )


def mmdebstrap_command(recipe: Recipe, place: BuildDirectory, *, finish: Path, root_id: UUID) -> list[str | Path]:
    """The command that fills the root directory; hooks are shell, with that directory as ``$1``."""
    overlay, efi_files, bios_files, script = (
        shlex.quote(str(path)) for path in (place.overlay, place.efi_files, place.bios_files, finish)
    )
    take_boot_files = (
        f'mv "$1"/boot/efi/* {efi_files}/'
        f' && cp "$1"/boot/grub/i386-pc/boot.img "$1"/boot/grub/i386-pc/core.img {bios_files}/'
    )
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        "--format=directory",
        f"--include={','.join(recipe.packages)}",
        # Before any other package is there: then the initial ramdisk is made once, and already as we want it.
        f'--essential-hook=cp -R --no-preserve=ownership --no-dereference {overlay}/. "$1/"',
        f'--customize-hook=cp {script} "$1/finish.sh" && ROOT_UUID={root_id} chroot "$1" sh /finish.sh',
        f'--customize-hook=rm "$1/finish.sh" && {take_boot_files}',
        recipe.release,
        place.root,
        place.sources,
    ]


def _run_mmdebstrap(argv: Sequence[str | Path], log: Path, progress: Progress) -> None:
    with start_program(as_owner(argv), log=log) as process:
        deadline = time.monotonic() + _BUILD_TIMEOUT_S
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise RootFilesystemError(f"mmdebstrap did not finish within {_BUILD_TIMEOUT_S} s")
            progress(*_phase(log.read_text(errors="replace")))
            time.sleep(0.5)
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RootFilesystemError(f"mmdebstrap failed (exit code {process.returncode}):\n{tail}")


def make_root_filesystem(root: RootTree, disk: Path, *, root_id: UUID, offset_bytes: int, size_bytes: int) -> None:
    """Make ext4 with the tree's content inside the (sparse, all-zero) file ``disk``, at ``offset_bytes``."""
    block_bytes = 4096
    features = f"offset={offset_bytes},lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", str(block_bytes), "-L", ROOT_LABEL, "-U", str(root_id)]
    argv += ["-m", "1", "-E", features, "-d", str(root.directory), str(disk), str(size_bytes // block_bytes)]
    try:
        run(as_owner(argv), timeout_s=600)
    except CommandFailed as error:
        raise RootFilesystemError(str(error)) from error


def remove_tree(directory: Path) -> None:
    """Delete a directory that may hold files of other owners."""
    if directory.exists():
        run(as_owner(["rm", "-rf", "--one-file-system", "--", directory]), timeout_s=300)


def _write_overlay(source: Traversable, apt: AptConfiguration, overlay: Path) -> None:
    _copy(source, overlay)
    for path, content in apt.files.items():
        target = overlay / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for path in (overlay, *overlay.rglob("*")):
        is_program = path.is_file() and path.read_bytes().startswith(b"#!")
        path.chmod(0o755 if path.is_dir() or is_program else 0o644)


def _copy(source: Traversable, target: Path) -> None:
    for entry in source.iterdir():
        if entry.is_dir():
            (target / entry.name).mkdir(exist_ok=True)
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())


def _phase(log: str) -> tuple[str, float]:
    current = ("starting mmdebstrap", 0.0)
    for said, saying, fraction in _PHASES:
        if said in log:
            current = (saying, fraction)
    return current
