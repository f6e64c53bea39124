"""Find out when guests are up: what DescribeInstanceStatus calls ``ok``.

A guest is up when its agent answers; ours starts the agent when the boot is done. Without an agent a guest
counts as up when something answers at its address.
"""

import threading
from contextlib import suppress

from sqlalchemy import select

from bakehouse.database.models import Instance, now
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.guest.agent import GuestAgent
from bakehouse.workflows.host import Host

_INTERVAL_S = 1.5
_PING_TIMEOUT_S = 1.0


class ReachabilityWatch:
    """A thread that asks the guests not yet seen up; it sleeps on when there are none."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reachability", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; returns when the thread has."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            for instance_id in self._waiting():
                if self._answers(instance_id):
                    self._note(instance_id)

    def _waiting(self) -> list[str]:
        with self._host.database.transaction(mutates=False) as session:
            query = select(Instance.instance_id).where(
                Instance.state == State.RUNNING, Instance.reachable_at.is_(None)
            )
            return list(session.scalars(query))

    def _answers(self, instance_id: str) -> bool:
        socket = self._host.settings.state.instance(instance_id).guest_agent_socket
        with suppress(PartError):
            GuestAgent(self._host.loop, socket).ping(timeout_s=_PING_TIMEOUT_S)
            return True
        return False

    def _note(self, instance_id: str) -> None:
        with self._host.database.transaction() as session:
            instance = instances.get_any(session, instance_id)
            if instance.state == State.RUNNING:
                instance.reachable_at = now()
