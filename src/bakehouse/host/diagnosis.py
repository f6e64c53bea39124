"""What this host can do: the checks behind ``bakehouse doctor``.

Invariant: reading only. The few programs that run here (``--version``, a throwaway namespace) change nothing
and leave nothing behind.
"""

import grp
import os
import pwd
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path

from bakehouse.host.endpoint import find_endpoint
from bakehouse.host.memory import machine_overhead_mib
from bakehouse.host.run import CommandFailed, run
from bakehouse.settings import Settings

_GIB = 1024**3
_T3_MICRO_MIB = 1024
_OLDEST_QEMU = (7, 2)
_LOW_PORTS_FROM = 22  # the lowest port people open to the world on every machine
_LOOPBACK = IPv4Network("127.0.0.0/8")


class Status(StrEnum):
    """How good a finding is: warnings take something away, errors stop the service or a launch."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at. ``remedy`` is a command or a sentence, empty when all is well."""

    check: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class ProbedAccelerator:
    """What the machine probe answered on this boot of the host: ``kvm`` or ``tcg``, and why."""

    accelerator: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Need:
    """A program (looked up on PATH) or file, and the Debian package that brings it."""

    package: str
    any_of: tuple[str, ...]
    purpose: str


# requirements/debian.txt lists the same packages (a test holds it).
NEEDS = (
    Need(package="qemu-system-x86", any_of=("qemu-system-x86_64",), purpose="machines"),
    Need(package="qemu-utils", any_of=("qemu-img",), purpose="volumes"),
    Need(
        package="seabios",
        any_of=("/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin"),
        purpose="firmware of legacy-bios images",
    ),
    Need(
        package="ovmf",
        any_of=("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"),
        purpose="firmware of uefi images",
    ),
    Need(package="nftables", any_of=("nft",), purpose="security groups"),
    Need(package="iproute2", any_of=("ip",), purpose="networks"),
    Need(package="slirp4netns", any_of=("slirp4netns",), purpose="the machines' way to the internet"),
    Need(package="openssh-client", any_of=("ssh",), purpose="bakehouse ssh"),
    Need(package="mmdebstrap", any_of=("mmdebstrap",), purpose="base images"),
    Need(
        package="debian-archive-keyring",
        any_of=(
            "/usr/share/keyrings/debian-archive-keyring.gpg",
            "/usr/share/keyrings/debian-archive-keyring.pgp",
        ),
        purpose="base images",
    ),
    Need(package="e2fsprogs", any_of=("mke2fs",), purpose="base images"),
    Need(package="fdisk", any_of=("sfdisk",), purpose="base images"),
    Need(package="mtools", any_of=("mcopy",), purpose="base images"),
)
ROOTLESS_NEEDS = (Need(package="uidmap", any_of=("newuidmap",), purpose="base images without root"),)


def diagnose(settings: Settings, *, probed: ProbedAccelerator | None = None) -> list[Finding]:
    """Look at everything a host needs; never raises for what it finds. ``probed`` is None before a probe."""
    is_root = os.geteuid() == 0
    checks: Sequence[Callable[[], Iterator[Finding]]] = (
        lambda: _check_service(settings),
        lambda: _check_packages(is_root=is_root),
        _check_qemu,
        lambda: _check_accelerator(settings, probed),
        _check_namespaces,
        lambda: _check_tun(is_root=is_root),
        lambda: _check_low_ports(is_root=is_root),
        lambda: _check_public_network(settings.public_network),
        lambda: _check_sub_uids(is_root=is_root),
        lambda: _check_memory(settings, probed),
        lambda: _check_state_root(settings.state_root, is_root=is_root),
    )
    return [finding for check in checks for finding in check()]


def _ok(check: str, detail: str) -> Finding:
    return Finding(check=check, status=Status.OK, detail=detail)


def _warning(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check=check, status=Status.WARNING, detail=detail, remedy=remedy)


def _error(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check=check, status=Status.ERROR, detail=detail, remedy=remedy)


def _check_service(settings: Settings) -> Iterator[Finding]:
    identity = "root: every machine runs under a uid of its own" if os.geteuid() == 0 else "an ordinary user"
    yield _ok("runs as", identity)
    try:
        endpoint = find_endpoint(settings.state)
    except PermissionError:
        yield _warning(
            "service", f"{settings.state_root} belongs to another user", "run this as that user, or with sudo"
        )
        return
    yield _ok("service", f"runs at {endpoint.url} (pid {endpoint.pid})" if endpoint else "is not running")


