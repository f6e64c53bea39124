"""A service on a fresh state directory for guests of a sector, ended with all that it started."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.framework.calm_guest import write_disk
from tests.framework.grounds import claimed_ground
from tests.framework.service import Service, running_service

HOME_REGION, OTHER_REGION = "us-east-1", "eu-west-1"


@contextmanager
def running_tiny_service() -> Iterator[Service]:
    """Start one."""
    with (
        claimed_ground() as ground,
        tempfile.TemporaryDirectory(prefix="bh-") as directory,  # a short path: sockets lie below it
    ):
        Path(directory).chmod(0o711)  # machines pass through to their own files
        variables = {**ground.variables, "BAKEHOUSE_REGIONS": f"{HOME_REGION},{OTHER_REGION}"}
        with running_service(Path(directory) / "s", variables=variables) as running:
            yield running


def import_calm_image(service: Service) -> str:
    """Import a public image whose guest costs next to nothing; its id."""
    with tempfile.TemporaryDirectory() as directory:
        disk = Path(directory) / "calm.raw"
        write_disk(disk)
        return service.run_cli("image", "import", str(disk)).split()[-1]
