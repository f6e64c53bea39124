"""One service for all API tests; it boots nothing."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.framework.service import Keys, Service, running_service


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
    return service.new_account()


def unique(prefix: str) -> str:
    """A name no other test uses."""
    return f"{prefix}-{os.urandom(4).hex()}"
