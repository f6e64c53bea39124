"""A running QEMU as the event loop sees it: its process, its protocol session, what its events said.

Invariant: everything here runs on the host loop. Events only speed waiting up; every wait asks QEMU again, so
that an event missed while nobody was connected is no loss.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from bakehouse.host.files import write_atomically
from bakehouse.host.spawn import reap
from bakehouse.hypervisor.process import has_ended, read_tail
from bakehouse.hypervisor.qmp import QmpSession
from bakehouse.hypervisor.spec import ExitReason, MachineError, MachineSpec
from bakehouse.paths import InstanceDirectory

_POLL_S = 0.5
_LAST_EVENTS_S = 1.0
_PID_FILE_LIMIT = 32


class LiveMachine:
    """One QEMU process we have a descriptor of; create it on the loop (``await LiveMachine.open(...)``)."""

    def __init__(self, spec: MachineSpec, files: InstanceDirectory, pid: int, pidfd: int) -> None:
        self.spec = spec
        self.files = files
        self.pid = pid
        self.quit_requested = False
        # Somebody waits for its end.
        self.is_watched = False
        self.on_full_disk: Callable[[], Awaitable[None]] | None = None
        self.ended = asyncio.Event()
        self.session = QmpSession(files.qmp_socket, peer_uid=spec.uid, on_event=self._take_event)
        self._pidfd = pidfd
        self._pulse = asyncio.Event()
        self._shutdown_by_guest: bool | None = None
        self._relief: asyncio.Task[None] | None = None
        self._farewell: asyncio.Task[None] | None = None
        asyncio.get_running_loop().add_reader(pidfd, self._take_end)

    @classmethod
    async def open(cls, spec: MachineSpec, files: InstanceDirectory, pid: int) -> "LiveMachine":
        """Watch ``pid``; MachineError when it is already gone."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise MachineError(f"process {pid} of {spec.instance_id} is gone") from error
        return cls(spec, files, pid, pidfd)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self.ended.is_set() or has_ended(self._pidfd)

    async def close(self) -> None:
        """Stop watching; the process goes on. Who waits for an end that has come is told first."""
        if self.has_ended and not self.ended.is_set():
            self._take_end()
        self._stop_watching()
        if self._relief is not None:
            self._relief.cancel()
        await self.session.close()

    async def save_spec(self, spec: MachineSpec) -> None:
        """Remember a changed spec, on disk too: a restarted service reads it back."""
        self.spec = spec
        await asyncio.to_thread(write_atomically, self.files.spec, spec.to_json())

    async def status(self) -> str:
        """QEMU's run state: running, paused, shutdown, io-error, prelaunch ..."""
        reply = await self.session.execute("query-status")
        status = str(reply.get("status"))
        if status == "io-error":
            self._relieve()
        return status

    async def wait_until(self, check: Callable[[], Awaitable[bool]], *, timeout_s: float) -> bool:
        """Wait until ``check`` holds, looking again at each event; False when it does not in time."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            pulse = self._pulse  # taken first: an event that comes while ``check`` asks must not be lost
            if await check():
                return True
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(pulse.wait(), min(left, _POLL_S))

    async def wait_for_end(self, *, timeout_s: float) -> bool:
        """Wait for the end of the process; False when it goes on."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), timeout_s)
        return self.has_ended

    async def exit_reason(self) -> ExitReason:
        """Why the process ended; call it once it has.

        QEMU removes its pid file on every orderly exit and on no other, which also tells after a restart.
        """
        if self._farewell is not None:
            await asyncio.wait({self._farewell})
        return judge_exit(
            self.files,
            uid=self.spec.uid,
            by_guest=self._shutdown_by_guest,
            quit_requested=self.quit_requested,
        )

    async def _hear_last_events(self) -> None:
        """Read what QEMU said before it went, then let go of the connection."""
        deadline = asyncio.get_running_loop().time() + _LAST_EVENTS_S
        while self.session.is_connected and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        await self.session.close()

    def _take_event(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "SHUTDOWN":
            self._shutdown_by_guest = bool(data.get("guest"))
        elif name == "RESET":
            self._shutdown_by_guest = None
        elif name == "BLOCK_IO_ERROR" and data.get("action") == "stop":
            self._relieve()
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    def _relieve(self) -> None:
        """Start making room for a machine that stands still because the host's disk is full."""
        if self.on_full_disk is not None and (self._relief is None or self._relief.done()):
            self._relief = asyncio.get_running_loop().create_task(self._make_room())

    async def _make_room(self) -> None:
        assert self.on_full_disk is not None
        with suppress(MachineError):
            await self.on_full_disk()

    def _take_end(self) -> None:
        self._stop_watching()
        reap(self.pid)
        self.ended.set()
        self._farewell = asyncio.get_running_loop().create_task(self._hear_last_events())
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    def _stop_watching(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def judge_exit(files: InstanceDirectory, *, uid: int | None, by_guest: bool | None, quit_requested: bool) -> ExitReason:
    """Why a machine that is gone ended, from its last event (None: not seen) and from what it left behind."""
    if quit_requested:
        return ExitReason.QUIT
    if by_guest is not None:
        return ExitReason.GUEST_SHUTDOWN if by_guest else ExitReason.QUIT
    crashed = bool(read_tail(files.pid_file, limit_bytes=_PID_FILE_LIMIT, uid=uid))
    return ExitReason.CRASH if crashed else ExitReason.GUEST_SHUTDOWN
