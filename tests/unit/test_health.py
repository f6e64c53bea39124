"""From looks at a guest to its instance status, over made-up hours."""

import pytest

from bakehouse.workflows.health import NEVER_UP_S, QUIET_S, SILENT_S, GuestHealth, Sign, Verdict

BEGUN_S = 1000.0


def new(*, was_up: bool = False) -> GuestHealth:
    return GuestHealth(was_up=was_up, begun_s=BEGUN_S)


def watch(health: GuestHealth, sign: Sign, *, for_s: float, from_s: float = BEGUN_S) -> tuple[Verdict, int]:
    """Look whenever it is time to, always with the same sign; the last verdict and the number of looks."""
    now_s, looks = from_s, 0
    verdict = Verdict.UNKNOWN
    while now_s <= from_s + for_s:
        verdict = health.take(sign, now_s)
        looks += 1
        now_s = health.next_look_s
    return verdict, looks


def test_a_guest_whose_agent_answers_is_up_at_once_and_then_seldom_asked() -> None:
    health = new()
    assert health.take(Sign.AGENT, BEGUN_S) is Verdict.UP
    _, looks = watch(health, Sign.AGENT, for_s=3600, from_s=health.next_look_s)
    assert looks <= 61


def test_a_guest_without_an_agent_is_up_when_its_network_has_answered_for_a_while() -> None:
    health = new()
    assert watch(health, Sign.NETWORK, for_s=QUIET_S - 2)[0] is Verdict.UNKNOWN
    assert watch(health, Sign.NETWORK, for_s=4, from_s=health.next_look_s)[0] is Verdict.UP


def test_a_guest_whose_network_comes_and_goes_is_not_up_yet() -> None:
    health = new()
    now_s = BEGUN_S
    for sign in [Sign.NETWORK, Sign.NOTHING] * 10:
        verdict, _ = watch(health, sign, for_s=QUIET_S - 5, from_s=now_s)
        assert verdict is not Verdict.UP
        now_s = health.next_look_s


@pytest.mark.parametrize(("was_up", "patience_s"), [(True, SILENT_S), (False, NEVER_UP_S)], ids=["was up", "never up"])
def test_a_silent_guest_is_impaired_after_a_while_and_not_before(was_up: bool, patience_s: float) -> None:
    health = new(was_up=was_up)
    assert watch(health, Sign.NOTHING, for_s=patience_s - 16)[0] is Verdict.UNKNOWN
    assert watch(health, Sign.NOTHING, for_s=32, from_s=health.next_look_s)[0] is Verdict.SILENT


def test_a_guest_that_answers_again_is_up_again_and_its_silence_is_forgotten() -> None:
    health = new(was_up=True)
    watch(health, Sign.NOTHING, for_s=2 * SILENT_S)
    later_s = health.next_look_s
    assert health.take(Sign.NETWORK, later_s) is Verdict.UP
    assert health.take(Sign.NOTHING, later_s + SILENT_S) is Verdict.UNKNOWN


def test_a_guest_that_never_boots_is_asked_less_often_with_time() -> None:
    health = new()
    _, early = watch(health, Sign.NOTHING, for_s=60)
    watch(health, Sign.NOTHING, for_s=600, from_s=health.next_look_s)
    _, late = watch(health, Sign.NOTHING, for_s=60, from_s=health.next_look_s)
    assert early > 5 * late
