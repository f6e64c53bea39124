"""A service on a fresh state directory for guests of a sector, ended with all that it started."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.framework.calm_guest import write_disk
from tests.framework.service import Service, running_service

HOME_REGION, OTHER_REGION = "us-east-1", "eu-west-1"
_UID_BASE = 1_930_000_000
_UIDS_EACH = 200_000


@contextmanager
def running_tiny_service(number: int) -> Iterator[Service]:
    """Start the ``number``th; its uids and public addresses are apart from the others' and from a user's."""
    variables = {
        "BAKEHOUSE_UID_BASE": str(_UID_BASE + number * _UIDS_EACH),
        "BAKEHOUSE_PUBLIC_NETWORK": f"127.{204 + number}.0.0/16",
        "BAKEHOUSE_REGIONS": f"{HOME_REGION},{OTHER_REGION}",
    }
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:  # a short path: sockets lie below it
        Path(directory).chmod(0o711)  # machines pass through to their own files
        with running_service(Path(directory) / "s", variables=variables) as running:
            yield running
        running.run_cli("down")


def import_calm_image(service: Service) -> str:
    """Import a public image whose guest costs next to nothing; its id."""
    with tempfile.TemporaryDirectory() as directory:
        disk = Path(directory) / "calm.raw"
        write_disk(disk)
        return service.run_cli("image", "import", str(disk)).split()[-1]
