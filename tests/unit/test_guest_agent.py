"""The guest agent's client against a scripted agent, well-behaved and hostile."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakehouse.guest.agent import Condition, GuestAgent, GuestError, GuestUnreachableError
from bakehouse.host.loop import HostLoop
from tests.framework.scripted_agent import ScriptedAgent, answer_to_sync


@pytest.fixture(name="loop")
def _loop() -> Iterator[HostLoop]:
    loop = HostLoop()
    yield loop
    loop.close()


@pytest.fixture(name="scripted")
def _scripted(loop: HostLoop, tmp_path: Path) -> Iterator[ScriptedAgent]:
    scripted = ScriptedAgent(loop, tmp_path / "qga.sock")
    yield scripted
    scripted.close()


@pytest.fixture(name="agent")
def _agent(loop: HostLoop, scripted: ScriptedAgent) -> GuestAgent:
    return GuestAgent(loop, scripted.path)


@pytest.mark.parametrize(
    ("reply", "condition"),
    [
        (b'{"return": "thawed"}', Condition.THAWED),
        (b'{"return": "frozen"}', Condition.FROZEN),
        (b'{"error": {"desc": "The command guest-fsfreeze-status has been disabled"}}', Condition.THAWED),
        (b"nonsense", Condition.SILENT),
    ],
)
def test_an_agent_tells_how_its_guest_is(
    agent: GuestAgent, scripted: ScriptedAgent, reply: bytes, condition: Condition
) -> None:
    scripted.answer = lambda command, arguments: reply
    assert agent.condition(timeout_s=60) is condition


def test_a_guest_is_silent_when_nobody_listens(loop: HostLoop, tmp_path: Path) -> None:
    assert GuestAgent(loop, tmp_path / "nothing").condition(timeout_s=60) is Condition.SILENT


@pytest.mark.parametrize(
    "nonsense",
    [b"[" * 200_000, b"[" * 60_000, b"\xfe", b"1" * 5000, b"[]", b'{"return": ' + b"[" * 300 + b"]" * 300 + b"}"],
    ids=["long and deep", "deep", "no UTF-8", "a long number", "a list", "a deep value"],
)
def test_nonsense_for_a_synchronisation_is_no_answer_and_nothing_worse(
    agent: GuestAgent, scripted: ScriptedAgent, nonsense: bytes
) -> None:
    scripted.synchronise = lambda token: b"\xff" + nonsense + b"\n"
    assert agent.condition(timeout_s=0.3) is Condition.SILENT
    with pytest.raises(GuestError):
        agent.thaw(timeout_s=0.3)


def test_nonsense_before_the_answer_to_a_synchronisation_is_passed_over(
    agent: GuestAgent, scripted: ScriptedAgent
) -> None:
    scripted.synchronise = lambda token: b"\xff" + b"[" * 60_000 + b"\n" + answer_to_sync(token)
    assert agent.condition(timeout_s=60) is Condition.THAWED


def test_a_channel_full_of_answers_to_nothing_is_given_up(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.stale = b'\xff{"return": -1}\n' * 2000
    with pytest.raises(GuestError, match="floods"):
        agent.thaw(timeout_s=60)


def test_a_guest_that_says_very_much_at_once_does_not_hold_up_the_loop(
    loop: HostLoop, agent: GuestAgent, scripted: ScriptedAgent
) -> None:
    scripted.stale = b'\xff{"return": -1}\n' * 900
    turns_of_others = 0

    async def take_turns() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await asyncio.sleep(0)

    others = asyncio.run_coroutine_threadsafe(take_turns(), loop.loop)
    assert agent.condition(timeout_s=60) is Condition.THAWED
    others.cancel()
    assert turns_of_others >= 900


def test_replies_left_over_from_earlier_conversations_are_skipped(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.stale = b'{"return": 99}\n\xff{"return": 17}\n{"ret'
    scripted.answer = lambda command, arguments: b'{"return": 3}'
    assert agent.freeze() == 3


def test_an_agent_that_says_nothing_is_given_up_in_time(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: None
    with pytest.raises(GuestUnreachableError, match=r"within 0\.3 s"):
        agent.thaw(timeout_s=0.3)


def test_a_reply_without_end_is_cut_off(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b"x" * (25 << 20)
    with pytest.raises(GuestError, match="too long"):
        agent.exec(["/bin/yes"], timeout_s=60)


def test_a_short_answer_has_a_short_limit(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b'{"return": 3, "more": "' + b"x" * 70_000 + b'"}'
    with pytest.raises(GuestError, match="too long"):
        agent.freeze(timeout_s=60)


def test_a_long_answer_is_long_by_its_content_alone(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    def answer(command: str, arguments: dict[str, Any]) -> bytes:
        return b'{"return": {"pid": 1}}' if command == "guest-exec" else b"[" + b"{}," * 100_000 + b"{}]"

    scripted.answer = answer
    with pytest.raises(GuestError, match="nonsense"):
        agent.exec(["/bin/true"], timeout_s=60)


def test_a_program_may_say_much(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    output = bytes(range(256)) * 4096

    def answer(command: str, arguments: dict[str, Any]) -> bytes:
        status = {"exited": True, "exitcode": 0, "out-data": base64.b64encode(output).decode()}
        return json.dumps({"return": {"pid": 1} if command == "guest-exec" else status}).encode()

    scripted.answer = answer
    assert agent.exec(["/bin/cat"], timeout_s=60).stdout == output


@pytest.mark.parametrize(
    "reply",
    [b"nonsense", b"[]", b'"text"', b"17", b'{"return": "seven"}', b'{"other": 1}', b"[" * 100_000],
)
def test_nonsense_is_an_error_and_nothing_worse(agent: GuestAgent, scripted: ScriptedAgent, reply: bytes) -> None:
    scripted.answer = lambda command, arguments: reply
    with pytest.raises(GuestError):
        agent.freeze(timeout_s=60)


def test_the_agents_own_error_is_told(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b'{"error": {"class": "X", "desc": "not allowed"}}'
    with pytest.raises(GuestError, match="guest-fsfreeze-freeze: not allowed"):
        agent.freeze()


def test_the_agents_own_error_is_told_on_one_line_of_real_characters(
    agent: GuestAgent, scripted: ScriptedAgent
) -> None:
    scripted.answer = lambda command, arguments: b'{"error": {"desc": "no\\nway\\ud800\\u0000"}}'
    with pytest.raises(GuestError, match=r"guest-fsfreeze-freeze: no\?way\?\?$"):
        agent.freeze()


def test_exec_returns_exit_code_and_output(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    polls = iter([False, True])

    def answer(command: str, arguments: dict[str, Any]) -> bytes:
        if command == "guest-exec":
            assert base64.b64decode(arguments["input-data"]) == b"in"
            return b'{"return": {"pid": 7}}'
        if not next(polls):
            return b'{"return": {"exited": false}}'
        out = base64.b64encode(b"out\n").decode()
        return json.dumps({"return": {"exited": True, "exitcode": 3, "out-data": out}}).encode()

    scripted.answer = answer
    done = agent.exec(["/bin/cat"], stdin=b"in", timeout_s=60)
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"out\n", b"")


def test_damaged_output_is_an_error(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b'{"return": {"pid": 1, "exited": true, "out-data": "%"}}'
    with pytest.raises(GuestError, match="damaged"):
        agent.exec(["/bin/true"], timeout_s=60)


def test_a_file_longer_than_allowed_is_refused(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    chunk = base64.b64encode(b"x" * 1000).decode()

    def answer(command: str, arguments: dict[str, Any]) -> bytes:
        if command == "guest-file-open":
            return b'{"return": 1000}'
        return json.dumps({"return": {"buf-b64": chunk, "count": 1000, "eof": False}}).encode()

    scripted.answer = answer
    with pytest.raises(GuestError, match="longer than 5000"):
        agent.read_file("/dev/zero", limit_bytes=5000)
    assert scripted.commands[-1] == "guest-file-close"


def test_what_was_frozen_is_thawed_even_when_the_block_fails(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b'{"return": 1}'
    doubts: list[str] = []
    with pytest.raises(RuntimeError), agent.frozen(timeout_s=60, in_doubt=lambda: doubts.append("")) as is_frozen:
        assert is_frozen
        raise RuntimeError
    assert scripted.commands == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]
    assert not doubts


def test_a_guest_that_cannot_freeze_is_captured_all_the_same(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b'{"error": {"desc": "disabled"}}'
    doubts: list[str] = []
    with agent.frozen(timeout_s=60, in_doubt=lambda: doubts.append("")) as is_frozen:
        assert not is_frozen
    assert not doubts


def test_a_guest_that_takes_too_long_to_freeze_may_be_frozen_afterwards(
    agent: GuestAgent, scripted: ScriptedAgent
) -> None:
    def answer(command: str, arguments: dict[str, Any]) -> bytes:
        scripted.keep_busy()
        return b'{"return": 1}'

    scripted.answer = answer
    doubts: list[str] = []
    with agent.frozen(timeout_s=0.3, in_doubt=lambda: doubts.append("")) as is_frozen:
        assert not is_frozen
    assert doubts


def test_a_guest_that_does_not_thaw_is_in_doubt(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b'{"return": 1}' if "freeze-freeze" in command else b'{"error": "no"}'
    doubts: list[str] = []
    with agent.frozen(timeout_s=60, in_doubt=lambda: doubts.append("")) as is_frozen:
        assert is_frozen
    assert doubts


def test_an_agent_of_a_foreign_uid_is_not_spoken_to(loop: HostLoop, scripted: ScriptedAgent) -> None:
    agent = GuestAgent(loop, scripted.path, peer_uid=4_000_000)
    with pytest.raises(GuestError, match="is answered by uid"):
        agent.freeze()
    assert scripted.commands == []
