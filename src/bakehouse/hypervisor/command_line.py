"""A machine's QEMU command line: a sum of small pure functions, one per part of the machine.

Invariant: pure; the same spec, files and descriptors give the same words. Every name QEMU knows a device or
block node by is made here, hot-plug uses the same ones.
"""

import json
from collections.abc import Mapping
from typing import Any

from bakehouse.host.memory import TRANSLATION_BUFFER_MIB
from bakehouse.hypervisor.firmware import UefiFirmware
from bakehouse.hypervisor.spec import (
    Accelerator,
    DiskSpec,
    MachineSpec,
    NicSpec,
)
from bakehouse.paths import InstanceDirectory

QEMU = "qemu-system-x86_64"
MIB = 1 << 20
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_MANUFACTURER = "Amazon EC2"
# The first slots are root ports, functions of PCI device 0x10. The others are behind one bridge: every root port
# costs an emulated guest 0.3 s of its boot (firmware, kernel and udev each walk it), a slot of the bridge nothing.
_PORT_COUNT = 4
_PORT_DEVICE = 0x10
_BRIDGE = "bridge0"
_BRIDGE_DEVICE = 0x11


def command_line(
    spec: MachineSpec,
    files: InstanceDirectory,
    *,
    base_fds: Mapping[str, int],
    tap_fds: Mapping[str, int],
    firmware: UefiFirmware | None,
) -> list[str]:
    """The words that start ``spec``; descriptors by volume and interface id, numbered as in the child."""
    return [
        QEMU,
        *process_args(spec, files),
        *board_args(spec),
        *firmware_args(files, firmware),
        *identity_args(spec),
        *control_args(files),
        *agent_args(files),
        *console_args(files),
        *port_args(),
        *(word for disk in spec.disks for word in disk_args(disk, base_fd=base_fds.get(disk.volume_id))),
        *(word for nic in spec.nics for word in nic_args(nic, tap_fd=tap_fds[nic.interface_id])),
    ]


def process_args(spec: MachineSpec, files: InstanceDirectory) -> list[str]:
    """The process itself: name, pid file, seccomp sandbox, nothing by default."""
    return [
        *("-name", f"{spec.instance_id},debug-threads=on"),
        *("-pidfile", str(files.pid_file)),
        *("-sandbox", _SANDBOX),
        *("-msg", "timestamp=on"),
        *("-nodefaults", "-no-user-config"),
        *("-display", "none"),
    ]


def board_args(spec: MachineSpec) -> list[str]:
    """Board, accelerator, processors, memory, clock."""
    return [
        *("-machine", "q35,memory-backend=ram,vmport=off,sata=off,usb=off,smm=off"),
        *accelerator_args(spec.accelerator),
        *("-smp", f"{spec.vcpus},sockets=1,cores={spec.vcpus},threads=1"),
        *("-m", f"{spec.memory_mib}M"),
        *memory_args(spec),
        *("-rtc", "base=utc"),
        *("-boot", "menu=off,strict=on"),
        *("-object", "rng-builtin,id=rng"),
        *("-device", "virtio-rng-pci,rng=rng,bus=pcie.0,addr=0x3"),
    ]


def accelerator_args(accelerator: Accelerator) -> list[str]:
    """The accelerator with the processor model it is probed with."""
    if accelerator is Accelerator.KVM:
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", f"tcg,thread=multi,tb-size={TRANSLATION_BUFFER_MIB}", "-cpu", "max"]


def memory_args(spec: MachineSpec) -> list[str]:
    """The guest's memory as an object of its own, so that a warm launch can map a saved file instead."""
    return [
        "-object",
        json.dumps({"qom-type": "memory-backend-ram", "id": "ram", "size": spec.memory_mib * MIB}),
    ]


def firmware_args(files: InstanceDirectory, firmware: UefiFirmware | None) -> list[str]:
    """UEFI code and the machine's own variables; nothing for SeaBIOS, which is QEMU's default."""
    if firmware is None:
        return []
    code = {"driver": "file", "filename": str(firmware.code)}
    variables = {"driver": "file", "filename": str(files.firmware_variables)}
    return [
        *_blockdev({"driver": "raw", "node-name": "uefi-code", "read-only": True, "file": code}),
        *_blockdev({"driver": "raw", "node-name": "uefi-vars", "file": variables}),
        *("-machine", "pflash0=uefi-code,pflash1=uefi-vars"),
    ]


def identity_args(spec: MachineSpec) -> list[str]:
    """What makes a guest recognise EC2 (cloud-init reads uuid and serial), and a fresh generation id."""
    return [
        *("-uuid", spec.uuid),
        *("-smbios", f"type=0,vendor={_MANUFACTURER},version=1.0"),
        *(
            "-smbios",
            f"type=1,manufacturer={_MANUFACTURER},product={spec.instance_type},serial={spec.uuid},uuid={spec.uuid}",
        ),
        *("-smbios", f"type=2,manufacturer={_MANUFACTURER},asset={spec.instance_id}"),
        *("-smbios", f"type=3,manufacturer={_MANUFACTURER},asset={_MANUFACTURER}"),
        *("-device", "vmgenid,guid=auto"),
    ]


