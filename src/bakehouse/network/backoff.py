"""How long to wait before something that failed is tried again. For the loop's thread only."""

import asyncio

_PAUSES_S = (0.2, 1.0, 5.0, 30.0)
_FORGIVEN_AFTER_S = 60


class Backoff:
    """Longer with each try, up to half a minute, until a success has lasted a while."""

    def __init__(self) -> None:
        self._tries = 0

    async def wait(self) -> None:
        """Wait for the time of the next try."""
        pause_s = _PAUSES_S[min(self._tries, len(_PAUSES_S) - 1)]
        self._tries += 1
        await asyncio.sleep(pause_s)

    def note_success(self) -> None:
        """What was tried is done: forget the failures before, unless there are new ones soon."""
        asyncio.get_running_loop().call_later(_FORGIVEN_AFTER_S, self._forgive)

    def _forgive(self) -> None:
        self._tries = 0
