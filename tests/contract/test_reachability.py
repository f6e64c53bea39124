"""The threads that watch over guests and records: a hostile guest holds up nobody, and a frozen one is thawed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bakehouse.database.models import Snapshot, Volume
from bakehouse.guest.agent import GuestAgent
from bakehouse.workflows import capture, reachability, reconcile, upkeep
from bakehouse.workflows.reachability import ReachabilityWatch
from tests.framework.patience import PATIENCE_S, wait_for
from tests.framework.rows import ACCOUNT
from tests.framework.stub_host import StubHost, start_stub_host

BAD, GOOD = "i-bad", "i-good"


class FreezableGuest:
    """What an agent says whose file systems can be frozen."""

    def __init__(self, *, is_frozen: bool = False) -> None:
        self.is_frozen = is_frozen

    def answer(self, command: str, arguments: dict[str, Any]) -> bytes:
        if command == "guest-fsfreeze-status":
            return b'{"return": "frozen"}' if self.is_frozen else b'{"return": "thawed"}'
        self.is_frozen = command == "guest-fsfreeze-freeze"
        return b'{"return": 1}'


@pytest.fixture(name="shared", scope="module")
def _shared() -> Iterator[StubHost]:
    with start_stub_host() as stub:
        yield stub


@pytest.fixture(name="stub")
def _stub(shared: StubHost) -> Iterator[StubHost]:
    yield shared
    shared.clear()


@pytest.fixture(name="watch")
def _watch(stub: StubHost) -> Iterator[ReachabilityWatch]:
    watch = ReachabilityWatch(stub.host)
    yield watch
    watch._askers.shutdown()


def look_until(watch: ReachabilityWatch, check: Callable[[], bool], what: str) -> None:
    """Round after round until ``check`` holds."""

    def look_and_check() -> bool:
        watch.look_around()
        return check()

    wait_for(look_and_check, what)


@contextmanager
def running(watch: ReachabilityWatch, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The watch's own thread, whose rounds follow one another at once."""
    monkeypatch.setattr(reachability, "_INTERVAL_S", 0.01)
    watch.start()
    try:
        yield
    finally:
        watch.close()


def test_a_guest_that_says_nonsense_is_not_up_and_another_is(stub: StubHost, watch: ReachabilityWatch) -> None:
    stub.run(BAD).synchronise = lambda token: b"\xff" + b"[" * 60_000 + b"\n"
    stub.run(GOOD)
    look_until(watch, lambda: stub.is_up(GOOD), "the good guest is up")
    assert not stub.is_up(BAD)


def test_whatever_asking_one_guest_comes_to_others_are_up(stub: StubHost, watch: ReachabilityWatch) -> None:
    def fail() -> None:
        raise RecursionError

    stub.run(BAD)
    stub.run(GOOD)
    stub.machines.before_find[BAD] = fail
    look_until(watch, lambda: stub.is_up(GOOD), "the good guest is up")
    assert not stub.is_up(BAD)


def test_a_machine_that_hangs_holds_up_the_look_at_no_other(stub: StubHost, watch: ReachabilityWatch) -> None:
    may_go_on = threading.Event()
    stub.run(BAD)
    stub.run(GOOD)
    stub.machines.before_find[BAD] = may_go_on.wait
    try:
        look_until(watch, lambda: stub.is_up(GOOD), "the good guest is up")
        assert not stub.is_up(BAD)
    finally:
        may_go_on.set()
    look_until(watch, lambda: stub.is_up(BAD), "the other one is up, too")


