"""The real service as a process of its own, on a state directory of the test's, with real clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from bakehouse.host.endpoint import find_endpoint
from bakehouse.paths import StateDirectory
from bakehouse.settings import Settings
from tests.framework.kept_logs import logs_kept
from tests.framework.patience import PATIENCE_S

_ROOT = Path(__file__).parents[2]
_SERVE = ("-m", "bakehouse.cli", "serve")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A key: an account's administrator's, a user's or a session's."""

    account_id: str
    access_key_id: str
    secret_access_key: str
    # Temporary keys only.
    session_token: str | None = None


@dataclass(kw_only=True)
class Service:
    """A running service."""

    state_root: Path
    # 0: the service chooses at its first start, and keeps it at the next ones.
    port: int
    # Settings of its own, for its process and for commands run against it.
    variables: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def administrator(self) -> Keys:
        """The first account."""
        return Keys(**json.loads((self.state_root / "credentials.json").read_text()))

    def client(self, name: str = "ec2", keys: Keys | None = None, *, region: str = "us-east-1") -> Any:
        """An unmodified boto3 client that does not retry, so that a 5xx is seen."""
        who = keys or self.administrator
        return boto3.client(
            name,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=who.access_key_id,
            aws_secret_access_key=who.secret_access_key,
            aws_session_token=who.session_token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What its process, and a command run against it, is given."""
        return {**environment(self.state_root, self.port), **self.variables}

    @property
    def settings(self) -> Settings:
        """The same, read."""
        return Settings.from_environment(self.environment)

    def run_cli(self, *words: str) -> str:
        """Run a verb of the command line against it; what it printed."""
        return run_cli(self.environment, *words)

    def new_account(self, *words: str) -> Keys:
        """One more account, made as an administrator makes it; ``words`` are options of the command."""
        lines = self.run_cli("account", "create", *words).splitlines()
        values = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
        return Keys(
            account_id=lines[0].split()[-1],
            access_key_id=values["AWS_ACCESS_KEY_ID"].strip("'"),
            secret_access_key=values["AWS_SECRET_ACCESS_KEY"].strip("'"),
        )

    def end(self) -> None:
        """End it with SIGTERM, as Ctrl-C does; its machines run on."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def serial_log(self, instance_id: str) -> Path:
        """Where an instance's serial port is written to."""
        return StateDirectory(root=self.state_root).instance(instance_id).serial_log

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def start(self, *, module: Sequence[str] = _SERVE) -> None:
        """Start it, again after it has ended, and wait until it answers."""
        log = self.state_root.with_name(f"{self.state_root.name}.log")
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *module],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        _wait(self, log)


def environment(state_root: Path, port: int) -> dict[str, str]:
    """The settings of a service for tests. Compiled code is kept: without it each start takes seconds more."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPYCACHEPREFIX": str(_ROOT / "build" / "bytecode"),
        "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}",
        "BAKEHOUSE_STATE_ROOT": str(state_root),
        "BAKEHOUSE_LISTEN_PORT": str(port),
        "BAKEHOUSE_ACCELERATOR": "tcg",
    }


def run_cli(variables: Mapping[str, str], *words: str) -> str:
    """Run a verb of the command line with these settings; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "bakehouse.cli", *words],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_service(
    state_root: Path, *, port: int | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Start the service and wait until it answers; at last end it with SIGTERM, and all that it started."""
    service = Service(state_root=state_root, port=port or 0, variables=variables or {})
    with ExitStack() as stack:
        stack.enter_context(logs_kept(state_root))
        stack.callback(service.run_cli, "down")
        stack.callback(service.end)
        service.start()
        yield service


def _wait(service: Service, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise AssertionError(f"the service ended:\n{log.read_text()[-4000:]}")
        if endpoint := find_endpoint(StateDirectory(root=service.state_root)):
            service.port = urlsplit(endpoint.url).port or 0
            return
        time.sleep(0.05)
    raise AssertionError(f"the service does not answer:\n{log.read_text()[-4000:]}")
