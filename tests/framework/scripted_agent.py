"""An agent as qemu-guest-agent would answer, or as no agent should: it listens where QEMU would."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bakehouse.host.loop import HostLoop

Answer = Callable[[str, dict[str, Any]], bytes | None]


def answer_to_sync(token: int) -> bytes:
    """What the real agent says to guest-sync-delimited."""
    return b"\xff" + json.dumps({"return": token}).encode() + b"\n"


class ScriptedAgent:
    """Listens where QEMU would; syncs by ``synchronise``, then answers by ``answer``. It does one thing at a time."""

    def __init__(self, loop: HostLoop, path: Path) -> None:
        self.path = path
        self.commands: list[str] = []
        self.stale = b""
        self.answer: Answer = lambda command, arguments: b'{"return": {}}'
        self.synchronise = answer_to_sync
        self._loop = loop
        self._ready = asyncio.Event()
        self._ready.set()
        self._talks: set[asyncio.Task[Any]] = set()
        self._server = loop.call(asyncio.start_unix_server(self._serve, str(path)))

    def keep_busy(self) -> None:
        """From within ``answer``: the command is obeyed, but nothing is said any more until ``get_ready``."""
        self._ready.clear()

    def get_ready(self) -> None:
        """Say what is to be said."""
        self._loop.loop.call_soon_threadsafe(self._ready.set)

    def close(self) -> None:
        """Stop listening and wait until every conversation has ended."""

        async def end() -> None:
            self._ready.set()
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
            await self._ready.wait()
            order = json.loads(line.lstrip(b"\xff"))
            arguments = order.get("arguments", {})
            if order["execute"] == "guest-sync-delimited":
                writer.write(self.synchronise(arguments["id"]))
                continue
            self.commands.append(order["execute"])
            reply = self.answer(order["execute"], arguments)
            await self._ready.wait()
            if reply is not None:
                writer.write(reply + b"\n")
                await writer.drain()
