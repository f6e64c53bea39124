"""When a test fails, what every service that runs by then has written so far is kept, its machines' serial logs too.

A plugin (pyproject.toml): a service is told of by ``logs_kept``.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

KEPT = Path(__file__).parents[2] / "build" / "logs-of-failed-tests"
_running: dict[Path, bool] = {}


@contextmanager
def logs_kept(state_root: Path) -> Iterator[None]:
    """For the length of the block, a failure keeps the logs of the service that has its state there."""
    _running[state_root] = False
    try:
        yield
    except BaseException:
        _running[state_root] = True
        raise
    finally:
        if _running.pop(state_root):
            _keep(state_root, "")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what there is; the end of each log follows when its service has ended."""
    if report.failed:
        for state_root in _running:
            _running[state_root] = True
            _keep(state_root, f"{report.nodeid}, {report.when}\n")


def _keep(state_root: Path, failure: str) -> None:
    """Copy the logs to a directory of the service's own, beside the names of the tests that failed."""
    kept = KEPT / state_root.parent.name
    with suppress(OSError):  # an ordinary user's service may not write there; whoever started it keeps its logs
        kept.mkdir(parents=True, exist_ok=True)
        with (kept / "failed").open("a") as file:
            file.write(failure)
    logs = [*state_root.parent.glob(f"{state_root.name}.*"), *state_root.glob("instances/*/*.log")]
    for log in [*logs, *state_root.glob("vpcs/*/*.log")]:
        with suppress(OSError):  # it may vanish meanwhile
            shutil.copy(log, kept / "-".join(log.relative_to(state_root.parent).parts))
