"""Work that cannot end for now: whoever has to do it stands still."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.framework.host_truth import find_processes
from tests.framework.service import Service


@contextmanager
def held(service: Service, subject: str) -> Iterator[None]:
    """Stop an instance's machine, or a VPC's agent, for the length of the block, which should be short: the service
    waits for an answer, though not for ever.
    """
    everybody = find_processes(service.settings, service_pid=service.process.pid)
    pids = [one.pid for one in everybody if one.subject == subject]
    assert pids, f"nobody works for {subject}"
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
