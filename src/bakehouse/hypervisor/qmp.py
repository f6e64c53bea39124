"""A connection to one QEMU's machine protocol that comes back by itself and never waits for ever.

Invariant: every command ends within its time limit, as its reply or as a MachineError. QEMU may be hostile:
replies are bounded, and the peer of the socket must run under the machine's uid.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError, Runstate
from qemu.qmp.error import ProtocolError
from qemu.qmp.message import Message

from bakehouse.host.untrusted_json import read_untrusted, short_words
from bakehouse.hypervisor.spec import MachineError

# The longest reply lists the block nodes: some 5 KB for each disk while it is captured, 2 KB of it structure.
_REPLY_LIMIT_BYTES, _STRUCTURE_BYTES = 1 << 20, 256 << 10
_CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 20.0
_SOCKET_PATH_LIMIT = 107

# The library logs every refused connection as an error; we raise instead.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

EventHandler = Callable[[str, Mapping[str, Any]], None]


class RefusedError(MachineError):
    """QEMU answered a command with an error; ``error_class`` is QMP's."""

    def __init__(self, command: str, error_class: str, description: str) -> None:
        super().__init__(f"{command}: {description}")
        self.error_class = error_class


class _Client(QMPClient):
    """The library's client, safe against what a hostile QEMU sends: all of it ends as a message or a QMPError."""

    async def _do_recv(self) -> Message:
        await asyncio.sleep(0)  # a QEMU that sent very many at once must not hold up the loop
        try:
            value = read_untrusted(await self._readline(), structure_bytes=_STRUCTURE_BYTES)
        except ValueError as error:  # from reading the line, too, when it is longer than the buffer
            raise ProtocolError("QEMU sent nonsense") from error
        # The library looks messages up by their id.
        if not isinstance(value, dict) or not isinstance(value.get("id", ""), str):
            raise ProtocolError("QEMU sent nonsense")
        return Message(value, eager=False)

    def _cb_inbound(self, msg: Message) -> Message:
        return msg  # the library would write each one out again, for a log that nobody reads


class QmpSession:
    """Commands to, and events from, the QEMU at ``socket_path``; used on one event loop only.

    Connects at the first command and again after a disconnect. ``on_event`` runs on the loop for each event.
    """

    def __init__(self, socket_path: Path, *, peer_uid: int | None, on_event: EventHandler) -> None:
        self._path = socket_path
        self._peer_uid = peer_uid
        self._on_event = on_event
        self._client: QMPClient | None = None
        self._lock = asyncio.Lock()

    @property
    def is_connected(self) -> bool:
        """Whether events arrive at the moment."""
        return self._client is not None and self._client.runstate is Runstate.RUNNING

    async def connect(self) -> None:
        """Connect if needed; MachineError when QEMU does not answer."""
        async with self._lock:
            await self._connected()

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        fd: int | None = None,
    ) -> Any:
        """Run one command, handing over ``fd`` with it, and return its result.

        Raises RefusedError for QEMU's own error, MachineError for no answer in time; after that the
        connection is dropped and the next command starts afresh.
        """
        limit_s = COMMAND_TIMEOUT_S if timeout_s is None else timeout_s
        async with self._lock:
            client = await self._connected()
            try:
                async with asyncio.timeout(limit_s):
                    if fd is not None:
                        client.send_fd_scm(fd)
                    return await client.execute(command, arguments)
            except ExecuteError as error:
                raise RefusedError(command, error.error_class, short_words(error)) from error
            except TimeoutError as error:
                await self._drop()
                raise MachineError(f"QEMU did not answer {command} within {limit_s:g} s") from error
            except (QMPError, OSError, EOFError) as error:
                await self._drop()
                raise MachineError(f"QEMU went away during {command} ({short_words(error)})") from error

    async def close(self) -> None:
        """Disconnect; QEMU goes on."""
        async with self._lock:
            await self._drop()

    async def _connected(self) -> QMPClient:
        if self._client is not None and self.is_connected:
            return self._client
        await self._drop()
        client = _Client(readbuflen=_REPLY_LIMIT_BYTES)
        client.register_listener(EventListener(event_filter=self._take_event))
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await client.connect(await self._open_socket())
        except (TimeoutError, QMPError, OSError, EOFError) as error:
            raise MachineError(f"QEMU's machine protocol does not answer ({_reason(error)})") from error
        self._client = client
        return client

    async def _open_socket(self) -> socket.socket:
        """A connected socket whose peer is known to be the machine's own QEMU."""
        if len(str(self._path)) > _SOCKET_PATH_LIMIT:
            raise MachineError(f"the path {self._path} is too long for a socket; use a shorter state directory")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(self._path))
            _check_peer(connection, self._peer_uid)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            # What ended the connection is raised again here, and there is nothing more to do about it.
            with suppress(Exception):
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await client.disconnect()

    def _take_event(self, message: Message) -> bool:
        """Handle an event as it arrives; False, so that the library's unbounded queue stays empty."""
        data = message.get("data")
        self._on_event(str(message.get("event")), data if isinstance(data, dict) else {})
        return False


def _check_peer(connection: socket.socket, uid: int | None) -> None:
    """A hostile QEMU could put a link to another machine's socket in its directory: refuse to follow."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    peer_uid = struct.unpack("3i", credentials)[1]
    if uid is not None and peer_uid != uid:
        raise MachineError(f"a machine's socket is answered by uid {peer_uid}, not {uid}")


def _reason(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else short_words(error)
