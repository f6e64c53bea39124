"""DescribeImages with 1,000 images: answers a second, ours and moto's server side by side.

Both are asked in turns, so that a noisy machine is noisy for both.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.figure import Figure, at_least
from bench.rival import Server, ours, running_moto
from bench.throwaway import Bench

IMAGES = 1000
_ROUNDS = 6
_ROUND_S = 3.0


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield both rates and their ratio."""
    with running_moto() as moto:
        _fill(ours(bench).client(), bench.own_snapshot_id)
        volume = moto.client().create_volume(AvailabilityZone="us-east-1a", Size=8)["VolumeId"]
        _fill(moto.client(), moto.client().create_snapshot(VolumeId=volume)["SnapshotId"])
        rates = [(_rate(ours(bench)), _rate(moto)) for _ in range(_ROUNDS)]
    mine, theirs = (max(each) for each in zip(*rates, strict=True))
    yield Figure(name="DescribeImages, 1,000 images", figure=mine, unit="answers/s", note="best of 6 rounds")
    yield Figure(name="the same by moto's server", figure=theirs, unit="answers/s", note="best of 6 rounds")
    yield Figure(name="DescribeImages, ratio to moto", figure=mine / theirs, unit="times", target=at_least(5))


def _rate(server: Server) -> float:
    answers = server.ask_for(_ROUND_S, "DescribeImages", {"Owner.1": "self"})
    # Ours may have some more, of what was measured before.
    if answers.body.count(b"<imageId>") < IMAGES:
        raise RuntimeError(f"port {server.port}: {answers.body[:300]!r}")
    return 1 / answers.seconds_each


def _fill(client: Any, snapshot_id: str) -> None:
    def register(number: int) -> None:
        mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id, "VolumeSize": 8}}
        client.register_image(
            Name=f"image-{number:04}",
            Description="one of a thousand",
            Architecture="x86_64",
            RootDeviceName="/dev/xvda",
            VirtualizationType="hvm",
            BlockDeviceMappings=[mapping],
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(register, range(IMAGES)))
