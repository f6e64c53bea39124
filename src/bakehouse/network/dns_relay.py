"""The DNS server of a VPC: its own names answered here, everything else asked of the host's resolvers.

Invariant: what guests can make us hold is bounded (questions in flight and connections, per guest and in
all), and an upstream's reply is believed only on the socket, with the number and the question it was asked
with; each question uses a fresh socket, so its port is random.
"""

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bakehouse.network.dns import (
    Question,
    ResponseCode,
    Zone,
    answer_locally,
    failure,
    is_reply_to,
    parse_query,
    with_transaction,
)

PORT = 53
_QUESTIONS_PER_GUEST = 64
_QUESTIONS_IN_ALL = 512
_CONNECTIONS_PER_GUEST = 8
_CONNECTIONS_IN_ALL = 128
_UPSTREAM_TIMEOUT_S = 2.0
_ROUNDS = 2
_IDLE_TIMEOUT_S = 10.0
_LONGEST_MESSAGE = 65535
_BATCH = 32

Upstreams = Callable[[], Sequence[str]]


class HostResolvers:
    """The name servers of the host's resolv.conf, read again when the file changes."""

    def __init__(self, path: Path = Path("/etc/resolv.conf")) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._servers: tuple[str, ...] = ()

    def __call__(self) -> Sequence[str]:
        """The servers' addresses, at most three; none when the file cannot be read."""
        try:
            status = self._path.stat()
            if (status.st_mtime_ns, status.st_ino) != self._stamp:
                self._servers = self._read()
                self._stamp = (status.st_mtime_ns, status.st_ino)
        except OSError:
            return ()
        return self._servers

    def _read(self) -> tuple[str, ...]:
        words = (line.split() for line in self._path.read_text(errors="replace").splitlines())
        return tuple(each[1] for each in words if len(each) > 1 and each[0] == "nameserver")[:3]


class DnsServer:
    """Serves one VPC on sockets of its namespace until closed."""

    def __init__(
        self,
        *,
        datagram_sockets: Sequence[socket.socket],
        listeners: Sequence[socket.socket],
        zone: Callable[[], Zone],
        upstreams: Upstreams,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._zone = zone
        self._upstreams = upstreams
        self._datagrams = list(datagram_sockets)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: Counter[str] = Counter()
        self._connected: Counter[str] = Counter()
        for each in self._datagrams:
            self._loop.add_reader(each, self._readable, each)
        for listener in listeners:
            self._start(self._accept(listener))

    def close(self) -> None:
        """Stop answering."""
        for each in self._datagrams:
            self._loop.remove_reader(each)
            each.close()
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- datagrams ----------------------------------------------------------------------------------------

    def _readable(self, server: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                message, guest = server.recvfrom(_LONGEST_MESSAGE)
            except OSError:
                return
            question = parse_query(message)
            if question is None:
                continue
            reply = answer_locally(question, self._zone())
            if reply is None and not self._may_ask(guest[0]):
                reply = failure(question, ResponseCode.SERVER_FAILURE)
            if reply is not None:
                _send(server, reply, guest)
            else:
                self._start(self._relay_datagram(server, message, question, guest))

    async def _relay_datagram(
        self, server: socket.socket, message: bytes, question: Question, guest: tuple[str, int]
    ) -> None:
        self._asking[guest[0]] += 1
        try:
            reply = await self._ask(message, question, _ask_datagram)
            _send(server, reply, guest)
        finally:
            _count_down(self._asking, guest[0])

    # --- connections --------------------------------------------------------------------------------------

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    connection, guest = await self._loop.sock_accept(listener)
                except OSError:
                    await asyncio.sleep(0.1)
                    continue
                full = self._connected.total() >= _CONNECTIONS_IN_ALL
                if full or self._connected[guest[0]] >= _CONNECTIONS_PER_GUEST:
                    connection.close()
                    continue
                connection.setblocking(False)
                self._start(self._converse(connection, guest[0]))

    async def _converse(self, connection: socket.socket, guest: str) -> None:
        self._connected[guest] += 1
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                while message := await _read_framed(reader):
                    reply = await self._answer_framed(message, guest)
                    if reply is None:
                        break
                    await _write_framed(writer, reply)
            finally:
                writer.transport.abort()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            connection.close()
            _count_down(self._connected, guest)

    async def _answer_framed(self, message: bytes, guest: str) -> bytes | None:
        question = parse_query(message)
        if question is None:
            return None
        if (reply := answer_locally(question, self._zone())) is not None:
            return reply
        if not self._may_ask(guest):
            return failure(question, ResponseCode.SERVER_FAILURE)
        self._asking[guest] += 1
        try:
            return await self._ask(message, question, _ask_stream)
        finally:
            _count_down(self._asking, guest)

    # --- upstream -----------------------------------------------------------------------------------------

    def _may_ask(self, guest: str) -> bool:
        return self._asking[guest] < _QUESTIONS_PER_GUEST and self._asking.total() < _QUESTIONS_IN_ALL

    async def _ask(
        self,
        message: bytes,
        question: Question,
        ask: Callable[[str, bytes, Question, int], Coroutine[Any, Any, bytes]],
    ) -> bytes:
        for _ in range(_ROUNDS):
            for server in self._upstreams():
                number = secrets.randbelow(1 << 16)
                with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    async with asyncio.timeout(_UPSTREAM_TIMEOUT_S):
                        reply = await ask(server, with_transaction(message, number), question, number)
                    return with_transaction(reply, question.transaction)
        return failure(question, ResponseCode.SERVER_FAILURE)


async def _ask_datagram(server: str, message: bytes, question: Question, number: int) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(_family(server), socket.SOCK_DGRAM) as upstream:
        upstream.setblocking(False)
        upstream.connect((server, PORT))
        await loop.sock_sendall(upstream, message)
        while True:
            reply = await loop.sock_recv(upstream, _LONGEST_MESSAGE)
            if is_reply_to(reply, question, number):
                return reply


async def _ask_stream(server: str, message: bytes, question: Question, number: int) -> bytes:
    reader, writer = await asyncio.open_connection(server, PORT)
    try:
        await _write_framed(writer, message)
        while reply := await _read_framed(reader):
            if is_reply_to(reply, question, number):
                return reply
    finally:
        writer.transport.abort()
    raise ConnectionResetError("the upstream closed without an answer")


async def _read_framed(reader: asyncio.StreamReader) -> bytes:
    """One length-prefixed message; empty at the end of the stream."""
    async with asyncio.timeout(_IDLE_TIMEOUT_S):
        length = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(length)


async def _write_framed(writer: asyncio.StreamWriter, message: bytes) -> None:
    async with asyncio.timeout(_IDLE_TIMEOUT_S):
        writer.write(len(message).to_bytes(2, "big") + message)
        await writer.drain()


def _family(server: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server else socket.AF_INET


def _send(server: socket.socket, reply: bytes, guest: tuple[str, int]) -> None:
    with suppress(OSError):  # the guest left, or its queue is full: it asks again
        server.sendto(reply, guest)


def _count_down(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
