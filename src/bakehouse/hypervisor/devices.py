"""Disks and interfaces that come and go while the machine runs: hot-plug into its slots.

Invariant: each verb is idempotent; a device that half arrived is taken away again or completed by a retry.
"""

import os
from dataclasses import replace
from typing import Any

from bakehouse.hypervisor.command_line import (
    disk_device,
    disk_device_name,
    disk_node,
    disk_node_name,
    netdev_name,
    nic_device,
    nic_device_name,
)
from bakehouse.hypervisor.live import LiveMachine
from bakehouse.hypervisor.qmp import RefusedError
from bakehouse.hypervisor.spec import DiskSpec, MachineError, MachineSpec, NicSpec

_NODE_RELEASE_TIMEOUT_S = 5.0


async def attach_disk(live: LiveMachine, disk: DiskSpec) -> None:
    """Plug ``disk`` in; nothing happens when it already is."""
    others = tuple(known for known in live.spec.disks if known.volume_id != disk.volume_id)
    changed = _changed(live, disks=(*others, disk))
    if not await _has_device(live, disk_device_name(disk.volume_id)):
        await _add_disk_node(live, disk)
        try:
            await live.session.execute("device_add", disk_device(disk))
        except MachineError:
            await _delete_node(live, disk_node_name(disk.volume_id))
            raise
    await live.save_spec(changed)


async def detach_disk(live: LiveMachine, volume_id: str, *, timeout_s: float) -> None:
    """Unplug a disk and close its files; MachineError when the guest does not let go within ``timeout_s``."""
    await _unplug(live, disk_device_name(volume_id), timeout_s=timeout_s)
    await _delete_node(live, disk_node_name(volume_id))
    others = tuple(known for known in live.spec.disks if known.volume_id != volume_id)
    await live.save_spec(replace(live.spec, disks=others))


async def add_nic(live: LiveMachine, nic: NicSpec, *, tap_fd: int) -> None:
    """Plug an interface in over an open tap (the caller closes its descriptor)."""
    others = tuple(known for known in live.spec.nics if known.interface_id != nic.interface_id)
    changed = _changed(live, nics=(*others, nic))
    if not await _has_device(live, nic_device_name(nic.interface_id)):
        backend = netdev_name(nic.interface_id)
        await _delete_netdev(live, backend)
        await live.session.execute("getfd", {"fdname": backend}, fd=tap_fd)
        await live.session.execute("netdev_add", {"type": "tap", "id": backend, "fd": backend, "vhost": False})
        try:
            await live.session.execute("device_add", nic_device(nic))
        except MachineError:
            await _delete_netdev(live, backend)
            raise
    await live.save_spec(changed)


async def remove_nic(live: LiveMachine, interface_id: str, *, timeout_s: float) -> None:
    """Unplug an interface; its tap is gone afterwards."""
    await _unplug(live, nic_device_name(interface_id), timeout_s=timeout_s)
    await _delete_netdev(live, netdev_name(interface_id))
    others = tuple(known for known in live.spec.nics if known.interface_id != interface_id)
    await live.save_spec(replace(live.spec, nics=others))


def _changed(
    live: LiveMachine, *, disks: tuple[DiskSpec, ...] | None = None, nics: tuple[NicSpec, ...] | None = None
) -> MachineSpec:
    """The spec with other devices; MachineError for a taken slot, which QEMU itself would let pass."""
    try:
        return replace(
            live.spec,
            disks=live.spec.disks if disks is None else disks,
            nics=live.spec.nics if nics is None else nics,
        )
    except ValueError as error:
        raise MachineError(str(error)) from error


async def _add_disk_node(live: LiveMachine, disk: DiskSpec) -> None:
    if await node_exists(live, disk_node_name(disk.volume_id)):
        return
    if disk.base is None:
        await live.session.execute("blockdev-add", disk_node(disk, base_set=None))
        return
    base_fd = open_base(disk)
    try:
        reply = await live.session.execute("add-fd", fd=base_fd)
    finally:
        os.close(base_fd)
    await live.session.execute("blockdev-add", disk_node(disk, base_set=int(reply["fdset-id"])))


def open_base(disk: DiskSpec) -> int:
    """A read-only descriptor of a disk's base; MachineError when it cannot be opened."""
    assert disk.base is not None
    try:
        return os.open(disk.base, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError(f"the base of {disk.volume_id} cannot be opened ({error.strerror})") from error


async def node_exists(live: LiveMachine, name: str) -> bool:
    """Whether QEMU has a block node of this name."""
    nodes: list[dict[str, Any]] = await live.session.execute("query-named-block-nodes", {"flat": True})
    return any(node.get("node-name") == name for node in nodes)


async def _has_device(live: LiveMachine, name: str) -> bool:
    devices: list[dict[str, Any]] = await live.session.execute("qom-list", {"path": "/machine/peripheral"})
    return any(device.get("name") == name for device in devices)


async def _unplug(live: LiveMachine, name: str, *, timeout_s: float) -> None:
    if not await _has_device(live, name):
        return
    try:
        await live.session.execute("device_del", {"id": name})
    except RefusedError:
        # An earlier request may still be with the guest; what counts is that the device goes.
        if not await _has_device(live, name):
            return

    async def is_gone() -> bool:
        return not await _has_device(live, name)

    if not await live.wait_until(is_gone, timeout_s=timeout_s):
        raise MachineError(f"the guest did not release {name} within {timeout_s:g} s")


async def _delete_node(live: LiveMachine, name: str) -> None:
    """Close a block node; it may be in use for a moment after its device went."""

    async def is_deleted() -> bool:
        if not await node_exists(live, name):
            return True
        try:
            await live.session.execute("blockdev-del", {"node-name": name})
        except RefusedError:
            return False
        return True

    if not await live.wait_until(is_deleted, timeout_s=_NODE_RELEASE_TIMEOUT_S):
        raise MachineError(f"{name} is still in use, perhaps by a capture")


async def _delete_netdev(live: LiveMachine, name: str) -> None:
    try:
        await live.session.execute("netdev_del", {"id": name})
    except RefusedError as error:
        if error.error_class != "DeviceNotFound":
            raise
