"""A machine ended by itself: the guest shut down, or QEMU died. The record follows the truth."""

import logging

from bakehouse.database.models import now
from bakehouse.domain import instances, replace_root_volume_tasks
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.hypervisor.spec import ExitReason
from bakehouse.workflows.host import Host

_REASONS = {
    ExitReason.GUEST_SHUTDOWN: (
        "Client.InstanceInitiatedShutdown",
        "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    ),
    ExitReason.CRASH: ("Server.InternalError", "Server.InternalError: the machine ended unexpectedly"),
    ExitReason.QUIT: ("Server.InternalError", "Server.InternalError: the machine was ended from outside"),
}


_log = logging.getLogger("bakehouse.machine_exited")


def watch_machine(host: Host, instance_id: str) -> None:
    """Have ``machine_exited`` enqueued when the machine's process ends; once, however often it is asked for.

    A machine that does not answer now is no reason to give up what it was started for: upkeep asks for it again.
    """

    def on_exit(ended_id: str, reason: ExitReason) -> None:
        # On the host loop, which must not wait for the database.
        host.loop.loop.run_in_executor(None, enqueue_exit, host, ended_id, reason)

    try:
        host.machines.watch(instance_id, on_exit)
    except PartError:
        _log.exception("%s cannot be watched now", instance_id)


def enqueue_exit(host: Host, instance_id: str, reason: ExitReason) -> None:
    """Have the row follow the machine that ended."""
    with host.database.transaction() as session:
        host.enqueue(
            session,
            "machine_exited",
            instance_id,
            str(reason),
            key=instance_id,
            workflow_id=f"machine_exited-{instance_id}-{instances.new_token()}",
        )


def machine_exited(host: Host, instance_id: str, reason: str) -> None:
    """Stop or terminate an instance whose machine is gone though nobody asked for it."""
    host.engine.step(follow_exit, host, instance_id, reason)


def follow_exit(host: Host, instance_id: str, reason: str) -> None:
    """Move the row if it still says running and no machine runs; the stop or termination is its own workflow.

    An instance whose root is being exchanged has no machine for a while.
    """
    with host.locks[instance_id]:
        if host.machines.find(instance_id) is not None:
            return
        code, message = _REASONS[ExitReason(reason)]
        with host.database.transaction() as session:
            instance = instances.get_any(session, instance_id)
            if instance.state != State.RUNNING or replace_root_volume_tasks.is_under_way(session, instance_id):
                return
            ends = instance.shutdown_behavior == "terminate" and reason == ExitReason.GUEST_SHUTDOWN
            state = State.SHUTTING_DOWN if ends else State.STOPPING
            instances.set_state(
                instance,
                state,
                code=code,
                message=message,
                transition=f"{code} ({now():%Y-%m-%d %H:%M:%S} GMT)",
            )
            workflow = "terminate_instance" if ends else "stop_instance"
            host.enqueue(
                session,
                workflow,
                instance_id,
                True,
                key=instance_id,
                workflow_id=f"{workflow}-{instance_id}-{instances.new_token()}",
            )
