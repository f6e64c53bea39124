"""ModifyVolume after the answer: the disk grows, under its running guest or at rest, then the row says so.

Whatever dies in between, the file is never smaller than the row says, and the step that grows it may run again.
"""

import time

from bakehouse.database.models import Instance, Volume, VolumeModification
from bakehouse.domain import volume_modifications
from bakehouse.errors import PartError
from bakehouse.hypervisor import disk_server
from bakehouse.hypervisor.spec import MachineError
from bakehouse.workflows import specs
from bakehouse.workflows.capture_wait import CAPTURE_WAIT_S, LOOK_AGAIN_S
from bakehouse.workflows.host import Host
from bakehouse.workflows.hydrate import hydrate
from bakehouse.workflows.launch_instance import GIB


def modify_volume(host: Host, volume_id: str) -> None:
    """Change a volume as its modification says; it is as it was when that fails."""
    try:
        host.engine.step(grow, host, volume_id)
        host.engine.step(apply_modification, host, volume_id)
    except PartError as error:
        host.engine.step(fail_modification, host, volume_id, str(error))
        return
    host.engine.step(complete_modification, host, volume_id)


def grow(host: Host, volume_id: str) -> None:
    """Grow the disk where it is: in its machine, or alone. A disk that is being captured grows afterwards."""
    deadline = time.monotonic() + CAPTURE_WAIT_S
    while not _try_to_grow(host, volume_id):
        if time.monotonic() > deadline:
            raise MachineError(f"{volume_id} was being captured for too long")
        time.sleep(LOOK_AGAIN_S)


def _try_to_grow(host: Host, volume_id: str) -> bool:
    """False when it must be tried again: it is being captured, or was attached or detached at this moment."""
    owner_id = _owner_id(host, volume_id)
    with host.locks[owner_id or volume_id]:
        if _owner_id(host, volume_id) != owner_id:
            return False
        with host.database.transaction(mutates=False) as session:
            modification = session.get(VolumeModification, volume_id)
            if modification is None or modification.target_size_gib == modification.original_size_gib:
                return True  # nothing grows, or the volume is gone
            size_bytes = modification.target_size_gib * GIB
        machine = host.machines.find(owner_id) if owner_id else None
        if machine is None:
            _grow_at_rest(host, volume_id, size_bytes)
        elif machine.captures():
            return False
        else:
            machine.grow_disk(volume_id, size_bytes)
        return True


def _owner_id(host: Host, volume_id: str) -> str | None:
    with host.database.transaction(mutates=False) as session:
        return session.get_one(Volume, volume_id).instance_id


def _grow_at_rest(host: Host, volume_id: str, size_bytes: int) -> None:
    """In a QEMU that runs no guest, under the uid the files belong to: a guest has written them."""
    with host.database.transaction(mutates=False) as session:
        volume = session.get_one(Volume, volume_id)
        instance = session.get(Instance, volume.instance_id) if volume.instance_id else None
        disk = specs.disk_spec(host, volume, root_device_name=None)
    if volume.snapshot_id is not None:
        hydrate(host, volume.snapshot_id)
    uid = host.uid_of(instance.uid_number if instance else None)
    with disk_server.start_disk_server(host.loop, host.settings.state, name=volume_id, disks=[disk], uid=uid) as server:
        server.grow_disk(volume_id, size_bytes)


def apply_modification(host: Host, volume_id: str) -> None:
    """The volume is what was asked for."""
    with host.database.transaction() as session:
        volume_modifications.apply(session, volume_id)


def complete_modification(host: Host, volume_id: str) -> None:
    """Nothing moves in the background here: what is usable is complete."""
    with host.database.transaction() as session:
        volume_modifications.complete(session, volume_id)


def fail_modification(host: Host, volume_id: str, reason: str) -> None:
    """The record says why."""
    with host.database.transaction() as session:
        volume_modifications.fail(session, volume_id, reason)
