"""Stop and terminate: from the row's intent to a machine that is gone, and everything given back."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance
from bakehouse.domain import instances, replace_root_volume_tasks, volumes
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.storage import volumes as volume_files
from bakehouse.workflows.capture_wait import between_captures
from bakehouse.workflows.host import Host
from bakehouse.workflows.vpc_network import end_idle_network

# How long a guest may take to go down, on its own account, before its machine is ended; less when that is forced.
_SHUTDOWN_TIMEOUT_S = 150.0
_TERMINATION_TIMEOUT_S = 30.0
_FORCED_TIMEOUT_S = 20.0
# Longer than any guest is given to shut down.
_CHANGE_WAIT_S = 240.0

_log = logging.getLogger("bakehouse.end_instance")


def stop_instance(host: Host, instance_id: str, force: bool, skip_shutdown: bool = False) -> None:
    """Shut the guest down (with less patience if ``force``, or not at all) and mark the instance stopped."""
    timeout_s = _FORCED_TIMEOUT_S if force else _SHUTDOWN_TIMEOUT_S
    host.engine.step(end_machine, host, instance_id, 0.0 if skip_shutdown else timeout_s)
    host.engine.step(leave_network, host, instance_id)
    host.engine.step(mark_stopped, host, instance_id)


def terminate_instance(host: Host, instance_id: str, skip_shutdown: bool, force: bool = False) -> None:
    """End the machine, delete what goes with the instance, and give back what it held."""
    timeout_s = _FORCED_TIMEOUT_S if force else _TERMINATION_TIMEOUT_S
    host.engine.step(end_machine, host, instance_id, 0.0 if skip_shutdown else timeout_s)
    host.engine.step(leave_network, host, instance_id)
    host.engine.step(delete_files, host, instance_id)
    host.engine.step(mark_terminated, host, instance_id)


def end_launch(host: Host, instance_id: str, reason: str) -> None:
    """A launch failed: the instance ends with the reason, as on EC2, and nothing of it is left.

    One that has run before only stops again, whatever became of its start: its volumes hold work.
    """
    _end_now(host, instance_id)
    leave_network(host, instance_id)
    with host.database.transaction() as session:
        instance = instances.get_any(session, instance_id)
        has_run_before = any(volume.attachment_state == "attached" for volume in instance.volumes)
        message = f"Server.InternalError: {reason}"
        if instance.state in (State.PENDING, State.RUNNING):
            state = State.STOPPED if has_run_before else State.SHUTTING_DOWN
            instances.set_state(instance, state, code="Server.InternalError", message=message)
        if has_run_before:
            # Also when this step runs again, or when a stop or a termination is in line behind it.
            _give_back_address(instance)
            return
    delete_files(host, instance_id)
    _finish_termination(host, instance_id)


def end_machine(host: Host, instance_id: str, timeout_s: float) -> None:
    """Ask the guest to go down; what does not within ``timeout_s`` is ended. Captures of its disks end first."""
    with between_captures(host, instance_id):
        try:
            machine = host.machines.find(instance_id)
            if machine is not None and timeout_s > 0:
                machine.power_down(timeout_s=timeout_s)
        except PartError:
            pass  # a hung machine cannot be asked; it is ended below
        _end_now(host, instance_id)


def _end_now(host: Host, instance_id: str) -> None:
    try:
        machine = host.machines.find(instance_id)
        if machine is not None:
            machine.quit()
    except PartError:
        host.machines.kill(instance_id)


def leave_network(host: Host, instance_id: str) -> None:
    """Take the interface out of its VPC; end the VPC's network with its last machine."""
    with host.database.transaction(mutates=False) as session:
        instance = instances.get_any(session, instance_id)
        vpc_id = instance.vpc_id
        interface_id = instance.interface.interface_id if instance.interface else None
    try:
        with host.locks[vpc_id]:
            network = host.find_network(vpc_id)
            if network is not None and interface_id is not None:
                network.remove_interface(interface_id)
            end_idle_network(host, vpc_id)
    except PartError:
        # The tap went with its machine; what is left of the network is set right by the next that needs it.
        _log.exception("%s did not leave its network in order", instance_id)


