"""One service for all API tests; it boots nothing."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.framework.service import Keys, Service, environment, running_service


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A service on a fresh state directory (its path short enough for Unix sockets)."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        Path(directory).chmod(0o711)  # machines pass through to their own files
        with running_service(Path(directory) / "s") as running:
            yield running


@pytest.fixture
def ec2(service: Service) -> Any:
    """The administrator's client."""
    return service.client()


@pytest.fixture(scope="session")
def other_keys(service: Service) -> Keys:
    """A second account, made as an administrator makes one."""
    done = subprocess.run(
        [sys.executable, "-m", "bakehouse.cli", "account", "create"],
        env=environment(service.state_root, service.port),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    values = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    return Keys(
        account_id=lines[0].split()[-1],
        access_key_id=values["AWS_ACCESS_KEY_ID"].strip("'"),
        secret_access_key=values["AWS_SECRET_ACCESS_KEY"].strip("'"),
    )


def unique(prefix: str) -> str:
    """A name no other test uses."""
    return f"{prefix}-{os.urandom(4).hex()}"
