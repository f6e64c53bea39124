"""A QEMU that says nonsense, as one does that a guest has broken out of: each command ends as a MachineError."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bakehouse.host.loop import HostLoop
from bakehouse.hypervisor import qmp
from bakehouse.hypervisor.qmp import QmpSession, RefusedError
from bakehouse.hypervisor.spec import MachineError
from tests.framework.patience import PATIENCE_S

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}'
NONSENSE = {
    "deep": b"[" * 200_000,
    "a deep value": b'{"return": ' + b"[" * 300 + b"]" * 300 + b"}",
    "no JSON": b"nonsense",
    "no UTF-8": b'{"return": "\xff"}',
    "a long number": b'{"return": ' + b"1" * 5000 + b"}",
    "a list": b"[]",
    "too long": b'"' + b"x" * (2 << 20) + b'"',
    "many values": b"[" + b"{}," * 100_000 + b"{}]",
    "an id that is a list": b'{"return": {}, "id": [1]}',
    "an error for nobody": b'{"error": {"class": "GenericError", "desc": "a\\ud800"}}',
}


class ScriptedQemu:
    """Greets, agrees to everything, and answers by ``answer``; ``{id}`` in it becomes the command's."""

    def __init__(self, loop: HostLoop, path: Path) -> None:
        self.greeting = GREETING
        self.answer = b'{"return": {}, "id": {id}}'
        self.events: list[Mapping[str, Any]] = []
        self.session = QmpSession(path, peer_uid=None, on_event=lambda name, data: self.events.append(data))
        self._loop = loop
        self._talks: set[asyncio.Task[Any]] = set()
        self._server = loop.call(asyncio.start_unix_server(self._serve, str(path), limit=4 << 20))

    def execute(self, command: str) -> Any:
        """Run one command."""
        return self._loop.call(self.session.execute(command, timeout_s=PATIENCE_S), timeout_s=None)

    def close(self) -> None:
        """Disconnect, stop listening and wait until every conversation has ended."""

        async def end() -> None:
            await self.session.close()
            self._server.close()
            if self._talks:
                await asyncio.wait(self._talks, timeout=PATIENCE_S)

        self._loop.call(end(), timeout_s=None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        with suppress(ConnectionError):
            writer.write(self.greeting + b"\n")
            while part := await reader.read(1 << 16):
                order = json.loads(part)  # one at a time: the next one waits for the answer
                name = json.dumps(order.get("id")).encode()
                is_agreement = order["execute"] == "qmp_capabilities"
                writer.write((b'{"return": {}}' if is_agreement else self.answer.replace(b"{id}", name)) + b"\n")
                await writer.drain()
        writer.close()


@pytest.fixture(name="qemu")
def _qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedQemu]:
    monkeypatch.setattr(qmp, "_CONNECT_TIMEOUT_S", PATIENCE_S)
    loop = HostLoop()
    qemu = ScriptedQemu(loop, tmp_path / "qmp.sock")
    yield qemu
    qemu.close()
    loop.close()


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_for_an_answer_is_an_error_and_the_next_command_starts_afresh(qemu: ScriptedQemu, name: str) -> None:
    good, qemu.answer = qemu.answer, NONSENSE[name]
    with pytest.raises(MachineError):
        qemu.execute("query-status")
    qemu.answer = good
    assert qemu.execute("query-status") == {}


@pytest.mark.parametrize("name", [name for name in NONSENSE if name != "an error for nobody"])
def test_nonsense_for_a_greeting_is_an_error(qemu: ScriptedQemu, name: str) -> None:
    qemu.greeting = NONSENSE[name]
    with pytest.raises(MachineError, match="does not answer"):
        qemu.execute("query-status")


@pytest.mark.parametrize(
    "answer",
    [
        b'{"id": {id}}',
        b'{"id": {id}, "error": "no"}',
        b'{"id": {id}, "error": {"class": "GenericError", "desc": ["x"]}}',
        b'{"id": {id}, "error": {"class": ["x"], "desc": "x"}}',
    ],
)
def test_an_answer_that_is_neither_result_nor_error_is_an_error(qemu: ScriptedQemu, answer: bytes) -> None:
    qemu.answer = answer
    with pytest.raises(MachineError):
        qemu.execute("query-status")


def test_qemus_own_error_is_told_on_one_line_of_real_characters(qemu: ScriptedQemu) -> None:
    qemu.answer = b'{"id": {id}, "error": {"class": "GenericError", "desc": "no\\nway\\ud800"}}'
    with pytest.raises(RefusedError, match=r"query-status: no\?way\?$"):
        qemu.execute("query-status")


def test_a_qemu_that_says_very_much_at_once_does_not_hold_up_the_loop(qemu: ScriptedQemu) -> None:
    qemu.answer = b'{"event": "STOP", "data": {"n": 1}}\n' * 500 + qemu.answer
    turns_of_others = 0

    async def take_turns() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await asyncio.sleep(0)

    async def execute() -> None:
        others = asyncio.create_task(take_turns())
        await qemu.session.execute("query-status", timeout_s=PATIENCE_S)
        others.cancel()

    qemu._loop.call(execute(), timeout_s=None)
    assert len(qemu.events) == 500
    assert turns_of_others >= 500
