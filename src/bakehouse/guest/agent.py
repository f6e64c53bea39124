"""The client of qemu-guest-agent, over its virtio-serial channel.

Invariant: the guest is hostile. Every reply is bounded in size and time and belongs to the command it
answers: each conversation begins with guest-sync-delimited, which skips whatever was left in the channel.
Whatever a guest says, it is an answer or a GuestError.
"""

import asyncio
import base64
import binascii
import json
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from bakehouse.errors import PartError
from bakehouse.host.loop import HostLoop
from bakehouse.host.untrusted_json import read_untrusted, short_words

_SYNC_MARK = b"\xff"
# What a reply may have beside base64; all of it, but for the commands below.
_SHORT_REPLY_BYTES = 64 << 10
_LONG_REPLY_BYTES = {
    "guest-exec-status": 24 << 20,  # the agent keeps 16 MiB of a program's output, a third more in base64
    "guest-file-read": 1 << 20,
}
# What earlier conversations may have left in the channel; each of them at most one answer to a synchronisation.
_STALE_LIMIT_BYTES, _STALE_LIMIT = 64 << 20, 1000
_CHUNK_BYTES = 256 << 10
_SYNC_TIMEOUT_S = 5.0
_POLL_FIRST_S, _POLL_LAST_S = 0.05, 1.0
_FILE_CHUNK_BYTES = 512 << 10
_SHUTDOWN_ANSWER_S = 1.0
_THAW_UNANSWERED_S = 2.0


class GuestError(PartError):
    """The guest's agent refused, answered nonsense, or did not answer."""


class GuestUnreachableError(GuestError):
    """No agent answered in time: it is not installed, not up yet, or the guest hangs."""


class GuestRefusedError(GuestError):
    """The agent is there and understood, and said no."""


class Condition(Enum):
    """How a guest is, by its agent."""

    SILENT = auto()
    THAWED = auto()
    FROZEN = auto()


