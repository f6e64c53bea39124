"""Start the service in the background when none runs."""

import sys
import time
from pathlib import Path

from bakehouse.cli.connection import Connection, find_connection
from bakehouse.cli.demo.steps import DemoFailed
from bakehouse.host.run import start_detached
from bakehouse.settings import Settings

# The first start migrates the database and probes whether KVM works.
_START_LIMIT_S = 120.0
_LOG_TAIL_BYTES = 4000


def ensure_service(settings: Settings) -> tuple[Connection, bool]:
    """Return the running service's connection, and whether it had to be started; DemoFailed when it does not
    come up.
    """
    if (running := find_connection(settings)) is not None and _answers(running):
        return running, False
    settings.state_root.mkdir(parents=True, exist_ok=True)
    log = settings.state.service_log
    words = [sys.executable, "-m", "bakehouse.cli", "--state", str(settings.state_root), "serve"]
    process = start_detached(words, log=log)
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        if (connection := find_connection(settings)) is not None and _answers(connection):
            return connection, True
        if process.poll() is not None:
            raise DemoFailed(f"the service ended at once; the end of {log}:\n{_tail(log)}")
        time.sleep(0.2)
    process.terminate()
    raise DemoFailed(f"the service did not answer within {_START_LIMIT_S:g} s; {log}:\n{_tail(log)}")


def _answers(connection: Connection) -> bool:
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    try:
        connection.client("sts").get_caller_identity()
    except BotoCoreError:  # nothing listens yet; an answer that is an error would be a ClientError
        return False
    return True


def _tail(path: Path) -> str:
    return path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
