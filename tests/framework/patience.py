"""How long tests wait for what must come: as long as the slowest and busiest host may take."""

import time
from collections.abc import Callable

PATIENCE_S = 300.0
# The same for boto3's waiters, which else give up after 40 looks.
WAITS = {"Delay": 1, "MaxAttempts": 300}


def wait_for(check: Callable[[], object], what: str, *, timeout_s: float = PATIENCE_S, pause_s: float = 0.05) -> None:
    """Wait until ``check`` holds, or fail saying what did not come."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:g} s"
        time.sleep(pause_s)