@dataclass(frozen=True, kw_only=True)
class GuestProcess:
    """How a program in the guest ended; ``exit_code`` is None when a signal ended it."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes


class GuestAgent:
    """Synchronous verbs over the agent's socket; each opens a conversation of its own.

    ``peer_uid``: under whose uid the QEMU that listens on the socket must run (None: not checked).
    """

    def __init__(self, loop: HostLoop, socket_path: Path, *, peer_uid: int | None = None) -> None:
        self._loop = loop
        self._path = socket_path
        self._peer_uid = peer_uid

    def condition(self, *, timeout_s: float = _SYNC_TIMEOUT_S) -> Condition:
        """Whether the agent answers, and if so whether the guest's file systems are frozen."""
        try:
            status = self._run("guest-fsfreeze-status", timeout_s=timeout_s)
        except GuestRefusedError:  # it cannot freeze, or may not
            return Condition.THAWED
        except GuestError:
            return Condition.SILENT
        return Condition.FROZEN if status == "frozen" else Condition.THAWED

    def freeze(self, *, timeout_s: float = 30) -> int:
        """Flush and freeze the guest's file systems; their number. ``thaw`` even when this fails."""
        return _number(self._run("guest-fsfreeze-freeze", timeout_s=timeout_s))

    def thaw(self, *, timeout_s: float = 30) -> int:
        """Thaw what is frozen; the number of file systems."""
        return _number(self._run("guest-fsfreeze-thaw", timeout_s=timeout_s))

    @contextmanager
    def frozen(self, *, timeout_s: float = 10, in_doubt: Callable[[], None]) -> Iterator[bool]:
        """File systems frozen for the length of the block, if the guest can; True when they are.

        Never raises on the agent's account: a guest without one is captured as a power cut would leave it.
        ``in_doubt`` is called at the end when the guest may still be frozen, or about to freeze: an agent that
        freezes for longer than we wait hears nothing meanwhile. The caller thaws it later.
        """
        is_frozen, thaw_timeout_s = False, timeout_s
        try:
            try:
                self.freeze(timeout_s=timeout_s)
                is_frozen = True
            except GuestRefusedError:
                pass
            except GuestError:
                thaw_timeout_s = min(timeout_s, _THAW_UNANSWERED_S)
            yield is_frozen
        finally:
            try:
                self.thaw(timeout_s=thaw_timeout_s)
            except GuestError as error:
                if is_frozen or not isinstance(error, GuestRefusedError):
                    in_doubt()

    def exec(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60) -> GuestProcess:
        """Run a program as the agent's user (root) to its end.

        GuestError when it cannot be started or still runs after ``timeout_s`` (it is not ended then).
        """
        return self._loop.call(self._exec(argv, stdin, timeout_s), timeout_s=None)

    def shutdown(self, mode: str = "powerdown") -> None:
        """Ask for ``powerdown``, ``halt`` or ``reboot``; the agent answers only to refuse."""
        with suppress(GuestUnreachableError):
            self._run("guest-shutdown", {"mode": mode}, timeout_s=_SHUTDOWN_ANSWER_S)

    def read_file(self, path: str, *, limit_bytes: int = 16 << 20, timeout_s: float = 60) -> bytes:
        """A file of the guest; GuestError when it is longer than ``limit_bytes``."""
        return self._loop.call(self._read_file(path, limit_bytes, timeout_s), timeout_s=None)

    def _run(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float) -> Any:
        async def work() -> Any:
            async with self._conversation(timeout_s) as say:
                return await say.execute(command, arguments)

        return self._loop.call(work(), timeout_s=None)

    async def _exec(self, argv: Sequence[str], stdin: bytes, timeout_s: float) -> GuestProcess:
        order: dict[str, Any] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin:
            order["input-data"] = base64.b64encode(stdin).decode()
        async with self._conversation(timeout_s) as say:
            pid = _field(await say.execute("guest-exec", order), "pid")
            delay = _POLL_FIRST_S
            while True:
                status = await say.execute("guest-exec-status", {"pid": pid})
                if _field(status, "exited"):
                    return await asyncio.to_thread(_process, status)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _POLL_LAST_S)

    async def _read_file(self, path: str, limit_bytes: int, timeout_s: float) -> bytes:
        content = bytearray()
        async with (
            self._conversation(timeout_s) as say,
            _open_file(say, {"path": path, "mode": "r"}) as handle,
        ):
            while True:
                part = await say.execute("guest-file-read", {"handle": handle, "count": _FILE_CHUNK_BYTES})
                content += _bytes(part, "buf-b64")
                if len(content) > limit_bytes:
                    raise GuestError(f"{path} in the guest is longer than {limit_bytes} bytes")
                if _field(part, "eof") or not _field(part, "count"):
                    return bytes(content)

    @asynccontextmanager
    async def _conversation(self, timeout_s: float) -> AsyncIterator["_Conversation"]:
        """A synchronised channel; GuestUnreachableError when nobody answers in time."""
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=_CHUNK_BYTES)
                try:
                    _check_peer(writer.get_extra_info("socket"), self._peer_uid)
                    conversation = _Conversation(reader, writer)
                    await conversation.synchronise()
                    yield conversation
                finally:
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError as error:
            raise GuestUnreachableError(f"the guest's agent did not answer within {timeout_s:g} s") from error
        except OSError as error:
            raise GuestUnreachableError(f"the guest's agent cannot be reached ({error})") from error


