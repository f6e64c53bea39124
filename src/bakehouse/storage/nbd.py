"""An NBD client: just what reading a disk view needs, over a Unix socket, in plain Python.

Written for a server that may be hostile (a machine whose guest broke out serves its own disk): every length
is checked before it is believed, every request has a deadline, and nothing here can be made to write outside
the buffer it was given. The protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

import itertools
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from bakehouse.storage.errors import SourceError

REQUEST_TIMEOUT_S = 60.0
MAX_READ_BYTES = 32 << 20
# A status request's length field has 32 bits; kept a multiple of every block size.
MAX_STATUS_BYTES = 1 << 31

_NEGOTIATION_MAGIC = b"NBDMAGIC"
_OPTION_MAGIC = b"IHAVEOPT"
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_REQUEST_MAGIC = 0x25609513
_SIMPLE_REPLY_MAGIC = 0x67446698
_STRUCTURED_REPLY_MAGIC = 0x668E33EF

_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_CHUNK_DONE = 1
_ERROR_CHUNK = 1 << 15
_ERROR_OPTION_REPLY = 1 << 31
_INFO_EXPORT = 0

# QEMU sends at most 1 MiB of extents in one chunk; 4 MiB are 512 Ki extents.
_MAX_STATUS_PAYLOAD = 4 << 20
_MAX_OPTION_PAYLOAD = 64 << 10
_MAX_CHUNKS = 10_000

_OPTION_REPLY = struct.Struct(">QIII")
_EXPORT_INFO = struct.Struct(">HQH")
_REQUEST = struct.Struct(">IHHQQI")
_CHUNK = struct.Struct(">HHQI")
_HOLE = struct.Struct(">QI")
_EXTENT = struct.Struct(">II")
_PEER = struct.Struct("iII")  # struct ucred: pid, uid, gid


class _Option(IntEnum):
    GO = 7
    STRUCTURED_REPLY = 8
    SET_META_CONTEXT = 10


class _OptionReply(IntEnum):
    ACK = 1
    INFO = 3
    META_CONTEXT = 4


class _Command(IntEnum):
    READ = 0
    DISCONNECT = 2
    BLOCK_STATUS = 7


class _Chunk(IntEnum):
    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5


@dataclass(frozen=True, kw_only=True)
class _ChunkHeader:
    is_last: bool
    type: int
    length: int


class NbdConnection:
    """One connection to one export; a context manager, for one thread at a time."""

    def __init__(
        self,
        path: Path,
        export_name: str,
        *,
        contexts: Sequence[str] = (),
        server_uid: int | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._what = f"NBD export {export_name} at {path.name}"
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._cookies = itertools.count(1)
        self._context_names: dict[int, str] = {}
        self.size_bytes = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
            self._check_server(server_uid)
            self._negotiate(export_name, contexts)
        except OSError as error:
            self._socket.close()
            raise SourceError(f"{self._what}: {error.strerror or error}") from error
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye and hang up (idempotent)."""
        try:
            self._socket.settimeout(1)
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, _Command.DISCONNECT, 0, 0, 0))
        except OSError:
            pass  # the server may be gone already
        finally:
            self._socket.close()

    @property
    def contexts(self) -> frozenset[str]:
        """The metadata contexts the server agreed to."""
        return frozenset(self._context_names.values())

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` (at most MAX_READ_BYTES) from ``offset``; SourceError."""
        if not 0 < len(buffer) <= MAX_READ_BYTES or not 0 <= offset <= self.size_bytes - len(buffer):
            raise SourceError(f"{self._what}: a read of {len(buffer)} bytes at {offset}")
        cookie = self._request(_Command.READ, offset, len(buffer))
        filled: list[tuple[int, int]] = []
        for _ in range(_MAX_CHUNKS):
            chunk = self._chunk(cookie)
            if chunk.type == _Chunk.OFFSET_DATA:
                filled.append(self._data_chunk(chunk, offset, buffer))
            elif chunk.type == _Chunk.OFFSET_HOLE:
                filled.append(self._hole_chunk(chunk, offset, buffer))
            elif chunk.type != _Chunk.NONE or chunk.length:
                raise self._broken(f"chunk type {chunk.type} in answer to a read")
            if chunk.is_last:
                break
        else:
            raise self._broken("too many chunks")
        position = 0
        for start, end in sorted(filled):
            if start != position:
                raise self._broken("a read was answered with gaps or overlaps")
            position = end
        if position != len(buffer):
            raise self._broken("a read was answered in part")

    def block_status(self, offset: int, length: int) -> dict[str, list[tuple[int, int]]]:
        """Return (length, flags) extents from ``offset`` on, per context; they may end before or after
        ``length``, and for each context elsewhere, but cover at least one byte.
        """
        cookie = self._request(_Command.BLOCK_STATUS, offset, length)
        answers: dict[str, list[tuple[int, int]]] = {}
        for _ in range(_MAX_CHUNKS):
            chunk = self._chunk(cookie)
            if chunk.type == _Chunk.BLOCK_STATUS:
                name, extents = self._status_chunk(chunk)
                if name in answers:
                    raise self._broken(f"two answers for {name}")
                answers[name] = extents
            elif chunk.type != _Chunk.NONE or chunk.length:
                raise self._broken(f"chunk type {chunk.type} in answer to a status request")
            if chunk.is_last:
                break
        if answers.keys() != self.contexts:
            raise self._broken("a status request was answered for other contexts than were agreed on")
        return answers

    # -- negotiation

    def _check_server(self, uid: int | None) -> None:
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        if uid is not None and _PEER.unpack(credentials)[1] != uid:
            raise SourceError(f"{self._what}: somebody else listens there")

    def _negotiate(self, export_name: str, contexts: Sequence[str]) -> None:
        if self._receive(8) != _NEGOTIATION_MAGIC or self._receive(8) != _OPTION_MAGIC:
            raise self._broken("not an NBD server")
        (flags,) = struct.unpack(">H", self._receive(2))
        if not flags & _FIXED_NEWSTYLE:
            raise self._broken("it does not speak fixed newstyle negotiation")
        self._socket.sendall(struct.pack(">I", flags & (_FIXED_NEWSTYLE | _NO_ZEROES)))
        self._ask(_Option.STRUCTURED_REPLY, b"")
        name = _counted(export_name)
        if contexts:
            queries = b"".join(_counted(context) for context in contexts)
            payload = name + struct.pack(">I", len(contexts)) + queries
            for kind, data in self._ask(_Option.SET_META_CONTEXT, payload):
                if kind == _OptionReply.META_CONTEXT and len(data) > 4:
                    self._agree_on(data, contexts)
        for kind, data in self._ask(_Option.GO, name + struct.pack(">H", 0)):
            if kind == _OptionReply.INFO and data[:2] == struct.pack(">H", _INFO_EXPORT):
                if len(data) != _EXPORT_INFO.size:
                    raise self._broken("export information of a wrong length")
                self.size_bytes = _EXPORT_INFO.unpack(data)[1]
        if self.size_bytes <= 0:
            raise self._broken("it did not tell the export's size")

    def _agree_on(self, data: bytes, wanted: Sequence[str]) -> None:
        name = data[4:].decode(errors="replace")
        if name not in wanted:
            raise self._broken("it offers a metadata context nobody asked for")
        self._context_names[int.from_bytes(data[:4], "big")] = name

    def _ask(self, option: _Option, payload: bytes) -> list[tuple[int, bytes]]:
        """Negotiate one option; return the replies before the final ACK."""
        self._socket.sendall(_OPTION_MAGIC + struct.pack(">II", option, len(payload)) + payload)
        replies: list[tuple[int, bytes]] = []
        while len(replies) < 64:
            magic, answered, kind, length = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
            if magic != _OPTION_REPLY_MAGIC or answered != option or length > _MAX_OPTION_PAYLOAD:
                raise self._broken(f"a bad reply to option {option.name}")
            data = self._receive(length)
            if kind == _OptionReply.ACK:
                return replies
            if kind & _ERROR_OPTION_REPLY:
                text = data[:500].decode(errors="replace")
                raise SourceError(f"{self._what}: {option.name} refused: {text or hex(kind)}")
            replies.append((kind, data))
        raise self._broken(f"too many replies to option {option.name}")

    # -- transmission

    def _request(self, command: _Command, offset: int, length: int) -> int:
        cookie = next(self._cookies)
        self._deadline = time.monotonic() + self._timeout_s
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, command, cookie, offset, length))
        except OSError as error:
            raise SourceError(f"{self._what}: {error.strerror or error}") from error
        return cookie

    def _chunk(self, cookie: int) -> _ChunkHeader:
        """Receive one chunk's header; an error chunk becomes a SourceError."""
        (magic,) = struct.unpack(">I", self._receive(4))
        if magic == _SIMPLE_REPLY_MAGIC:
            code, answered = struct.unpack(">IQ", self._receive(12))
            raise SourceError(f"{self._what}: request {answered} failed with error {code}")
        if magic != _STRUCTURED_REPLY_MAGIC:
            raise self._broken("a reply without its magic number")
        flags, kind, answered, length = _CHUNK.unpack(self._receive(_CHUNK.size))
        if answered != cookie:
            raise self._broken("a reply to a request that was not made")
        if kind & _ERROR_CHUNK:
            payload = self._receive(min(length, _MAX_OPTION_PAYLOAD))
            code = int.from_bytes(payload[:4], "big")
            text = payload[6:500].decode(errors="replace")
            raise SourceError(f"{self._what}: the server reports error {code} {text}".rstrip())
        return _ChunkHeader(is_last=bool(flags & _CHUNK_DONE), type=kind, length=length)

    def _data_chunk(self, chunk: _ChunkHeader, offset: int, buffer: memoryview) -> tuple[int, int]:
        if chunk.length <= 8:
            raise self._broken("an empty data chunk")
        (at,) = struct.unpack(">Q", self._receive(8))
        start, end = at - offset, at - offset + chunk.length - 8
        self._check_inside(start, end, buffer)
        self._receive_into(buffer[start:end])
        return start, end

    def _hole_chunk(self, chunk: _ChunkHeader, offset: int, buffer: memoryview) -> tuple[int, int]:
        if chunk.length != _HOLE.size:
            raise self._broken("a hole chunk of a wrong length")
        at, length = _HOLE.unpack(self._receive(_HOLE.size))
        start, end = at - offset, at - offset + length
        self._check_inside(start, end, buffer)
        buffer[start:end] = bytes(length)
        return start, end

    def _status_chunk(self, chunk: _ChunkHeader) -> tuple[str, list[tuple[int, int]]]:
        count, remainder = divmod(chunk.length - 4, _EXTENT.size)
        if chunk.length > _MAX_STATUS_PAYLOAD or count < 1 or remainder:
            raise self._broken(f"a status chunk of {chunk.length} bytes")
        name = self._context_names.get(int.from_bytes(self._receive(4), "big"))
        if name is None:
            raise self._broken("the status of a context nobody asked for")
        extents = list(_EXTENT.iter_unpack(self._receive(chunk.length - 4)))
        if any(length == 0 for length, _ in extents):
            raise self._broken("an extent without length")
        return name, extents

    def _check_inside(self, start: int, end: int, buffer: memoryview) -> None:
        if not 0 <= start < end <= len(buffer):
            raise self._broken("data outside of what was asked for")

    # -- bytes

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        if length:
            self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, view: memoryview) -> None:
        while view:
            remaining_s = self._deadline - time.monotonic()
            if remaining_s <= 0:
                raise SourceError(f"{self._what}: no answer within {self._timeout_s:g} s")
            try:
                self._socket.settimeout(remaining_s)
                count = self._socket.recv_into(view)
            except TimeoutError:
                continue
            except OSError as error:
                raise SourceError(f"{self._what}: {error.strerror or error}") from error
            if count == 0:
                raise SourceError(f"{self._what}: the server hung up")
            view = view[count:]

    def _broken(self, what: str) -> SourceError:
        return SourceError(f"{self._what}: the server broke the protocol: {what}")


def _counted(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data
