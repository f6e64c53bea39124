"""One asyncio event loop in a thread of its own, for the parts that live on sockets (QMP, VPC services).

Workflows and operations are plain synchronous code; they reach the loop through ``HostLoop.call``.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class HostLoop:
    """A running event loop; ``close`` ends it and joins its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="host-loop", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, Result], *, timeout_s: float | None = 60) -> Result:
        """Run ``coroutine`` on the loop and wait for its result; TimeoutError after ``timeout_s``."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def close(self) -> None:
        """Cancel what still runs and stop the loop."""

        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.call(cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self.loop.close()