def _check_packages(*, is_root: bool) -> Iterator[Finding]:
    needs = NEEDS if is_root else NEEDS + ROOTLESS_NEEDS
    missing = [need for need in needs if not _is_there(need)]
    if not missing:
        yield _ok("packages", f"all {len(needs)} are installed")
        return
    packages = sorted({need.package for need in missing})
    detail = "; ".join(f"{need.package} ({need.purpose})" for need in missing)
    yield _error(
        "packages",
        f"missing: {detail}",
        f"sudo apt-get install --no-install-recommends {' '.join(packages)}",
    )


def _is_there(need: Need) -> bool:
    # An ordinary user's PATH lacks the directories of nft and mkfs on Debian.
    search = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return any(
        Path(name).exists() if name.startswith("/") else shutil.which(name, path=search) is not None
        for name in need.any_of
    )


def _check_qemu() -> Iterator[Finding]:
    try:
        text = run(["qemu-system-x86_64", "--version"], timeout_s=20).stdout
    except CommandFailed as error:
        yield _error("qemu", str(error), "sudo apt-get install --no-install-recommends qemu-system-x86")
        return
    match = re.search(r"version (\d+)\.(\d+)", text)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < _OLDEST_QEMU:
        yield _error("qemu", f"{text.splitlines()[0]} is too old", "install QEMU 7.2 or newer (Debian 12 has it)")
    else:
        yield _ok("qemu", f"{version[0]}.{version[1]}")


def _check_accelerator(settings: Settings, probed: ProbedAccelerator | None) -> Iterator[Finding]:
    device = Path("/dev/kvm")
    slow = "machines are emulated (TCG): right, but some ten times slower"
    if settings.accelerator != "auto":
        yield _ok("acceleration", f"{settings.accelerator}, by the setting `accelerator`")
    elif probed is not None and probed.accelerator == "kvm":
        yield _ok("acceleration", f"KVM: {probed.reason}")
    elif not device.exists():
        yield _warning(
            "acceleration",
            f"there is no /dev/kvm; {slow}",
            "turn on virtualization in the firmware, or nested virtualization where this is itself a guest",
        )
    elif not os.access(device, os.R_OK | os.W_OK):
        yield _warning(
            "acceleration",
            f"/dev/kvm may not be opened; {slow}",
            _way_to_open(device),
        )
    elif probed is not None and "Permission denied" in probed.reason:
        yield _warning(
            "acceleration",
            f"/dev/kvm may not be opened by machines, each of which runs as a user of its own; {slow}",
            f'sudo chmod 0666 {device}; for good: a udev rule KERNEL=="kvm", MODE="0666"',
        )
    elif probed is not None:
        yield _warning(
            "acceleration",
            f"/dev/kvm is there but does not run a guest ({probed.reason}); {slow}",
            "the host's own virtualization is at fault; nothing to set here",
        )
    else:
        yield _ok("acceleration", "/dev/kvm may be opened; whether it works is tried at the first start")


def _way_to_open(device: Path) -> str:
    status = device.stat()
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = ""
    if group == "kvm" and status.st_mode & 0o060 == 0o060:
        return "sudo usermod -aG kvm $USER, then log in anew"
    return f"sudo chmod 0666 {device}"


