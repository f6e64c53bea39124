"""The real service, killed by itself right after a chosen step of a chosen workflow, or while a chosen file is there.

As a program (``python -m tests.framework.mortal_service``) it serves as ``bakehouse serve`` does, writes every step
into a trace, and stands still where the order file says, until it is told that whoever gave the order has the answer
to his request; then it sends itself SIGKILL. Without an order it is a plain service, so the one that finds what a
killed one left behind is ready to be killed too.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bakehouse.durable.engine import Moment
from bakehouse.host.endpoint import AdministratorKey, Endpoint
from bakehouse.host.files import write_atomically
from bakehouse.main import run_service
from bakehouse.settings import Settings
from tests.framework.kept_logs import logs_kept
from tests.framework.patience import wait_for
from tests.framework.service import Service, free_port
from tests.framework.settling import wait_until_settled

_WORDS = ("-m", "tests.framework.mortal_service")
# What Python tells an audit hook of before it does it.
_EVENTS = {"open", "os.remove", "os.rename", "os.rmdir", "socket.connect", "subprocess.Popen"}


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
        self.service = Service(state_root=state_root, port=free_port(), variables=variables)
        self.settings = self.service.settings
        self._client: Any = None

    @property
    def ec2(self) -> Any:
        """The administrator's client; the address stays the same over restarts."""
        if self._client is None:
            self._client = self.service.client()
        return self._client

    def start(self) -> None:
        """Start the service."""
        self.service.start(module=_WORDS)

    def order_death(self, order: KillPoint | str) -> None:
        """Have it killed when it next comes by this point, or has a path like this below its state directory."""
        grant_file(self.settings).unlink(missing_ok=True)
        words = {"pattern": order} if isinstance(order, str) else asdict(order)
        write_atomically(order_file(self.settings), json.dumps(words))

    def await_death(self) -> None:
        """Wait until it has killed itself; it may from now on."""
        grant_file(self.settings).touch()
        wait_for(lambda: self.service.process.poll() is not None, "the end of the service")
        assert self.service.process.returncode == -signal.SIGKILL

    @contextmanager
    def killed_at(self, order: KillPoint | str) -> Iterator[None]:
        """Killed by what the block asks for, when it comes by there; then started again, and all settled."""
        self.order_death(order)
        try:
            yield
        except BaseException:
            order_file(self.settings).unlink(missing_ok=True)
            raise
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
        with logs_kept(self.settings.state_root):
            try:
                self.start()
                yield self
            finally:
                order_file(self.settings).unlink(missing_ok=True)
                self.service.end()


def order_file(settings: Settings) -> Path:
    """Where the order to die is written, beside the state directory."""
    return settings.state_root.with_name(f"{settings.state_root.name}.order")


def grant_file(settings: Settings) -> Path:
    """What is there as soon as the order may be carried out."""
    return settings.state_root.with_name(f"{settings.state_root.name}.grant")


def trace_file(settings: Settings) -> Path:
    """Where every step is written down."""
    return settings.state_root.with_name(f"{settings.state_root.name}.trace")


def main() -> None:
    """Serve until ended, or until the step of the order."""
    settings = Settings.from_environment(os.environ)

    def after_step(workflow_id: str, step: str, moment: Moment) -> None:
        # Ids are "<workflow>-<what it is about>-..."; our names hold no hyphen.
        point = KillPoint(workflow=workflow_id.partition("-")[0], step=step, moment=moment)
        with trace_file(settings).open("a") as trace:
            trace.write(json.dumps(asdict(point)) + "\n")
        obey(settings, lambda order: order == asdict(point))

    watch_paths(settings)
    run_service(settings, on_ready=_say_nothing, after_step=after_step)


def obey(settings: Settings, is_here: Callable[[dict[str, str]], bool]) -> None:
    """Stand still and die if there is an order, and it is carried out here."""
    order = order_file(settings)
    try:
        words = json.loads(order.read_text())
    except FileNotFoundError:
        return
    if not is_here(words):
        return
    while order.exists():
        if grant_file(settings).exists():
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.005)


def watch_paths(settings: Settings) -> None:
    """Obey an order that names a path, before anything more is done with files, sockets or programs."""
    busy = threading.local()

    def is_there(order: dict[str, str]) -> bool:
        return "pattern" in order and any(settings.state_root.glob(order["pattern"]))

    def look(event: str, _arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or getattr(busy, "is_looking", False) or _answers_requests():
            return
        busy.is_looking = True
        try:
            with suppress(OSError):
                obey(settings, is_there)
        finally:
            busy.is_looking = False

    sys.addaudithook(look)


def _answers_requests() -> bool:
    """Whether this thread is one of those that bring whoever gave the order his answer."""
    thread = threading.current_thread()
    return thread is threading.main_thread() or thread.name.startswith("request")


def _say_nothing(_endpoint: Endpoint, _first_key: AdministratorKey | None) -> None:
    return


if __name__ == "__main__":
    main()
