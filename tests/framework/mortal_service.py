"""The real service, killed by itself right after a chosen step of a chosen workflow.

As a program (``python -m tests.framework.mortal_service``) it serves as ``bakehouse serve`` does, writes every step
into a trace, and when a step is the one that the order file names, deletes the order and sends itself SIGKILL.
Without an order it is a plain service, so the one that finds what a killed one left behind is ready to be killed too.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bakehouse.durable.engine import Moment
from bakehouse.host.endpoint import AdministratorKey, Endpoint
from bakehouse.host.files import write_atomically
from bakehouse.main import run_service
from bakehouse.settings import Settings
from tests.framework.patience import wait_for
from tests.framework.service import Service, environment, free_port
from tests.framework.settling import wait_until_settled

_WORDS = ("-m", "tests.framework.mortal_service")


@dataclass(frozen=True, kw_only=True)
class KillPoint:
    """Right after a step of a workflow, remembered by the engine or not."""

    workflow: str
    step: str
    moment: Moment

    def __str__(self) -> str:
        return f"{self.workflow}, {self.step} {self.moment}"


class MortalService:
    """A service on one state directory that is killed and started again, and a client that outlives it."""

    def __init__(self, state_root: Path, variables: dict[str, str]) -> None:
        self.service = Service(state_root=state_root, port=free_port())
        self.settings = Settings.from_environment({**environment(state_root, self.service.port), **variables})
        self._variables = variables
        self._client: Any = None

    @property
    def ec2(self) -> Any:
        """The administrator's client; the address stays the same over restarts."""
        if self._client is None:
            self._client = self.service.client()
        return self._client

    def start(self) -> None:
        """Start the service."""
        self.service.start(module=_WORDS, variables=self._variables)

    def order_death(self, point: KillPoint) -> None:
        """Have it killed when it next comes by this point."""
        write_atomically(order_file(self.settings), json.dumps(asdict(point)))

    def await_death(self) -> None:
        """Wait until it has killed itself."""
        wait_for(lambda: self.service.process.poll() is not None, "the end of the service")
        assert self.service.process.returncode == -signal.SIGKILL

    @contextmanager
    def killed_at(self, point: KillPoint) -> Iterator[None]:
        """Killed by what the block asks for, when it comes by ``point``; then started again, and all settled."""
        self.order_death(point)
        yield
        self.await_death()
        self.start()
        wait_until_settled(self.settings)

    def trace(self) -> list[KillPoint]:
        """Every step since ``forget_trace``."""
        lines = trace_file(self.settings).read_text().splitlines()
        return [KillPoint(**json.loads(line)) for line in lines]

    def forget_trace(self) -> None:
        """Begin a new trace."""
        trace_file(self.settings).write_text("")

    @contextmanager
    def running(self) -> Iterator["MortalService"]:
        """Started, and ended at last."""
        self.start()
        try:
            yield self
        finally:
            order_file(self.settings).unlink(missing_ok=True)
            self.service.end()


def order_file(settings: Settings) -> Path:
    """Where the order to die is written, beside the state directory."""
    return settings.state_root.with_name(f"{settings.state_root.name}.order")


def trace_file(settings: Settings) -> Path:
    """Where every step is written down."""
    return settings.state_root.with_name(f"{settings.state_root.name}.trace")


def main() -> None:
    """Serve until ended, or until the step of the order."""
    settings = Settings.from_environment(os.environ)
    order = order_file(settings)

    def after_step(workflow_id: str, step: str, moment: Moment) -> None:
        # Ids are "<workflow>-<what it is about>-..."; our names hold no hyphen.
        point = KillPoint(workflow=workflow_id.partition("-")[0], step=step, moment=moment)
        with trace_file(settings).open("a") as trace:
            trace.write(json.dumps(asdict(point)) + "\n")
        if order.exists() and json.loads(order.read_text()) == asdict(point):
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    run_service(settings, on_ready=_say_nothing, after_step=after_step)


def _say_nothing(_endpoint: Endpoint, _first_key: AdministratorKey | None) -> None:
    return


if __name__ == "__main__":
    main()