class _Conversation:
    """Lines of JSON, one command and one reply at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = bytearray()

    async def synchronise(self) -> None:
        """Skip all that was left in the channel by earlier conversations."""
        token = secrets.randbelow(1 << 31)
        order = {"execute": "guest-sync-delimited", "arguments": {"id": token}}
        # The mark resets the agent's parser, whatever half command it may have.
        self._writer.write(_SYNC_MARK + json.dumps(order).encode() + b"\n")
        await self._writer.drain()
        skipped = 0
        for _ in range(_STALE_LIMIT):
            skipped += await self._skip_past(_SYNC_MARK, limit_bytes=_STALE_LIMIT_BYTES - skipped)
            line = await self._read_until(b"\n", limit_bytes=_SHORT_REPLY_BYTES)
            with suppress(ValueError, GuestError):
                if _field(read_untrusted(line, structure_bytes=_SHORT_REPLY_BYTES), "return") == token:
                    return
        raise GuestError("the guest's agent floods its channel")

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """One command; GuestError for the agent's own error or for nonsense."""
        order = {"execute": command, **({"arguments": dict(arguments)} if arguments else {})}
        self._writer.write(json.dumps(order).encode() + b"\n")
        await self._writer.drain()
        line = await self._read_until(b"\n", limit_bytes=_LONG_REPLY_BYTES.get(command, _SHORT_REPLY_BYTES))
        try:
            reply = await _read_reply(line)
        except ValueError as error:
            raise GuestError(f"the guest's agent answered {command} with nonsense") from error
        if isinstance(reply, dict) and "error" in reply:
            description = reply["error"].get("desc") if isinstance(reply["error"], dict) else reply["error"]
            raise GuestRefusedError(f"{command}: {short_words(description)}")
        return _field(reply, "return")

    async def _read_until(self, mark: bytes, *, limit_bytes: int) -> bytes:
        """Everything before ``mark``; GuestError when that is more than the limit."""
        await asyncio.sleep(0)  # a guest that sent very many lines at once must not hold up the loop
        searched = 0
        while (end := self._rest.find(mark, searched)) < 0 and len(self._rest) <= limit_bytes:
            searched = len(self._rest)
            self._rest += await self._receive()
        if not 0 <= end <= limit_bytes:
            raise GuestError("the guest's agent sent too long a reply")
        found = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return found

    async def _skip_past(self, mark: bytes, *, limit_bytes: int) -> int:
        """Drop everything up to the ``mark``, and tell how much it was; GuestError when it is more than the limit."""
        skipped = 0
        while (end := self._rest.find(mark)) < 0:
            skipped += len(self._rest)
            if skipped > limit_bytes:
                raise GuestError("the guest's agent floods its channel")
            self._rest[:] = await self._receive()
        del self._rest[: end + 1]
        return skipped + end

    async def _receive(self) -> bytes:
        part = await self._reader.read(_CHUNK_BYTES)
        if not part:
            raise GuestUnreachableError("the guest's agent hung up")
        return part


async def _read_reply(line: bytes) -> Any:
    if len(line) <= _SHORT_REPLY_BYTES:
        return read_untrusted(line, structure_bytes=_SHORT_REPLY_BYTES)
    return await asyncio.to_thread(read_untrusted, line, structure_bytes=_SHORT_REPLY_BYTES)


@asynccontextmanager
async def _open_file(say: _Conversation, order: Mapping[str, Any]) -> AsyncIterator[int]:
    handle = _number(await say.execute("guest-file-open", order))
    try:
        yield handle
    finally:
        with suppress(GuestError):
            await say.execute("guest-file-close", {"handle": handle})


def _process(status: Any) -> GuestProcess:
    code = status.get("exitcode")
    return GuestProcess(
        exit_code=None if code is None else _number(code),
        stdout=_bytes(status, "out-data"),
        stderr=_bytes(status, "err-data"),
    )


def _check_peer(connection: socket.socket, uid: int | None) -> None:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    peer_uid = struct.unpack("3i", credentials)[1]
    if uid is not None and peer_uid != uid:
        raise GuestError(f"the agent's socket is answered by uid {peer_uid}, not {uid}")


def _field(reply: Any, name: str) -> Any:
    if not isinstance(reply, dict) or name not in reply:
        raise GuestError(f"the guest's agent left out {name!r}")
    return reply[name]


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise GuestError("the guest's agent answered with something else than a number")
    return value


def _bytes(reply: Any, name: str) -> bytes:
    text = reply.get(name, "") if isinstance(reply, dict) else None
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise GuestError(f"the guest's agent sent a damaged {name!r}") from error
