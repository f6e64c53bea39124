"""CreateVolume, DeleteVolume, AttachVolume, DetachVolume after the answer."""

from contextlib import suppress

from bakehouse.database.models import Volume
from bakehouse.domain import instances, volumes
from bakehouse.errors import PartError
from bakehouse.hypervisor.spec import MachineError
from bakehouse.storage import volumes as volume_files
from bakehouse.workflows import specs
from bakehouse.workflows.capture_wait import between_captures
from bakehouse.workflows.host import Host
from bakehouse.workflows.hydrate import hydrate
from bakehouse.workflows.launch_instance import GIB

_FORCED_DETACH_TIMEOUT_S = 5.0
_DETACH_TIMEOUT_S = 60.0


def create_volume(host: Host, volume_id: str) -> None:
    """Make the overlay; the volume is then available, or in error with nothing left."""
    try:
        host.engine.step(make_disk, host, volume_id)
        host.engine.step(set_volume_state, host, volume_id, "available")
    except PartError:
        host.engine.step(remove_disk, host, volume_id)
        host.engine.step(set_volume_state, host, volume_id, "error")


def delete_volume(host: Host, volume_id: str) -> None:
    """Delete the volume's files, then its row."""
    host.engine.step(remove_disk, host, volume_id)
    host.engine.step(forget_volume, host, volume_id)


def attach_volume(host: Host, volume_id: str) -> None:
    """Plug the volume into its machine, or mark it attached for the next start."""
    try:
        host.engine.step(plug_in, host, volume_id)
        host.engine.step(mark_attached, host, volume_id)
    except PartError:
        host.engine.step(mark_detached, host, volume_id)


def detach_volume(host: Host, volume_id: str, force: bool) -> None:
    """Unplug the volume; a guest that does not release it keeps it (the volume stays in use)."""
    try:
        host.engine.step(unplug, host, volume_id, force)
    except PartError:
        host.engine.step(mark_attached, host, volume_id)
        return
    host.engine.step(mark_detached, host, volume_id)


def make_disk(host: Host, volume_id: str) -> None:
    """Hydrate what it lies over and make the overlay, owned by no machine."""
    with host.database.transaction(mutates=False) as session:
        row = session.get_one(Volume, volume_id)
        snapshot_id, size_bytes = row.snapshot_id, row.size_gib * GIB
    if snapshot_id is not None:
        hydrate(host, snapshot_id)
    files = host.settings.state.volume(volume_id)
    volume_files.create_overlay(files, size_bytes=size_bytes, uid=host.uid_of(None))


def remove_disk(host: Host, volume_id: str) -> None:
    """Delete the files, once nothing reads them for a snapshot."""
    with between_captures(host, volume_id):
        volume_files.delete(host.settings.state.volume(volume_id))


def set_volume_state(host: Host, volume_id: str, state: str) -> None:
    """Move the row."""
    with host.database.transaction() as session:
        session.get_one(Volume, volume_id).state = state


def forget_volume(host: Host, volume_id: str) -> None:
    """The volume is gone."""
    with host.database.transaction() as session:
        volumes.mark_deleted(session, session.get_one(Volume, volume_id))


def plug_in(host: Host, volume_id: str) -> None:
    """Hand the files to the machine's uid and plug the disk in if it runs."""
    with host.database.transaction(mutates=False) as session:
        row = session.get_one(Volume, volume_id)
        assert row.instance_id is not None, "an attaching volume has its instance"
        instance = instances.get_any(session, row.instance_id)
        disk = specs.disk_spec(host, row, root_device_name=instance.root_device_name)
        uid = host.uid_of(instance.uid_number)
    if row.snapshot_id is not None:
        hydrate(host, row.snapshot_id)
    # The second: it may be read, or grow, in a QEMU of its own until now.
    with host.locks[instance.instance_id], host.locks[volume_id]:
        volume_files.give_to(host.settings.state.volume(volume_id), uid)
        machine = host.machines.find(instance.instance_id)
        if machine is not None:
            machine.attach_disk(disk)


def unplug(host: Host, volume_id: str, force: bool) -> None:
    """Unplug from a running machine and take the files back; captures, which read through it, end first."""
    with host.database.transaction(mutates=False) as session:
        instance_id = session.get_one(Volume, volume_id).instance_id
    if instance_id is None:
        return
    with between_captures(host, instance_id) as is_free:
        if not is_free:
            raise MachineError(f"{volume_id} was being captured for too long")
        machine = host.machines.find(instance_id)
        if machine is not None:
            timeout_s = _FORCED_DETACH_TIMEOUT_S if force else _DETACH_TIMEOUT_S
            machine.detach_disk(volume_id, timeout_s=timeout_s)
        volume_files.give_to(host.settings.state.volume(volume_id), host.uid_of(None))


def mark_attached(host: Host, volume_id: str) -> None:
    """Attached."""
    with host.database.transaction() as session:
        row = session.get_one(Volume, volume_id)
        row.state, row.attachment_state = "in-use", "attached"


def mark_detached(host: Host, volume_id: str) -> None:
    """Available again, and the files no machine's: an attachment that failed may have handed them over."""
    with suppress(PartError):  # something of a guest's making lies there: nobody gets in any more
        volume_files.give_to(host.settings.state.volume(volume_id), host.uid_of(None))
    with host.database.transaction() as session:
        instances.detach(session.get_one(Volume, volume_id))
