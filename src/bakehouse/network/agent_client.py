"""Talk to a VPC's agent from the host loop.

Invariant: requests are answered in the order they were sent, and when the agent goes away every pending one
fails with AgentGoneError and ``on_gone`` is called once.
"""

import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakehouse.network.agent import DESCRIPTOR_LIMIT, REQUEST_LIMIT
from bakehouse.network.spec import NetworkError

_Answer = tuple[Any, list[int]]


class AgentGoneError(NetworkError):
    """The agent died or closed the connection."""


class AgentRefusedError(NetworkError):
    """The agent could not do as asked; ``errno`` is the system call's, if one failed."""

    def __init__(self, message: str, errno: int | None) -> None:
        super().__init__(message)
        self.errno = errno


@dataclass(frozen=True, kw_only=True)
class AgentStatus:
    """What an agent knows of itself. ``devices``: name -> ifindex; ``held``: label -> note."""

    pid: int
    devices: dict[str, int]
    held: dict[str, Any]


class AgentClient:
    """One connection to an agent; use it on the loop's thread only."""

    def __init__(self, connection: socket.socket, on_gone: Callable[[], None] | None = None) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._pending: deque[asyncio.Future[_Answer]] = deque()
        self._sending = asyncio.Lock()
        self._is_closed = False
        self.on_gone = on_gone
        self._loop.add_reader(self._socket, self._readable)

    @classmethod
    async def connect(cls, path: Path) -> "AgentClient":
        """Connect; OSError when nobody listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            raise
        return cls(connection)

    async def status(self, *, timeout_s: float = 10) -> AgentStatus:
        """Ask for pid, devices and held descriptors."""
        result, _ = await self._call({"op": "status"}, timeout_s=timeout_s)
        held = {label: item["note"] for label, item in result["held"].items() if item["is_alive"]}
        return AgentStatus(pid=result["pid"], devices=result["devices"], held=held)

    async def run(self, argv: Sequence[str], text: str, *, is_checked: bool = True) -> str:
        """Run ip or nft with ``text`` as input; return its output, or NetworkError when it fails."""
        script = os.memfd_create("script", os.MFD_CLOEXEC)
        with os.fdopen(script, "w+b") as file:
            file.write(text.encode())
            file.flush()
            file.seek(0)
            result, _ = await self._call({"op": "run", "argv": list(argv)}, [script])
        if result["exit_code"] and is_checked:
            raise NetworkError(f"{' '.join(argv)}: exit code {result['exit_code']}: {result['stderr']}")
        return str(result["stdout"])

    async def sysctl(self, values: Sequence[tuple[str, str]]) -> None:
        """Write files below /proc/sys/net, in order."""
        await self._call({"op": "sysctl", "values": values})

    async def make_tap(self, name: str) -> tuple[int, int]:
        """Make a tap; return (descriptor, ifindex). The caller owns the descriptor."""
        result, fds = await self._call({"op": "tap", "name": name})
        return fds[0], result["index"]

    async def make_sockets(
        self,
        kind: str,
        *,
        count: int = 1,
        options: Sequence[tuple[int, int, int]] = (),
        bind: tuple[str, int] | None = None,
        listen: int | None = None,
    ) -> list[socket.socket]:
        """Make sockets (``kind`` is stream, dgram or arp) that belong to the VPC's namespace, non-blocking."""
        request = {"op": "sockets", "kind": kind, "count": count, "options": list(options)}
        _, fds = await self._call({**request, "bind": bind, "listen": listen})
        sockets = [socket.socket(fileno=fd) for fd in fds]
        for each in sockets:
            each.setblocking(False)
        return sockets

    async def spawn(self, argv: Sequence[str], *, fds: Sequence[int], uid: int | None, log: Path) -> int:
        """Start a confined program in the namespaces (see host.spawn.Spawner); return its pid."""
        request = {"op": "spawn", "argv": list(argv), "uid": uid, "log": str(log)}
        result, _ = await self._call(request, fds)
        return int(result["pid"])

    async def hold(self, label: str, fd: int, note: object) -> None:
        """Let the agent keep a copy of ``fd`` for as long as it lives."""
        await self._call({"op": "hold", "label": label, "note": note}, [fd])

    async def flush(self, address: str) -> int:
        """Forget the tracked connections of an address; return how many there were."""
        result, _ = await self._call({"op": "flush", "address": address})
        return int(result["count"])

    async def stop(self) -> None:
        """End the agent."""
        try:
            await self._call({"op": "stop"})
        except AgentGoneError:
            return

    def close(self) -> None:
        """Leave the agent alone; pending requests fail. ``on_gone`` is not called."""
        self.on_gone = None
        self._end()

    async def _call(self, request: dict[str, Any], fds: Sequence[int] = (), *, timeout_s: float = 60) -> _Answer:
        data = json.dumps(request).encode()
        if len(data) > REQUEST_LIMIT or len(fds) > DESCRIPTOR_LIMIT:
            raise NetworkError("the request to the agent is too large")
        answer: asyncio.Future[_Answer] = self._loop.create_future()
        async with self._sending:
            await self._send(data, fds)
            self._pending.append(answer)
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise NetworkError(f"the agent did not answer within {timeout_s:g} s") from None

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        while not self._is_closed:
            try:
                socket.send_fds(self._socket, [data], fds)
            except BlockingIOError:
                await asyncio.sleep(0.005)
            except OSError:
                self._gone()
            else:
                return
        raise AgentGoneError("the VPC's agent is gone")

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, 1 << 18, DESCRIPTOR_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data or not self._pending:
            self._gone()
            return
        answer = self._pending.popleft()
        reply = json.loads(data)
        if answer.done():  # nobody waits any more
            for fd in fds:
                os.close(fd)
        elif "error" in reply:
            answer.set_exception(AgentRefusedError(reply["error"], reply.get("errno")))
        else:
            answer.set_result((reply["result"], fds))

    def _gone(self) -> None:
        callback, self.on_gone = self.on_gone, None
        self._end()
        if callback is not None:
            callback()

    def _end(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._socket)
        self._socket.close()
        while self._pending:
            answer = self._pending.popleft()
            if not answer.done():
                answer.set_exception(AgentGoneError("the VPC's agent is gone"))
