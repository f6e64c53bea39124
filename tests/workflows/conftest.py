"""One service that every test here kills and starts again, with an image whose guest costs next to nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.main import import_image, stop_everything
from tests.framework.calm_guest import write_disk
from tests.framework.mortal_service import MortalService

# Its own uids and public addresses, apart from those of a service that runs here already.
_UID_BASE = 1_960_000_000
_PUBLIC_NETWORK = "127.203.0.0/16"


@pytest.fixture(scope="session")
def mortal() -> Iterator[MortalService]:
    """The service, running; whatever it started is ended with it."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        Path(directory).chmod(0o711)  # machines pass through to their own files
        service = MortalService(
            Path(directory) / "s",
            {"BAKEHOUSE_UID_BASE": str(_UID_BASE), "BAKEHOUSE_PUBLIC_NETWORK": _PUBLIC_NETWORK},
        )
        disk = Path(directory) / "calm.raw"
        write_disk(disk)
        import_image(service.settings, disk, name="calm", progress=lambda *_: None)
        try:
            with service.running():
                yield service
        finally:
            stop_everything(service.settings)


@pytest.fixture(scope="session")
def image_id(mortal: MortalService) -> str:
    """The image of the calm guest."""
    return str(mortal.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"])