def control_args(files: InstanceDirectory) -> list[str]:
    """The machine protocol, on a Unix socket that outlives its client."""
    return [
        *("-chardev", f"socket,id=qmp,path={_escape(files.qmp_socket)},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def agent_args(files: InstanceDirectory) -> list[str]:
    """The guest agent's channel, on a Unix socket that outlives its client."""
    return [
        *("-device", "virtio-serial-pci,id=serial-bus,bus=pcie.0,addr=0x4"),
        *("-chardev", f"socket,id=agent,path={_escape(files.guest_agent_socket)},server=on,wait=off"),
        *("-device", "virtserialport,bus=serial-bus.0,chardev=agent,name=org.qemu.guest_agent.0"),
    ]


def console_args(files: InstanceDirectory) -> list[str]:
    """The serial console, logged to a file, and a screen for screenshots."""
    return [
        *("-chardev", f"file,id=console,path={_escape(files.serial_log)},append=on"),
        *("-device", "isa-serial,chardev=console"),
        *("-device", "VGA,bus=pcie.0,addr=0x2"),
    ]


def port_args() -> list[str]:
    """Slots for every disk and interface, present or hot-plugged later; no root port asks for I/O space."""
    words = []
    for slot in range(_PORT_COUNT):
        options = f"id={port_name(slot)},bus=pcie.0,chassis={slot + 1},io-reserve=0"
        multifunction = ",multifunction=on" if slot == 0 else ""
        words += ["-device", f"pcie-root-port,{options},addr={_PORT_DEVICE:#x}.{slot}{multifunction}"]
    return [*words, "-device", f"pcie-pci-bridge,id={_BRIDGE},bus=pcie.0,addr={_BRIDGE_DEVICE:#x}"]


def disk_args(disk: DiskSpec, *, base_fd: int | None) -> list[str]:
    """One disk; ``base_fd`` is its base's descriptor in the child (also the number of its descriptor set)."""
    words = [] if base_fd is None else ["-add-fd", f"fd={base_fd},set={base_fd}"]
    words += _blockdev(disk_node(disk, base_set=base_fd))
    return [*words, "-device", json.dumps(disk_device(disk))]


def nic_args(nic: NicSpec, *, tap_fd: int) -> list[str]:
    """One interface on an open tap."""
    return [
        *("-netdev", f"tap,id={netdev_name(nic.interface_id)},fd={tap_fd},vhost=off"),
        *("-device", json.dumps(nic_device(nic))),
    ]


def disk_node(disk: DiskSpec, *, base_set: int | None) -> dict[str, Any]:
    """The block node of a disk: overlay over base, whatever the overlay's header says of a backing file."""
    base = None if base_set is None else base_node(base_set)
    return {
        "node-name": disk_node_name(disk.volume_id),
        "driver": "qcow2",
        "discard": "unmap",
        "file": {"driver": "file", "filename": str(disk.overlay), "discard": "unmap"},
        "backing": base,
    }


def base_node(base_set: int) -> dict[str, Any]:
    """The read-only raw node over descriptor set ``base_set``."""
    file = {"driver": "file", "filename": f"/dev/fdset/{base_set}", "read-only": True}
    return {"driver": "raw", "read-only": True, "file": file}


def disk_device(disk: DiskSpec) -> dict[str, Any]:
    """The virtio device of a disk; a full host pauses the guest's write instead of failing it."""
    device: dict[str, Any] = {
        "driver": "virtio-blk-pci",
        "id": disk_device_name(disk.volume_id),
        **place(disk.slot),
        "drive": disk_node_name(disk.volume_id),
        "serial": disk.serial,
        "werror": "enospc",
        "rerror": "report",
    }
    return {**device, "bootindex": disk.slot} if disk.is_boot else device


def nic_device(nic: NicSpec) -> dict[str, Any]:
    """The virtio device of an interface; no boot ROM, nothing boots from the network."""
    return {
        "driver": "virtio-net-pci",
        "id": nic_device_name(nic.interface_id),
        **place(nic.slot),
        "netdev": netdev_name(nic.interface_id),
        "mac": nic.mac,
        "romfile": "",
    }


def place(slot: int) -> dict[str, str]:
    """Where the device in ``slot`` is plugged in; behind the bridge it has no I/O space either."""
    if slot < _PORT_COUNT:
        return {"bus": port_name(slot)}
    return {"bus": _BRIDGE, "addr": f"{slot - _PORT_COUNT + 1:#x}", "disable-legacy": "on"}


def port_name(slot: int) -> str:
    """QEMU's id of a root port."""
    return f"port{slot}"


def disk_node_name(volume_id: str) -> str:
    """QEMU's node name of a volume's overlay (31 characters at most)."""
    return volume_id


def disk_device_name(volume_id: str) -> str:
    """QEMU's id of a volume's device."""
    return f"disk-{volume_id}"


def nic_device_name(interface_id: str) -> str:
    """QEMU's id of an interface's device."""
    return f"nic-{interface_id}"


def netdev_name(interface_id: str) -> str:
    """QEMU's id of an interface's backend."""
    return f"tap-{interface_id}"


def _blockdev(node: Mapping[str, Any]) -> list[str]:
    return ["-blockdev", json.dumps(node)]


def _escape(path: object) -> str:
    """A path inside a comma-separated option: commas are doubled."""
    return str(path).replace(",", ",,")
