"""Find out how guests are: what DescribeInstanceStatus calls ``ok``, ``initializing`` and ``impaired``.

A look at a guest asks its agent, and where none answers its network stack, by ARP; health.py judges. A guest that is
up is looked at once a minute. One that is found frozen though nobody captures it is thawed: its agent took too long
over a freeze, or the service died in the middle of one.

Invariant: no guest holds up the look at another, whatever it, or its QEMU, does.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from sqlalchemy import select

from bakehouse.database.models import Instance, NetworkInterface, now
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.guest.agent import Condition, GuestAgent
from bakehouse.workflows.health import GuestHealth, Sign, Verdict
from bakehouse.workflows.host import Host

_log = logging.getLogger("bakehouse.reachability")

_INTERVAL_S = 1.5
_ANSWER_TIMEOUT_S, _THAW_TIMEOUT_S = 1.0, 5.0
# A round waits this long for agents; those that take longer are asked on, and heard in a later round.
_ROUND_S = 1.5
_ASKED_AT_ONCE = 16


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


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look that is under way: what the agent of a guest says, which belongs to this start of its machine."""

    guest: Guest
    health: GuestHealth
    condition: Future[Condition]


class ReachabilityWatch:
    """A thread that looks at the guests of running instances, each when its time has come."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._health: dict[str, GuestHealth] = {}
        self._looks: dict[str, Look] = {}
        self._askers = ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="reachability")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reachability", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; returns when the thread has."""
        self._stopped.set()
        self._thread.join(timeout=10)
        self._askers.shutdown(wait=False, cancel_futures=True)
        wait([look.condition for look in self._looks.values()], timeout=10)

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            try:
                self.look_around()
            except Exception:  # "database is locked", say: the next round is another one
                _log.exception("cannot look at guests now")

    def look_around(self) -> None:
        """Ask those whose time has come, and note what is known by the end of the round."""
        guests = self._running()
        self._know(guests)
        now_s = time.monotonic()
        for instance_id, guest in guests.items():
            health = self._health[instance_id]
            if instance_id not in self._looks and health.next_look_s <= now_s:
                condition = self._askers.submit(self._ask, guest)
                self._looks[instance_id] = Look(guest=guest, health=health, condition=condition)
        wait([look.condition for look in self._looks.values()], timeout=_ROUND_S)
        done = [look for look in self._looks.values() if look.condition.done()]
        for look in done:
            del self._looks[look.guest.instance_id]
        self._judge([look for look in done if self._health.get(look.guest.instance_id) is look.health])

    def _know(self, guests: Mapping[str, Guest]) -> None:
        """Remember those that are new or were started again, forget those that are gone."""
        now_s = time.monotonic()
        for gone in self._health.keys() - guests:
            del self._health[gone]
        for instance_id, guest in guests.items():
            known = self._health.get(instance_id)
            if known is None or (known.was_up and not guest.is_known_up):
                self._health[instance_id] = GuestHealth(was_up=guest.is_known_up, begun_s=now_s)
        while self._host.in_doubt:
            if (health := self._health.get(self._host.in_doubt.pop())) is not None:
                health.doubt(now_s)

    def _judge(self, looks: Sequence[Look]) -> None:
        answering = self._answering([look.guest for look in looks if look.condition.result() is Condition.SILENT])
        for look in looks:
            condition = look.condition.result()
            if condition is Condition.THAWED:
                look.health.trust()
            if condition is not Condition.SILENT:
                sign = Sign.AGENT
            else:
                sign = Sign.NETWORK if look.guest.interface_id in answering else Sign.NOTHING
            verdict = look.health.take(sign, time.monotonic())
            try:
                self._note(look.guest.instance_id, verdict)
            except Exception:
                _log.exception("cannot note how the guest of %s is", look.guest.instance_id)
                look.health.look_again()

    def _running(self) -> dict[str, Guest]:
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
            return {
                instance_id: Guest(
                    instance_id=instance_id,
                    uid_number=uid_number,
                    vpc_id=vpc_id,
                    interface_id=interface_id,
                    is_known_up=reachable_at is not None,
                )
                for instance_id, uid_number, vpc_id, interface_id, reachable_at in session.execute(query)
            }

    def _ask(self, guest: Guest) -> Condition:
        """What the agent says; a guest that is frozen for nobody is thawed."""
        try:
            machine = self._host.machines.find(guest.instance_id)
            if machine is None or not machine.has_agent():
                return Condition.SILENT
            agent = guest_agent(self._host, guest.instance_id, guest.uid_number)
            condition = agent.condition(timeout_s=_ANSWER_TIMEOUT_S)
            if condition is Condition.FROZEN:
                self._thaw(guest.instance_id, agent)
        except PartError as error:
            _log.debug("cannot ask the agent of %s: %s", guest.instance_id, error)
        except Exception:
            _log.exception("cannot ask the agent of %s", guest.instance_id)
        else:
            return condition
        return Condition.SILENT

    def _thaw(self, instance_id: str, agent: GuestAgent) -> None:
        lock = self._host.freezing[instance_id]
        if not lock.acquire(blocking=False):
            return  # it is being captured, and thawed right after
        try:
            agent.thaw(timeout_s=_THAW_TIMEOUT_S)
            _log.warning("thawed the guest of %s, which had been left frozen", instance_id)
        finally:
            lock.release()

    def _answering(self, guests: Iterable[Guest]) -> set[str]:
        by_vpc: dict[str, list[str]] = defaultdict(list)
        for guest in guests:
            by_vpc[guest.vpc_id].append(guest.interface_id)
        found: set[str] = set()
        for vpc_id, interface_ids in by_vpc.items():
            try:
                network = self._host.find_network(vpc_id)
                found |= network.find_answering(interface_ids) if network is not None else set()
            except Exception as error:  # whatever is wrong with one network, the others' guests are asked
                _log.warning("cannot ask the guests of %s: %s", vpc_id, error)
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
