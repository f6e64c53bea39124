"""CreateReplaceRootVolumeTask after the answer: a new root is made, takes the old one's place, and the guest boots.

    new overlay -> captures end -> machine ends -> rows change places -> machine starts -> the old root is free

The machine is started anew, as nothing else exchanges the disk that a guest stands on; its interface, addresses, uuid
and other volumes stay. What fails before the rows change places leaves the instance as it was; what fails afterwards
puts the old root back and boots it.
"""

import logging
import time
from contextlib import suppress

from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, ReplaceRootVolumeTask, Volume
from bakehouse.domain import instances, replace_root_volume_tasks
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.hypervisor.spec import ExitReason, MachineError
from bakehouse.storage import volumes as volume_files
from bakehouse.workflows import volumes
from bakehouse.workflows.capture_wait import CAPTURE_WAIT_S, LOOK_AGAIN_S, is_capture_pending
from bakehouse.workflows.end_instance import end_machine
from bakehouse.workflows.host import Host
from bakehouse.workflows.launch_instance import bring_up, hydrate_bases, prepare_volumes
from bakehouse.workflows.machine_exited import enqueue_exit, watch_machine

_SHUTDOWN_TIMEOUT_S = 150.0

_log = logging.getLogger("bakehouse.replace_root_volume")


def replace_root_volume(host: Host, task_id: str) -> None:
    """Exchange the root of an instance, or leave it with the one it has."""
    try:
        host.engine.step(make_replacement, host, task_id)
        host.engine.step(begin_exchange, host, task_id)
        host.engine.step(end_old_machine, host, task_id)
        host.engine.step(exchange_roots, host, task_id)
        host.engine.step(start_on_new_root, host, task_id)
    except PartError as error:
        _log.warning("%s failed: %s", task_id, error)
        host.engine.step(put_back, host, task_id)
        host.engine.step(fail_task, host, task_id)
        return
    host.engine.step(finish_task, host, task_id)


def _get_task(session: Session, task_id: str) -> ReplaceRootVolumeTask:
    return session.get_one(ReplaceRootVolumeTask, task_id)


def _read_task(host: Host, task_id: str) -> ReplaceRootVolumeTask:
    with host.database.transaction(mutates=False) as session:
        return _get_task(session, task_id)


def make_replacement(host: Host, task_id: str) -> None:
    """Hydrate what the new root lies over, and make its overlay: what is damaged fails before anything is touched."""
    volumes.make_disk(host, _read_task(host, task_id).new_volume_id)


def begin_exchange(host: Host, task_id: str) -> None:
    """Let captures of the instance end: they are read through its machine. None begins from now on."""
    deadline = time.monotonic() + CAPTURE_WAIT_S
    while True:
        with host.database.transaction() as session:
            task = _get_task(session, task_id)
            if not is_capture_pending(session, task.instance_id):
                if task.state == replace_root_volume_tasks.PENDING:
                    task.state = replace_root_volume_tasks.IN_PROGRESS
                return
        if time.monotonic() > deadline:
            raise MachineError("the instance was being captured for too long")
        time.sleep(LOOK_AGAIN_S)


def end_old_machine(host: Host, task_id: str) -> None:
    """Have the guest shut down: its other volumes stay, and the old root may be kept."""
    end_machine(host, _read_task(host, task_id).instance_id, _SHUTDOWN_TIMEOUT_S)


def exchange_roots(host: Host, task_id: str) -> None:
    """The old root's files belong to no machine any more; then the rows change places."""
    task = _read_task(host, task_id)
    with host.locks[task.instance_id]:
        volume_files.give_to(host.settings.state.volume(task.old_volume_id), host.uid_of(None))
        if task.image_id is not None:
            # The firmware's notes are about the disk that leaves; it begins anew.
            host.settings.state.instance(task.instance_id).firmware_variables.unlink(missing_ok=True)
        with host.database.transaction() as session:
            replace_root_volume_tasks.exchange(session, _get_task(session, task_id))


def start_on_new_root(host: Host, task_id: str) -> None:
    """Boot, unless somebody stops or terminates the instance meanwhile."""
    _start(host, _read_task(host, task_id).instance_id)


def _start(host: Host, instance_id: str) -> None:
    hydrate_bases(host, instance_id)
    with host.locks[instance_id]:
        prepare_volumes(host, instance_id)  # the root's files are the machine's, whether it starts now or later
        with host.database.transaction(mutates=False) as session:
            if instances.get_any(session, instance_id).state != State.RUNNING:
                return
        bring_up(host, instance_id)
    watch_machine(host, instance_id)


def finish_task(host: Host, task_id: str) -> None:
    """It succeeded: the old root is available, or goes."""
    with host.database.transaction() as session:
        task = _get_task(session, task_id)
        was_under_way = task.state in replace_root_volume_tasks.UNDER_WAY
        old = replace_root_volume_tasks.succeed(session, task)
        if was_under_way and task.delete_replaced:
            _enqueue_deletion(host, session, old)


def put_back(host: Host, task_id: str) -> None:
    """The old root is attached and booted; should even that fail, the instance stops (see ``fail_task``)."""
    with host.database.transaction() as session:
        replace_root_volume_tasks.put_back(session, _get_task(session, task_id))
    with suppress(PartError):
        _start(host, _read_task(host, task_id).instance_id)


def fail_task(host: Host, task_id: str) -> None:
    """It failed: the new volume goes, and an instance whose machine does not run any more is stopped."""
    with host.database.transaction() as session:
        task = _get_task(session, task_id)
        was_under_way = task.state in replace_root_volume_tasks.UNDER_WAY
        new = replace_root_volume_tasks.fail(session, task)
        if was_under_way:
            _enqueue_deletion(host, session, new)
        state = session.get_one(Instance, task.instance_id).state
    if state == State.RUNNING and task.instance_id not in host.machines.all_running():
        enqueue_exit(host, task.instance_id, ExitReason.CRASH)


def _enqueue_deletion(host: Host, session: Session, volume: Volume) -> None:
    host.enqueue(
        session,
        "delete_volume",
        volume.volume_id,
        key=volume.volume_id,
        workflow_id=f"delete_volume-{volume.volume_id}-{instances.new_token()}",
    )
