"""Find out how guests are: what DescribeInstanceStatus calls ``ok``, ``initializing`` and ``impaired``.

A look at a guest asks its agent, and where none answers its network stack, by ARP; health.py judges. A guest that is
up is looked at once a minute.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select

from bakehouse.database.models import Instance, NetworkInterface, now
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.guest.agent import GuestAgent
from bakehouse.workflows.health import GuestHealth, Sign, Verdict
from bakehouse.workflows.host import Host

_log = logging.getLogger("bakehouse.reachability")

_INTERVAL_S = 1.5
_PING_TIMEOUT_S = 1.0


def guest_agent(host: Host, instance_id: str, uid_number: int | None) -> GuestAgent:
    """The agent of an instance's guest; only the machine's own process may be behind the socket."""
    socket = host.settings.state.instance(instance_id).guest_agent_socket
    return GuestAgent(host.loop, socket, peer_uid=host.uid_of(uid_number))


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A running instance, as the watch needs to know it."""

    instance_id: str
    uid_number: int | None
    vpc_id: str
    interface_id: str
    is_known_up: bool


class ReachabilityWatch:
    """A thread that looks at the guests of running instances, each when its time has come."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._health: dict[str, GuestHealth] = {}
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
            try:
                self._look_around()
            except PartError as error:
                _log.warning("cannot look at guests now: %s", error)

    def _look_around(self) -> None:
        guests = self._running()
        now_s = time.monotonic()
        for gone in self._health.keys() - {guest.instance_id for guest in guests}:
            del self._health[gone]
        for guest in guests:
            known = self._health.get(guest.instance_id)
            if known is None or (known.was_up and not guest.is_known_up):  # new, or started again
                self._health[guest.instance_id] = GuestHealth(was_up=guest.is_known_up, begun_s=now_s)
        due = [guest for guest in guests if self._health[guest.instance_id].next_look_s <= now_s]
        signs = self._look(due)
        for guest in due:
            verdict = self._health[guest.instance_id].take(signs[guest.instance_id], time.monotonic())
            self._note(guest.instance_id, verdict)

    def _running(self) -> list[Guest]:
        with self._host.database.transaction(mutates=False) as session:
            query = (
                select(
                    Instance.instance_id,
                    Instance.uid_number,
                    Instance.vpc_id,
                    NetworkInterface.interface_id,
                    Instance.reachable_at,
                )
                .join(NetworkInterface)
                .where(Instance.state == State.RUNNING)
            )
            return [
                Guest(
                    instance_id=instance_id,
                    uid_number=uid_number,
                    vpc_id=vpc_id,
                    interface_id=interface_id,
                    is_known_up=reachable_at is not None,
                )
                for instance_id, uid_number, vpc_id, interface_id, reachable_at in session.execute(query)
            ]

    def _look(self, guests: Sequence[Guest]) -> dict[str, Sign]:
        signs = {guest.instance_id: Sign.AGENT for guest in guests if self._agent_answers(guest)}
        rest = [guest for guest in guests if guest.instance_id not in signs]
        answering = self._answering(rest)
        for guest in rest:
            signs[guest.instance_id] = Sign.NETWORK if guest.interface_id in answering else Sign.NOTHING
        return signs

    def _agent_answers(self, guest: Guest) -> bool:
        with suppress(PartError):
            machine = self._host.machines.find(guest.instance_id)
            if machine is not None and machine.has_agent():
                agent = guest_agent(self._host, guest.instance_id, guest.uid_number)
                return agent.ping(timeout_s=_PING_TIMEOUT_S)
        return False

    def _answering(self, guests: Sequence[Guest]) -> set[str]:
        by_vpc: dict[str, list[str]] = defaultdict(list)
        for guest in guests:
            by_vpc[guest.vpc_id].append(guest.interface_id)
        found: set[str] = set()
        for vpc_id, interface_ids in by_vpc.items():
            network = self._host.find_network(vpc_id)
            with suppress(PartError):
                found |= network.find_answering(interface_ids) if network is not None else set()
        return found

    def _note(self, instance_id: str, verdict: Verdict) -> None:
        """Write down what is new."""
        if verdict is Verdict.UNKNOWN:
            return
        with self._host.database.transaction(mutates=False) as session:
            if _is_noted(instances.get_any(session, instance_id), verdict):
                return
        with self._host.database.transaction() as session:
            instance = instances.get_any(session, instance_id)
            if instance.state != State.RUNNING:
                return
            if verdict is Verdict.UP:
                instance.reachable_at, instance.unreachable_since = instance.reachable_at or now(), None
            else:
                instance.unreachable_since = now()


def _is_noted(instance: Instance, verdict: Verdict) -> bool:
    if verdict is Verdict.UP:
        return instance.reachable_at is not None and instance.unreachable_since is None
    return instance.unreachable_since is not None
