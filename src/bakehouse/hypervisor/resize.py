"""A disk grows while QEMU has it open; its guest is told.

Invariant: a disk never shrinks, and what its bitmaps say of changes stays true: what is new is unchanged (it reads as
zeros) until the guest writes to it.
"""

from collections.abc import Mapping
from typing import Any

from bakehouse.hypervisor.bitmaps import segments_of
from bakehouse.hypervisor.command_line import disk_node_name
from bakehouse.hypervisor.live import LiveMachine
from bakehouse.hypervisor.spec import MachineError


async def grow_disk(live: LiveMachine, volume_id: str, size_bytes: int) -> None:
    """Give a disk at least this size; idempotent. MachineError while it is being captured."""
    node = await _find_node(live, volume_id)
    if int(node["image"]["virtual-size"]) >= size_bytes:
        return
    # QEMU grows no qcow2 that holds a bitmap it cannot trust; we do not trust it either.
    for bitmap in segments_of(node):
        if not bitmap.is_consistent:
            name = {"node": disk_node_name(volume_id), "name": bitmap.name}
            await live.session.execute("block-dirty-bitmap-remove", name)
    await live.session.execute("block_resize", {"node-name": disk_node_name(volume_id), "size": size_bytes})


async def disk_size_bytes(live: LiveMachine, volume_id: str) -> int:
    """The size the guest is shown."""
    return int((await _find_node(live, volume_id))["image"]["virtual-size"])


async def _find_node(live: LiveMachine, volume_id: str) -> Mapping[str, Any]:
    nodes: list[dict[str, Any]] = await live.session.execute("query-named-block-nodes", {"flat": True})
    node = next((node for node in nodes if node.get("node-name") == disk_node_name(volume_id)), None)
    if node is None:
        raise MachineError(f"{volume_id} is not a disk of this machine")
    return node
