"""CopyImage of a 2 GiB image, between two regions of one service: the block store is shared, so no data moves."""

import os
import time
from collections.abc import Iterator

from bakehouse.main import import_image
from bench.figure import Figure, at_most
from bench.throwaway import HALTING_BOOT_SECTOR, Bench

_SIZE_MIB = 2048
_COPIES = 5
_POLL_S = 0.01
_LIMIT_S = 120.0
_MIB = 1 << 20


def measure(bench: Bench) -> Iterator[Figure]:
    """CopyImage until DescribeImages in the other region says available; the slowest of a few."""
    disk = bench.settings.state.root / "copied.raw"
    with disk.open("wb") as file:
        file.write(HALTING_BOOT_SECTOR)
        for _ in range(_SIZE_MIB):
            file.write(os.urandom(_MIB))
        file.truncate(_SIZE_MIB * _MIB)
    began = time.monotonic()
    image_id = import_image(bench.settings, disk, name="copied", progress=lambda *_: None)
    import_s = time.monotonic() - began
    disk.unlink()
    took = [_copy(bench, image_id, number) for number in range(_COPIES)]
    yield Figure(
        name="CopyImage of 2 GiB to another region, to available",
        figure=max(took),
        unit="s",
        target=at_most(1),
        note=f"slowest of {_COPIES}; the import of the same bytes took {import_s:.0f} s",
    )


def _copy(bench: Bench, image_id: str, number: int) -> float:
    home, other = bench.settings.regions[0], bench.other_region_ec2
    began = time.monotonic()
    copied = other.copy_image(Name=f"copied-{number}", SourceImageId=image_id, SourceRegion=home)["ImageId"]
    while (state := other.describe_images(ImageIds=[copied])["Images"][0]["State"]) != "available":
        if state != "pending" or time.monotonic() - began > _LIMIT_S:
            raise RuntimeError(f"{copied} is {state}")
        time.sleep(_POLL_S)
    return time.monotonic() - began
