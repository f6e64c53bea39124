"""One service for all API tests; the guests it runs are a sector long."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.framework.belongings import Belongings, acquire
from tests.framework.caller import Caller
from tests.framework.calm_guest import write_disk
from tests.framework.service import Keys, Service, running_service

# Its own uids and public addresses, apart from those of a service that runs here already.
_APART = {"BAKEHOUSE_UID_BASE": "1930000000", "BAKEHOUSE_PUBLIC_NETWORK": "127.204.0.0/16"}


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A service on a fresh state directory (its path short enough for Unix sockets)."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        Path(directory).chmod(0o711)  # machines pass through to their own files
        with running_service(Path(directory) / "s", variables=_APART) as running:
            yield running
        running.run_cli("down")


@pytest.fixture
def ec2(service: Service) -> Any:
    """The administrator's client."""
    return service.client()


@pytest.fixture(scope="session")
def other_keys(service: Service) -> Keys:
    """A second account, made as an administrator makes one."""
    return service.new_account()


@pytest.fixture(scope="session")
def image_id(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A public image whose guest costs next to nothing."""
    disk = tmp_path_factory.mktemp("image") / "calm.raw"
    write_disk(disk)
    return service.run_cli("image", "import", str(disk)).split()[-1]


@pytest.fixture(scope="session")
def belongings(service: Service, image_id: str) -> Belongings:
    """One of everything, the administrator's."""
    return acquire(service, service.administrator, image_id)


@pytest.fixture(scope="session")
def others_belongings(service: Service, other_keys: Keys, image_id: str) -> Belongings:
    """One of everything, the second account's."""
    return acquire(service, other_keys, image_id)


@pytest.fixture(scope="session")
def administrator(service: Service) -> Iterator[Caller]:
    """The first account, as one that calls without boto3."""
    caller = Caller(service, service.administrator)
    yield caller
    caller.close()


@pytest.fixture(scope="session")
def other(service: Service, other_keys: Keys) -> Iterator[Caller]:
    """The second account."""
    caller = Caller(service, other_keys)
    yield caller
    caller.close()


def unique(prefix: str) -> str:
    """A name no other test uses."""
    return f"{prefix}-{os.urandom(4).hex()}"
