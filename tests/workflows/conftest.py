"""Services that every test here kills and starts again, with an image whose guest costs next to nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bakehouse.main import import_image, stop_everything
from tests.framework.calm_guest import write_disk
from tests.framework.grounds import claimed_ground
from tests.framework.mortal_service import MortalService
from tests.framework.postgresql import postgresql_server

REGIONS = ("us-east-1", "eu-west-1")


@contextmanager
def _mortal_service(**variables: str) -> Iterator[MortalService]:
    """A service that has the calm guest's image; whatever it started is ended with it."""
    with claimed_ground() as ground, tempfile.TemporaryDirectory(prefix="bh-") as directory:
        Path(directory).chmod(0o711)  # machines pass through to their own files
        own = {**ground.variables, "BAKEHOUSE_REGIONS": ",".join(REGIONS)}
        service = MortalService(Path(directory) / "s", {**own, **variables})
        disk = Path(directory) / "calm.raw"
        write_disk(disk)
        # The other region is added after the image was.
        only_home = replace(service.settings, regions=REGIONS[:1])
        import_image(only_home, disk, name="calm", progress=lambda *_: None)
        try:
            with service.running():
                yield service
        finally:
            stop_everything(service.settings)


@pytest.fixture(scope="session")
def mortal() -> Iterator[MortalService]:
    """The service, running, with all rows in SQLite."""
    with _mortal_service() as service:
        yield service


@pytest.fixture(autouse=True)
def _alive(mortal: MortalService) -> None:
    """Whatever became of the service in a test that failed, the next one has it running."""
    if mortal.service.process.poll() is not None:
        mortal.start()


@pytest.fixture(scope="module")
def mortal_on_postgresql() -> Iterator[MortalService]:
    """Another one, with all rows and the engine's in PostgreSQL."""
    with (
        postgresql_server() as server,
        _mortal_service(BAKEHOUSE_DATABASE_URL=server.new_database("bakehouse")) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def image_id(mortal: MortalService) -> str:
    """The image of the calm guest."""
    return str(mortal.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"])