def test_a_round_that_fails_is_followed_by_another(
    stub: StubHost, watch: ReachabilityWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        monkeypatch.setattr(watch, "look_around", look_around)
        raise RuntimeError("database is locked")

    stub.run(GOOD)
    look_around = watch.look_around
    monkeypatch.setattr(watch, "look_around", fail)
    with running(watch, monkeypatch):
        wait_for(lambda: stub.is_up(GOOD), "the guest is up")


def test_what_could_not_be_noted_is_noted_in_the_next_round(
    stub: StubHost, watch: ReachabilityWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        monkeypatch.setattr(watch, "_note", note)
        raise RuntimeError("database is locked")

    stub.run(GOOD)
    note = watch._note
    monkeypatch.setattr(watch, "_note", fail)
    look_until(watch, lambda: stub.is_up(GOOD), "the guest is up")


def test_a_guest_that_is_frozen_for_nobody_is_thawed(stub: StubHost, watch: ReachabilityWatch) -> None:
    guest = FreezableGuest(is_frozen=True)
    stub.run(GOOD).answer = guest.answer
    look_until(watch, lambda: stub.is_up(GOOD), "the guest is up")
    assert not guest.is_frozen


def test_a_guest_that_is_being_captured_stays_frozen(stub: StubHost, watch: ReachabilityWatch) -> None:
    guest = FreezableGuest(is_frozen=True)
    stub.run(GOOD).answer = guest.answer
    with stub.host.freezing[GOOD]:
        look_until(watch, lambda: stub.is_up(GOOD), "the guest is up")
        assert guest.is_frozen


def test_a_guest_that_froze_too_late_is_thawed(stub: StubHost, watch: ReachabilityWatch) -> None:
    guest = FreezableGuest()
    scripted = stub.run(GOOD, is_known_up=True)
    scripted.answer = guest.answer
    watch.look_around()  # it is up: the next look is a minute away

    def freeze_for_long(command: str, arguments: dict[str, Any]) -> bytes:
        scripted.answer = guest.answer
        scripted.keep_busy()
        return guest.answer(command, arguments)

    scripted.answer = freeze_for_long
    agent = GuestAgent(stub.loop, scripted.path)
    with agent.frozen(timeout_s=0.5, in_doubt=lambda: stub.host.in_doubt.add(GOOD)):
        pass
    assert stub.host.in_doubt == {GOOD}
    watch.look_around()
    scripted.get_ready()
    look_until(watch, lambda: not guest.is_frozen, "the guest is thawed")


def test_a_restarted_service_is_in_doubt_about_guests_that_were_being_captured(stub: StubHost) -> None:
    stub.run(BAD)
    stub.run(GOOD)
    with stub.database.transaction(region="us-east-1") as session:
        for name, state in ((BAD, "completed"), (GOOD, "pending")):
            volume_id = name.replace("i-", "vol-")
            session.add(volume_of(volume_id, instance_id=name))
            session.add(snapshot_of(volume_id, state=state))
    capture.doubt_all(stub.host)
    assert stub.host.in_doubt == {GOOD}
    assert stub.agents[GOOD].commands == []


def test_whatever_reattaching_to_one_machine_comes_to_others_are_reattached_to(
    stub: StubHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RecursionError

    monkeypatch.setattr(reconcile, "_adopt_network", lambda host, vpc_id, alive: None)
    stub.run(BAD)
    stub.run(GOOD)
    stub.machines.before_find[BAD] = fail
    reconcile.adopt_running(stub.host)
    assert stub.machines.watched == [GOOD]


def test_upkeep_that_fails_is_followed_by_another(stub: StubHost, monkeypatch: pytest.MonkeyPatch) -> None:
    tidied = threading.Event()

    def fail(host: object) -> None:
        monkeypatch.setattr(upkeep, "tidy", lambda host: tidied.set())
        raise RuntimeError("database is locked")

    monkeypatch.setattr(upkeep, "tidy", fail)
    monkeypatch.setattr(upkeep, "_INTERVAL_S", 0.01)
    thread = upkeep.Upkeep(stub.host)
    thread.start()
    try:
        assert tidied.wait(timeout=PATIENCE_S)
    finally:
        thread.close()


def volume_of(volume_id: str, *, instance_id: str) -> Volume:
    return Volume(
        volume_id=volume_id,
        account_id=ACCOUNT,
        availability_zone="us-east-1a",
        size_gib=1,
        state="in-use",
        instance_id=instance_id,
    )


def snapshot_of(volume_id: str, *, state: str) -> Snapshot:
    return Snapshot(
        snapshot_id=volume_id.replace("vol-", "snap-"),
        account_id=ACCOUNT,
        volume_id=volume_id,
        volume_size_gib=1,
        state=state,
    )
