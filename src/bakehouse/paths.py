"""Every file name Bakehouse writes, in one place.

Invariant: no other module joins a name to a state directory. Sockets lie near the root because a Unix
socket's path may not exceed 107 bytes.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class InstanceDirectory:
    """The files of one machine; the directory has mode 0700 and belongs to the machine's own uid."""

    root: Path

    @property
    def spec(self) -> Path:
        """The machine's frozen spec as JSON, written before QEMU starts (readable by the service only)."""
        return self.root.parent / f"{self.root.name}.json"

    @property
    def captures(self) -> Path:
        """A directory of records of the captures in progress (readable by the service only)."""
        return self.root.parent / f"{self.root.name}.captures"

    def capture(self, capture_id: str) -> Path:
        """The record of one capture in progress: its disks, scratch files and views, as JSON."""
        return self.captures / f"{capture_id}.json"

    @property
    def qmp_socket(self) -> Path:
        """QEMU's machine protocol."""
        return self.root / "qmp.sock"

    @property
    def guest_agent_socket(self) -> Path:
        """The virtio-serial channel of qemu-guest-agent."""
        return self.root / "qga.sock"

    @property
    def nbd_socket(self) -> Path:
        """Where QEMU exports point-in-time views of disks."""
        return self.root / "nbd.sock"

    @property
    def pid_file(self) -> Path:
        """QEMU's own pid file."""
        return self.root / "qemu.pid"

    @property
    def serial_log(self) -> Path:
        """The guest's serial console, appended over restarts."""
        return self.root / "serial.log"

    @property
    def qemu_log(self) -> Path:
        """QEMU's stdout and stderr."""
        return self.root / "qemu.log"

    @property
    def screenshot(self) -> Path:
        """The last screen dump (PNG)."""
        return self.root / "screen.png"

    @property
    def firmware_variables(self) -> Path:
        """The machine's own UEFI variable store."""
        return self.root / "uefi-vars.fd"


@dataclass(frozen=True, kw_only=True)
class VolumeDirectory:
    """The files of one volume; mode 0700, owned by the uid of the machine that has it attached."""

    root: Path

    @property
    def disk(self) -> Path:
        """The volume's qcow2 overlay."""
        return self.root / "disk.qcow2"

    @property
    def disk_part(self) -> Path:
        """The overlay until it is whole."""
        return self.root / "disk.qcow2.part"

    def capture(self, snapshot_id: str) -> Path:
        """The temporary qcow2 that holds overwritten clusters while a snapshot is read."""
        return self.root / f"capture-{snapshot_id}.qcow2"


@dataclass(frozen=True, kw_only=True)
class VpcDirectory:
    """The files of one VPC's namespace agent."""

    root: Path

    @property
    def agent_socket(self) -> Path:
        """The agent's SOCK_SEQPACKET socket, mode 0600."""
        return self.root / "agent.sock"

    @property
    def agent_log(self) -> Path:
        """The agent's stderr."""
        return self.root / "agent.log"

    @property
    def uplink(self) -> Path:
        """The working directory of the VPC's uplink; it belongs to the agent's uid."""
        return self.root / "uplink"

    @property
    def uplink_log(self) -> Path:
        """The uplink's output."""
        return self.uplink / "uplink.log"


@dataclass(frozen=True, kw_only=True)
class StateDirectory:
    """The root of everything a Bakehouse host keeps."""

    root: Path

    @property
    def database(self) -> Path:
        """The default SQLite database (rows and workflows)."""
        return self.root / "bakehouse.db"

    @property
    def lock(self) -> Path:
        """Held by the one running service."""
        return self.root / "lock"

    @property
    def endpoint(self) -> Path:
        """The running service's URL and pid, JSON, for the CLI."""
        return self.root / "endpoint.json"

    @property
    def credentials(self) -> Path:
        """The administrator's key of the first start, mode 0600."""
        return self.root / "credentials.json"

    @property
    def service_log(self) -> Path:
        """The service's log when it runs in the background."""
        return self.root / "service.log"

    @property
    def blocks(self) -> Path:
        """The default (local) block store."""
        return self.root / "blocks"

    @property
    def block_store_lock(self) -> Path:
        """Shared by writers of the block store, held alone by its collector."""
        return self.root / "blocks.lock"

    @property
    def bases(self) -> Path:
        """Hydrated, read-only raw bases; a cache."""
        return self.root / "bases"

    def base(self, snapshot_id: str) -> Path:
        """The hydrated raw file of one snapshot."""
        return self.bases / f"{snapshot_id}.raw"

    def base_part(self, snapshot_id: str, token: str) -> Path:
        """A base while it is being written; ``token`` keeps two writers apart."""
        return self.bases / f".{snapshot_id}.{token}.part"

    @property
    def accelerator(self) -> Path:
        """The cached answer of the KVM probe, JSON with the host's boot id."""
        return self.root / "accelerator.json"

    @property
    def tun_device(self) -> Path:
        """Our own node of the tun device, for the unprivileged agents of a service started as root.

        It is open to all, so it lies where only the service can enter.
        """
        return self.vpcs / "tun"

    @property
    def image_builds(self) -> Path:
        """Scratch space of base image builds and imports."""
        return self.root / "build"

    @property
    def instances(self) -> Path:
        """One directory per machine."""
        return self.root / "instances"

    @property
    def volumes(self) -> Path:
        """One directory per volume."""
        return self.root / "volumes"

    @property
    def disk_servers(self) -> Path:
        """One short-lived directory per process that serves the disks of a stopped machine."""
        return self.root / "disk-servers"

    @property
    def vpcs(self) -> Path:
        """One directory per VPC; mode 0700, the service's own."""
        return self.root / "vpcs"

    @property
    def client(self) -> Path:
        """What the command line keeps as a client of the API, 0700: private keys, known hosts."""
        return self.root / "client"

    @property
    def known_hosts(self) -> Path:
        """SSH host keys of machines, by instance id (addresses are used again)."""
        return self.client / "known_hosts"

    def private_key(self, key_name: str) -> Path:
        """The private half of a key pair the command line made; ``key_name`` holds no slash."""
        return self.client / f"{key_name}.pem"

    def instance(self, instance_id: str) -> InstanceDirectory:
        """The files of one machine."""
        return InstanceDirectory(root=self.instances / instance_id)

    def volume(self, volume_id: str) -> VolumeDirectory:
        """The files of one volume."""
        return VolumeDirectory(root=self.volumes / volume_id)

    def disk_server(self, name: str) -> InstanceDirectory:
        """The files of one disk server; it is a QEMU without a machine."""
        return InstanceDirectory(root=self.disk_servers / name)

    def vpc(self, vpc_id: str) -> VpcDirectory:
        """The files of one VPC."""
        return VpcDirectory(root=self.vpcs / vpc_id)
