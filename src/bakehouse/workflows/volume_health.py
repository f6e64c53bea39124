"""What this host knows of a volume's health, for DescribeVolumeStatus.

Only what can be seen without opening a guest's disk in QEMU: the overlay is there and is one, and what it lies over can
be read. ``bakehouse check`` verifies every block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from bakehouse.database.models import Volume
from bakehouse.storage import volumes as volume_files
from bakehouse.workflows.host import Host


class Status(StrEnum):
    """EC2's words."""

    OK = "ok"
    IMPAIRED = "impaired"
    INSUFFICIENT_DATA = "insufficient-data"


@dataclass(frozen=True, kw_only=True)
class Health:
    """A verdict, and why it is a bad one."""

    status: Status
    reason: str = ""


def examiner(host: Host) -> Callable[[Volume], Health]:
    """A function that examines volumes; what many of them lie over is looked at once."""
    is_within_reach = cache(host.bases.is_within_reach)

    def examine(volume: Volume) -> Health:
        if volume.state in {"creating", "deleting"} or volume.attachment_state == "attaching":
            return Health(status=Status.INSUFFICIENT_DATA)
        if volume.state == "error":
            return Health(status=Status.IMPAIRED, reason="the volume could not be made")
        damage = volume_files.find_damage(host.settings.state.volume(volume.volume_id))
        if damage is None and volume.snapshot_id is not None and not is_within_reach(volume.snapshot_id):
            damage = f"{volume.snapshot_id}, which the volume was made of, is not in the block store"
        return Health(status=Status.OK) if damage is None else Health(status=Status.IMPAIRED, reason=damage)

    return examine
