"""Find out when guests are up: what DescribeInstanceStatus calls ``ok``.

A guest is up when its agent answers; ours starts the agent when the boot is done. A guest without an agent stays
``initializing``: nothing else here could tell truthfully.
"""

import threading

from sqlalchemy import select

from bakehouse.database.models import Instance, now
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.guest.agent import GuestAgent
from bakehouse.workflows.host import Host

_INTERVAL_S = 1.5
_PING_TIMEOUT_S = 1.0


def guest_agent(host: Host, instance_id: str, uid_number: int | None) -> GuestAgent:
    """The agent of an instance's guest; only the machine's own process may be behind the socket."""
    socket = host.settings.state.instance(instance_id).guest_agent_socket
    return GuestAgent(host.loop, socket, peer_uid=host.uid_of(uid_number))


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
            for instance_id, uid_number in self._waiting():
                if guest_agent(self._host, instance_id, uid_number).ping(timeout_s=_PING_TIMEOUT_S):
                    self._note(instance_id)

    def _waiting(self) -> list[tuple[str, int | None]]:
        with self._host.database.transaction(mutates=False) as session:
            query = select(Instance.instance_id, Instance.uid_number).where(
                Instance.state == State.RUNNING, Instance.reachable_at.is_(None)
            )
            return list(session.execute(query).tuples())

    def _note(self, instance_id: str) -> None:
        with self._host.database.transaction() as session:
            instance = instances.get_any(session, instance_id)
            if instance.state == State.RUNNING:
                instance.reachable_at = now()
