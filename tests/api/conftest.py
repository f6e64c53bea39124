"""One service for all API tests; the guests it runs are a sector long."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.framework.belongings import Belongings, acquire
from tests.framework.caller import Caller
from tests.framework.service import Keys, Service
from tests.framework.tiny_service import import_calm_image, running_tiny_service


@pytest.fixture(scope="package")
def service() -> Iterator[Service]:
    """A service on a fresh state directory."""
    with running_tiny_service() as running:
        yield running


@pytest.fixture
def ec2(service: Service) -> Any:
    """The administrator's client."""
    return service.client()


@pytest.fixture(scope="package")
def other_keys(service: Service) -> Keys:
    """A second account, made as an administrator makes one."""
    return service.new_account()


@pytest.fixture(scope="package")
def image_id(service: Service) -> str:
    """A public image whose guest costs next to nothing."""
    return import_calm_image(service)


@pytest.fixture(scope="package")
def belongings(service: Service, image_id: str) -> Belongings:
    """One of everything, the administrator's."""
    return acquire(service, service.administrator, image_id)


@pytest.fixture(scope="package")
def others_belongings(service: Service, other_keys: Keys, image_id: str) -> Belongings:
    """One of everything, the second account's."""
    return acquire(service, other_keys, image_id)


@pytest.fixture(scope="package")
def administrator(service: Service) -> Iterator[Caller]:
    """The first account, as one that calls without boto3."""
    caller = Caller(service, service.administrator)
    yield caller
    caller.close()


@pytest.fixture(scope="package")
def other(service: Service, other_keys: Keys) -> Iterator[Caller]:
    """The second account."""
    caller = Caller(service, other_keys)
    yield caller
    caller.close()


def unique(prefix: str) -> str:
    """A name no other test uses."""
    return f"{prefix}-{os.urandom(4).hex()}"
