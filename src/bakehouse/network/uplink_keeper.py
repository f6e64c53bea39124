"""Keep a VPC's uplink alive: start it, find it again, start it anew when it ends. For the loop's thread only.

Invariant: at most one uplink per namespace: the agent holds its life, so the agent's word on it is the truth.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from bakehouse.network.agent_client import AgentClient
from bakehouse.network.backoff import Backoff
from bakehouse.network.namespace import NamespaceHandles
from bakehouse.network.spec import NetworkError, VpcSpec
from bakehouse.network.uplink import start_uplink
from bakehouse.paths import StateDirectory

log = logging.getLogger(__name__)

_LABEL = "uplink"


class UplinkKeeper:
    """One VPC's uplink."""

    def __init__(
        self,
        spec: VpcSpec,
        state: StateDirectory,
        *,
        get_agent: Callable[[], Awaitable[AgentClient]],
        has_agent: Callable[[], bool],
    ) -> None:
        self._spec, self._state = spec, state
        self._get_agent, self._has_agent = get_agent, has_agent
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._namespaces: NamespaceHandles | None = None
        self._process: int | None = None
        self._backoff = Backoff()
        self._restart: asyncio.Task[None] | None = None

    async def ensure(self, namespaces: NamespaceHandles) -> None:
        """Start the uplink unless the agent holds a living one; then watch it. NetworkError if it fails."""
        self._namespaces = namespaces
        async with self._lock:
            agent = await self._get_agent()
            note = (await agent.status()).held.get(_LABEL)
            self._watch(note["pid"] if note else await self._start(agent, namespaces))

    def close(self) -> None:
        """Leave the uplink alone."""
        self._namespaces = None
        self._unwatch()
        if self._restart is not None:
            self._restart.cancel()

    async def _start(self, agent: AgentClient, namespaces: NamespaceHandles) -> int:
        started = await asyncio.to_thread(start_uplink, self._spec, self._state, namespaces)
        try:
            await agent.hold(_LABEL, started.life_fd, {"pid": started.pid})
        finally:
            os.close(started.life_fd)
        return started.pid

    def _watch(self, pid: int) -> None:
        self._unwatch()
        try:
            self._process = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended()
            return
        self._loop.add_reader(self._process, self._ended)

    def _unwatch(self) -> None:
        if self._process is not None:
            self._loop.remove_reader(self._process)
            os.close(self._process)
            self._process = None

    def _ended(self) -> None:
        self._unwatch()
        if self._namespaces is None or not self._has_agent():
            return  # without an agent it had to end; the next agent gets a new one
        log.warning("%s: its uplink ended; starting it again", self._spec.vpc_id)
        self._restart = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        while self._namespaces is not None:
            await self._backoff.wait()
            try:
                await self.ensure(self._namespaces)
            except (NetworkError, OSError):
                log.exception("%s: the uplink could not be started", self._spec.vpc_id)
                continue
            self._backoff.note_success()
            return
