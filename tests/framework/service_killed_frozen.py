"""The real service, which kills itself at the instant at which a capture has frozen a guest's file systems."""

import os
import signal

from bakehouse.guest.agent import GuestAgent
from bakehouse.main import run_service
from bakehouse.settings import Settings

_freeze = GuestAgent.freeze


def freeze_and_die(agent: GuestAgent, *, timeout_s: float = 30) -> int:
    """Freeze for real, and go no further."""
    _freeze(agent, timeout_s=timeout_s)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives SIGKILL")


if __name__ == "__main__":
    GuestAgent.freeze = freeze_and_die  # type: ignore[assignment, method-assign]
    run_service(Settings.from_environment(os.environ), on_ready=lambda _endpoint, _key: None)
