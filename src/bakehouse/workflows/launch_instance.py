"""RunInstances and StartInstances after the answer: pending -> hydrated, overlaid, plugged in -> running.

Every step may run again after a kill: bases, overlays, interfaces and machines that exist are found, not
made twice.
"""

import os

from bakehouse.database.models import now
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.hypervisor.spec import MachineError
from bakehouse.storage import volumes as volume_files
from bakehouse.workflows import specs
from bakehouse.workflows.end_instance import end_launch
from bakehouse.workflows.host import Host
from bakehouse.workflows.hydrate import hydrate
from bakehouse.workflows.machine_exited import watch_machine
from bakehouse.workflows.vpc_network import ensure_network

GIB = 1 << 30


def launch_instance(host: Host, instance_id: str) -> None:
    """Bring a pending instance up, or end it with the reason why that failed."""
    try:
        host.engine.step(hydrate_bases, host, instance_id)
        host.engine.step(prepare_volumes, host, instance_id)
        host.engine.step(start_machine, host, instance_id)
        host.engine.step(mark_running, host, instance_id)
    except PartError as error:
        host.engine.step(end_launch, host, instance_id, str(error))


def hydrate_bases(host: Host, instance_id: str) -> None:
    """Write out what the instance's volumes lie over; every block is verified on the way."""
    with host.database.transaction(mutates=False) as session:
        instance = instances.get_any(session, instance_id)
        snapshot_ids = [volume.snapshot_id for volume in instance.volumes if volume.snapshot_id]
    for snapshot_id in snapshot_ids:
        hydrate(host, snapshot_id)


def prepare_volumes(host: Host, instance_id: str) -> None:
    """Make the overlays of volumes that are new, and hand all to the machine's uid.

    MachineError when the file of a volume that was attached before is gone: an empty one would hide what was lost.
    """
    with host.database.transaction(mutates=False) as session:
        instance = instances.get_any(session, instance_id)
        uid = host.uid_of(instance.uid_number)
        attached = list(instance.volumes)
    for volume in attached:
        files = host.settings.state.volume(volume.volume_id)
        if volume.attachment_state == "attaching":
            volume_files.create_overlay(files, size_bytes=volume.size_gib * GIB, uid=uid)
        elif not files.disk.exists():
            raise MachineError(f"the file of {volume.volume_id} is missing")
        volume_files.give_to(files, uid)


def start_machine(host: Host, instance_id: str) -> None:
    """Start QEMU in the VPC's namespace, or find the one that an interrupted step started."""
    with host.locks[instance_id]:
        with host.database.transaction(mutates=False) as session:
            if instances.get_any(session, instance_id).state != State.PENDING:
                return
        bring_up(host, instance_id)


def bring_up(host: Host, instance_id: str) -> None:
    """Have the instance's machine run as its rows are; the caller holds the instance's lock."""
    with host.database.transaction(mutates=False) as session:
        instance = instances.get_any(session, instance_id)
        machine_spec = specs.machine_spec(host, instance)
        vpc_id = instance.vpc_id
    # Known to the network before the lock is free again: nobody then takes the VPC for an idle one.
    with host.locks[vpc_id]:
        network = ensure_network(host, vpc_id)
        # Read under the lock: whoever changes groups or addresses afterwards finds the interface described.
        with host.database.transaction(mutates=False) as session:
            interface_spec = specs.interface_spec(session, instances.get_any(session, instance_id))
        if host.machines.find(instance_id) is not None:
            network.adopt_interface(interface_spec)
            return
        tap = network.add_interface(interface_spec)
    try:
        host.machines.launch(machine_spec, spawn=network.spawn, tap_fds={interface_spec.interface_id: tap})
    except BaseException:
        network.remove_interface(interface_spec.interface_id)
        raise
    finally:
        os.close(tap)


def mark_running(host: Host, instance_id: str) -> None:
    """The machine runs: so do the instance and its attachments."""
    with host.database.transaction() as session:
        instance = instances.get_any(session, instance_id)
        if instance.state == State.PENDING:
            instances.set_state(instance, State.RUNNING)
            for volume in instance.volumes:
                volume.attachment_state = "attached"
                volume.attached_at = volume.attached_at or now()
    watch_machine(host, instance_id)
