"""What goes into a base image: the releases we know, their packages, the disk's layout.

Invariant: everything that decides an image's content is in a ``Recipe`` or in the files beside this module,
so that ``inputs_digest`` changes when a rebuilt image would.
"""

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

#: Debian packages a host needs to build an image (``doctor`` and the set-up read it).
DEBIAN_PACKAGES = ("mmdebstrap", "e2fsprogs", "fdisk", "mtools", "debian-archive-keyring")
#: What an ordinary user needs besides: newuidmap and a range in /etc/subuid.
DEBIAN_PACKAGES_WITHOUT_ROOT = ("uidmap",)

DEBIAN_VERSIONS = {"bookworm": 12, "trixie": 13}
#: The stable Debian that boots fastest under TCG; docs/decisions/0010-base-image.md has the figures.
DEFAULT_RELEASE = "bookworm"
DEFAULT_USER = "admin"

PACKAGES = (
    # the machine: kernel, bootloader for both firmwares, init
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "zstd",
    "grub-cloud-amd64",
    "systemd-sysv",
    "systemd-resolved",
    "dbus",
    "udev",
    "libpam-systemd",
    "libnss-myhostname",
    "systemd-timesyncd",
    # what EC2 users count on
    "cloud-init",
    "cloud-guest-utils",
    "fdisk",
    "openssh-server",
    "qemu-guest-agent",
    "sudo",
    "ca-certificates",
    "curl",
    "iproute2",
    "iputils-ping",
    "less",
    "nano",
    "procps",
    "python3",
)

SECTOR_BYTES = 512
MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One base image: which Debian, how large a disk."""

    release: str = DEFAULT_RELEASE
    size_bytes: int = 8 * 1024 * MIB
    packages: tuple[str, ...] = PACKAGES

    @property
    def debian_version(self) -> int:
        """The release's number, as in the image's name."""
        return DEBIAN_VERSIONS[self.release]


def tree() -> Traversable:
    """Files laid over the root filesystem, at the paths they have there."""
    return files(__package__).joinpath("tree")


def finish_script() -> Traversable:
    """The shell script that runs inside the root filesystem when all packages are there."""
    return files(__package__).joinpath("finish.sh")
