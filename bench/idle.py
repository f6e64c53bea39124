"""The service with nothing to do: memory and CPU."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bakehouse.host.endpoint import find_endpoint
from bench.figure import Figure, at_most
from bench.throwaway import Bench

_SETTLE_S = 5.0
_WATCH_S = 30.0


def measure(bench: Bench) -> Iterator[Figure]:
    """Watch the service's process for half a minute."""
    endpoint = find_endpoint(bench.settings.state)
    if endpoint is None:
        raise RuntimeError("the service does not run")
    time.sleep(_SETTLE_S)
    before, began = _cpu_s(endpoint.pid), time.monotonic()
    time.sleep(_WATCH_S)
    share = (_cpu_s(endpoint.pid) - before) / (time.monotonic() - began)
    yield Figure(name="idle service, memory", figure=_resident_mb(endpoint.pid), unit="MB", target=at_most(200))
    yield Figure(name="idle service, CPU", figure=100 * share, unit="% of a core", target=at_most(3))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no memory")
