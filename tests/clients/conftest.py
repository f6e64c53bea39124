"""One service for all unmodified clients; the guests it runs are a sector long."""

from collections.abc import Iterator

import pytest

from tests.framework.service import Service
from tests.framework.tiny_service import import_calm_image, running_tiny_service


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A service on a fresh state directory."""
    with running_tiny_service() as running:
        yield running


@pytest.fixture(scope="session")
def image_id(service: Service) -> str:
    """A public image whose guest costs next to nothing."""
    return import_calm_image(service)
