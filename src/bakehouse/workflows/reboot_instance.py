"""RebootInstances after the answer: the guest goes down by itself, or is stopped where it stands, and boots.

    asked to shut down -> held, or paused when it does not in a few minutes -> reset, and on

What the guest has not written to its disks would be lost in a reset alone. Both steps find by the machine's own state
what they have done already, so that no guest is reset that has booted meanwhile.
"""

import logging
import time

from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.workflows.host import Host

# EC2 resets a guest that does not go down "within a few minutes".
_SHUTDOWN_TIMEOUT_S = 150.0
# A stop or a termination of the instance waits no longer than this for a guest that is deaf.
_LOOK_AGAIN_S = 5.0

_log = logging.getLogger("bakehouse.reboot_instance")


def reboot_instance(host: Host, instance_id: str) -> None:
    """Boot a running instance's guest anew."""
    try:
        host.engine.step(bring_down, host, instance_id)
        host.engine.step(boot, host, instance_id)
    except PartError as error:
        _log.warning("%s was not rebooted: %s", instance_id, error)


def bring_down(host: Host, instance_id: str) -> None:
    """Have the guest shut down, its machine held; one that does not is paused. Not if the instance is to end."""
    deadline = time.monotonic() + _SHUTDOWN_TIMEOUT_S
    with host.locks[instance_id]:
        machine = host.machines.find(instance_id)
        if machine is None or machine.status() == "paused":  # paused: by this step, before it was cut off
            return
        while _is_wanted(host, instance_id):
            if machine.shut_down_for_boot(timeout_s=_LOOK_AGAIN_S):
                return
            if time.monotonic() >= deadline:
                machine.pause()
                return


def boot(host: Host, instance_id: str) -> None:
    """Boot the machine that ``bring_down`` brought to rest."""
    with host.locks[instance_id]:
        machine = host.machines.find(instance_id)
        if machine is not None and _is_wanted(host, instance_id):
            machine.boot_again()


def _is_wanted(host: Host, instance_id: str) -> bool:
    with host.database.transaction(mutates=False) as session:
        return bool(instances.get_any(session, instance_id).state == State.RUNNING)