def _check_namespaces() -> Iterator[Finding]:
    remedy = "sudo sysctl user.max_user_namespaces=15000"
    if _kernel_number("kernel/unprivileged_userns_clone", 1) == 0:
        remedy = "sudo sysctl kernel.unprivileged_userns_clone=1"
    elif _kernel_number("kernel/apparmor_restrict_unprivileged_userns", 0) == 1:
        remedy = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    try:
        run(["unshare", "--user", "--map-root-user", "--net", "true"], timeout_s=10)
    except CommandFailed as error:
        yield _error("namespaces", f"a user and network namespace cannot be made ({error})", remedy)
        return
    yield _ok("namespaces", "user and network namespaces can be made")
    if shutil.which("nft", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin") is None:
        return  # the packages check has said so
    try:
        run(["unshare", "--user", "--map-root-user", "--net", "nft", "list", "ruleset"], timeout_s=10)
    except CommandFailed as error:
        yield _error("firewall", f"nft does not work in a namespace ({error})", "sudo modprobe nf_tables")
    else:
        yield _ok("firewall", "nft works in a namespace of its own")


def _check_tun(*, is_root: bool) -> Iterator[Finding]:
    device = Path("/dev/net/tun")
    if os.access(device, os.R_OK | os.W_OK):
        try:
            os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            yield _error("tun device", f"{device}: {error.strerror}", "sudo modprobe tun")
            return
        yield _ok("tun device", f"{device} can be opened")
    elif is_root and Path("/sys/class/misc/tun").exists():
        yield _ok("tun device", "the kernel has it; the service makes a node of its own")
    elif device.exists():
        yield _error("tun device", f"{device} may not be opened", f"sudo chmod 0666 {device}")
    else:
        yield _error("tun device", f"there is no {device}", "sudo modprobe tun")


def _check_low_ports(*, is_root: bool) -> Iterator[Finding]:
    first = _kernel_number("net/ipv4/ip_unprivileged_port_start", 1024)
    if is_root or first <= _LOW_PORTS_FROM:
        yield _ok("low ports", "machines' public addresses can answer on every port")
    else:
        yield _warning(
            "low ports",
            f"an ordinary user may not listen below port {first}: SSH and HTTP on public addresses",
            f"sudo sysctl net.ipv4.ip_unprivileged_port_start={_LOW_PORTS_FROM}",
        )


def _check_public_network(network: IPv4Network) -> Iterator[Finding]:
    if network.subnet_of(_LOOPBACK):
        yield _ok("public addresses", f"{network}: reachable from this host only")
    else:
        yield _ok("public addresses", f"{network}: must be routed to, and be local addresses of, this host")


def _check_sub_uids(*, is_root: bool) -> Iterator[Finding]:
    """An unprivileged mmdebstrap maps a range of uids; root needs none."""
    if is_root:
        return
    user = _user_name()
    try:
        lines = Path("/etc/subuid").read_text().splitlines()
    except OSError:
        lines = []
    if any(line.split(":")[0] in (user, str(os.getuid())) for line in lines):
        yield _ok("sub-uids", f"/etc/subuid gives {user} a range")
    else:
        yield _warning(
            "sub-uids",
            f"/etc/subuid has no range for {user}: base images cannot be built (importing works)",
            f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        )


def _check_memory(settings: Settings, probed: ProbedAccelerator | None) -> Iterator[Finding]:
    text = Path("/proc/meminfo").read_text()
    sizes = {name: int(kib) // 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    available = sizes.get("MemAvailable", 0)
    left = available - settings.reserved_memory_mib
    detail = f"{available} MiB available, {settings.reserved_memory_mib} of them kept for the host; "
    detail += f"{os.cpu_count()} CPUs"
    accelerator = probed.accelerator if probed is not None else settings.accelerator
    needed = _T3_MICRO_MIB + machine_overhead_mib(is_emulated=accelerator != "kvm")
    if left < needed:
        yield _error("memory", f"{detail}: no room for a t3.micro", "free memory, or use smaller types")
    else:
        yield _ok("memory", f"{detail}: room for {left // needed} t3.micro")


def _check_state_root(root: Path, *, is_root: bool) -> Iterator[Finding]:
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield _error("state directory", f"{existing} cannot be written", "set BAKEHOUSE_STATE_ROOT")
        return
    closed = [path for path in (existing, *existing.parents) if not path.stat().st_mode & 0o001]
    if is_root and closed:
        yield _error(
            "state directory",
            f"{closed[-1]} is closed to other users: machines, each under its own uid, cannot enter it",
            f"chmod o+x {closed[-1]}, or set BAKEHOUSE_STATE_ROOT",
        )
    usage = shutil.disk_usage(existing)
    detail = f"{root}: {usage.free / _GIB:.1f} GiB free"
    if usage.free < 2 * _GIB:
        yield _error("disk", detail, "make room: bakehouse gc, or set BAKEHOUSE_STATE_ROOT to a larger disk")
    elif usage.free < 10 * _GIB:
        yield _warning("disk", f"{detail}: enough for a few machines only", "bakehouse gc gives space back")
    else:
        yield _ok("disk", detail)


def _kernel_number(name: str, default: int) -> int:
    """One sysctl; ``default`` where this kernel does not have it."""
    try:
        return int(Path("/proc/sys").joinpath(name).read_text())
    except (OSError, ValueError):
        return default


def _user_name() -> str:

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
