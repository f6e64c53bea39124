"""The guest agent's client against a scripted agent, well-behaved and hostile."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakehouse.guest.agent import GuestAgent, GuestError, GuestUnreachableError
from bakehouse.host.loop import HostLoop

Answer = Callable[[str, dict[str, Any]], bytes | None]


@pytest.fixture(name="loop")
def _loop() -> Iterator[HostLoop]:
    loop = HostLoop()
    yield loop
    loop.close()


class ScriptedAgent:
    """Listens where QEMU would; syncs as the real agent does, then answers by ``answer``."""

    def __init__(self, loop: HostLoop, path: Path) -> None:
        self.path = path
        self.commands: list[str] = []
        self.stale = b""
        self.answer: Answer = lambda command, arguments: b'{"return": {}}'
        self._loop = loop
        self._talks: set[asyncio.Task[Any]] = set()
        self._server = loop.call(asyncio.start_unix_server(self._serve, str(path)))

    def close(self) -> None:
        """Stop listening and wait until every conversation has ended."""

        async def end() -> None:
            self._server.close()
            if self._talks:
                await asyncio.wait(self._talks, timeout=5)

        self._loop.call(end())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            await self._talk(reader, writer)
        except ConnectionError:
            pass  # the client had enough
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.stale)
        while line := await reader.readline():
            order = json.loads(line.lstrip(b"\xff"))
            arguments = order.get("arguments", {})
            if order["execute"] == "guest-sync-delimited":
                writer.write(b"\xff" + json.dumps({"return": arguments["id"]}).encode() + b"\n")
                continue
            self.commands.append(order["execute"])
            reply = self.answer(order["execute"], arguments)
            if reply is not None:
                writer.write(reply + b"\n")
                await writer.drain()


@pytest.fixture(name="scripted")
def _scripted(loop: HostLoop, tmp_path: Path) -> Iterator[ScriptedAgent]:
    scripted = ScriptedAgent(loop, tmp_path / "qga.sock")
    yield scripted
    scripted.close()


@pytest.fixture(name="agent")
def _agent(loop: HostLoop, scripted: ScriptedAgent) -> GuestAgent:
    return GuestAgent(loop, scripted.path)


def test_ping_is_true_when_the_agent_answers(agent: GuestAgent) -> None:
    assert agent.ping(timeout_s=60)


def test_ping_is_false_when_nobody_listens(loop: HostLoop, tmp_path: Path) -> None:
    assert not GuestAgent(loop, tmp_path / "nothing").ping(timeout_s=1)


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
        agent.freeze(timeout_s=60)


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
    with pytest.raises(RuntimeError), agent.frozen() as is_frozen:
        assert is_frozen
        raise RuntimeError
    assert scripted.commands == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


def test_a_guest_that_cannot_freeze_is_captured_all_the_same(agent: GuestAgent, scripted: ScriptedAgent) -> None:
    scripted.answer = lambda command, arguments: b'{"error": {"desc": "disabled"}}'
    with agent.frozen() as is_frozen:
        assert not is_frozen


def test_an_agent_of_a_foreign_uid_is_not_spoken_to(loop: HostLoop, scripted: ScriptedAgent) -> None:
    agent = GuestAgent(loop, scripted.path, peer_uid=4_000_000)
    with pytest.raises(GuestError, match="is answered by uid"):
        agent.freeze()
    assert scripted.commands == []