def mark_stopped(host: Host, instance_id: str) -> None:
    """Stopped: the automatic public address goes back, as EC2's does; an elastic one stays."""
    with host.database.transaction() as session:
        instance = instances.get_any(session, instance_id)
        if instance.state == State.STOPPING:
            instances.set_state(
                instance,
                State.STOPPED,
                code=instance.state_reason_code,
                message=instance.state_reason_message,
                transition=instance.state_transition_reason,
            )
        _give_back_address(instance)


def _give_back_address(instance: Instance) -> None:
    interface = instance.interface
    if instance.state == State.STOPPED and interface is not None and interface.elastic_address is None:
        interface.public_ip = None


def delete_files(host: Host, instance_id: str) -> None:
    """Delete the machine's files and the volumes that go with it; the others belong to no machine now."""
    with host.database.transaction(mutates=False) as session:
        instance = instances.get_any(session, instance_id)
        doomed = [volume.volume_id for volume in instance.volumes if volume.delete_on_termination]
        kept = [volume.volume_id for volume in instance.volumes if not volume.delete_on_termination]
    for volume_id in doomed:
        volume_files.delete(host.settings.state.volume(volume_id))
    for volume_id in kept:
        files = host.settings.state.volume(volume_id)
        try:
            if files.root.exists():
                volume_files.give_to(files, host.uid_of(None))
        except PartError:
            # Something of the guest's making lies there: nobody gets in any more, but the instance must end.
            _log.exception("%s stays closed", volume_id)
    host.machines.remove(instance_id)


def mark_terminated(host: Host, instance_id: str) -> None:
    """Terminated: addresses, groups and uid are free again."""
    _finish_termination(host, instance_id)


def _finish_termination(host: Host, instance_id: str) -> None:
    with host.database.transaction() as session:
        instance = instances.get_any(session, instance_id)
        if instance.state == State.TERMINATED:
            return
        instances.set_state(
            instance,
            State.TERMINATED,
            code=instance.state_reason_code,
            message=instance.state_reason_message,
            transition=instance.state_transition_reason,
        )
        _forget_volumes(session, instance)
        instances.release(session, instance)
        vpc_id = instance.vpc_id
        session.flush()
        host.enqueue(
            session,
            "apply_firewall",
            vpc_id,
            key=vpc_id,
            workflow_id=f"apply_firewall-after-{instance_id}",
        )


def _forget_volumes(session: Session, instance: Instance) -> None:
    for volume in list(instance.volumes):
        if volume.delete_on_termination:
            volumes.mark_deleted(session, volume)


def stop_all(host: Host) -> None:
    """Shut every machine down cleanly, side by side, and end the VPCs' agents; their instances are stopped.

    What was begun before (a launch, a stop that waits for its guest) ends first. What fails for one is logged, and
    the others are stopped all the same.
    """
    _wait_until_none_changes(host)
    with host.database.transaction(mutates=False) as session:
        running = session.scalars(select(Instance).where(Instance.state == State.RUNNING)).all()
    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(lambda one: _stop_one(host, one.instance_id), running))
    _wait_until_none_changes(host)  # guests that went down by themselves have workflows of their own
    for vpc_id in {one.vpc_id for one in running}:
        try:
            host.networks.shut_down(vpc_id)
        except (PartError, OSError):
            _log.exception("the network of %s was not ended", vpc_id)


def _wait_until_none_changes(host: Host) -> None:
    changing = select(Instance.instance_id).where(
        Instance.state.in_((State.PENDING, State.STOPPING, State.SHUTTING_DOWN))
    )
    deadline = time.monotonic() + _CHANGE_WAIT_S
    while time.monotonic() < deadline:
        with host.database.transaction(mutates=False) as session:
            if session.scalars(changing).first() is None and not replace_root_volume_tasks.under_way(session):
                return
        time.sleep(0.5)


def _stop_one(host: Host, instance_id: str) -> None:
    with host.database.transaction() as session:
        instance = instances.get_any(session, instance_id)
        if instance.state != State.RUNNING:
            return  # its guest has gone down by itself meanwhile
        instances.set_state(
            instance,
            State.STOPPING,
            code="Server.ScheduledStop",
            message="Server.ScheduledStop: Stopped by the host's administrator",
        )
    try:
        end_machine(host, instance_id, _SHUTDOWN_TIMEOUT_S)
        leave_network(host, instance_id)
        mark_stopped(host, instance_id)
    except (PartError, OSError):
        _log.exception("%s was not stopped; the next start goes on with it", instance_id)
