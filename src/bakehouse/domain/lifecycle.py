"""What start, stop, reboot and terminate do to the rows; the workflow of the same name does the rest.

Each function checks all instances before it changes any: a refused call changes nothing.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Instance, now
from bakehouse.domain import elastic_addresses, instance_types, volumes
from bakehouse.domain.instances import State, count_fitting, set_state, user_request_reason
from bakehouse.errors import ApiError


def _refuse(instance: Instance, verb: str) -> ApiError:
    return ApiError(
        "IncorrectInstanceState",
        f"The instance '{instance.instance_id}' is not in a state from which it can be {verb}.",
    )


def _changed(instances: Sequence[Instance], idle: State, target: State) -> list[Instance]:
    return [instance for instance in instances if instance.state not in {idle, target}]


def stop(instances: Sequence[Instance]) -> list[Instance]:
    """Move to ``stopping``; returns those that change (a stopped instance stays as it is)."""
    for instance in instances:
        if instance.state not in {State.RUNNING, State.STOPPING, State.STOPPED}:
            raise _refuse(instance, "stopped")
        if instance.disable_api_stop:
            raise ApiError(
                "OperationNotPermitted",
                f"The instance '{instance.instance_id}' may not be stopped. "
                "Modify its 'disableApiStop' instance attribute and try again.",
            )
    changed = _changed(instances, State.STOPPED, State.STOPPING)
    for instance in changed:
        reason = user_request_reason()
        set_state(
            instance,
            State.STOPPING,
            code="Client.UserInitiatedShutdown",
            message="Client.UserInitiatedShutdown: User initiated shutdown",
            transition=reason,
        )
    return changed


def start(
    session: Session,
    instances: Sequence[Instance],
    *,
    memory_mib: int,
    overhead_mib: int,
    public_network: IPv4Network,
) -> list[Instance]:
    """Move to ``pending``; returns those that change (a running instance stays as it is)."""
    for instance in instances:
        if instance.state not in {State.STOPPED, State.PENDING, State.RUNNING}:
            raise _refuse(instance, "started")
    changed = _changed(instances, State.RUNNING, State.PENDING)
    for instance in changed:
        _check_root(instance)
    for instance in changed:
        size = instance_types.get_instance_type(instance.instance_type)
        count_fitting(session, size, 1, 1, memory_mib=memory_mib, overhead_mib=overhead_mib)
        set_state(instance, State.PENDING)
        instance.launched_at = now()
        if instance.interface is not None:
            elastic_addresses.give_automatic(session, instance.interface, public_network)
        session.flush()
    return changed


def _check_root(instance: Instance) -> None:
    """Refuse what has nothing to boot from."""
    root = volumes.find_root(instance)
    if root is None or root.attachment_state == "detaching":
        raise errors.no_root_volume(instance.instance_id, instance.root_device_name)


def check_reboot(instances: Sequence[Instance]) -> None:
    """Refuse what cannot be rebooted."""
    for instance in instances:
        if instance.state not in {State.RUNNING, State.PENDING}:
            raise _refuse(instance, "rebooted")


def terminate(instances: Sequence[Instance]) -> list[Instance]:
    """Move to ``shutting-down``; returns those that change (twice is fine)."""
    for instance in instances:
        if instance.disable_api_termination and instance.state != State.TERMINATED:
            raise ApiError(
                "OperationNotPermitted",
                f"The instance '{instance.instance_id}' may not be terminated. "
                "Modify its 'disableApiTermination' instance attribute and try again.",
            )
    changed = _changed(instances, State.TERMINATED, State.SHUTTING_DOWN)
    for instance in changed:
        set_state(
            instance,
            State.SHUTTING_DOWN,
            code="Client.UserInitiatedShutdown",
            message="Client.UserInitiatedShutdown: User initiated shutdown",
            transition=user_request_reason(),
        )
    return changed
