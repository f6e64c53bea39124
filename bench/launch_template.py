"""A launch from a template against the same launch without one: request to running, in turns."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.figure import Figure, at_most
from bench.throwaway import Bench

_PAIRS = 7
_POLL_S = 0.02
_LIMIT_S = 120.0


def measure(bench: Bench) -> Iterator[Figure]:
    """The ratio of the medians."""
    how: dict[str, Any] = {
        "ImageId": bench.small_image_id,
        "InstanceType": "t3.nano",
        "KeyName": bench.private_key.stem,
        "SecurityGroupIds": [bench.group_id],
    }
    template = bench.ec2.create_launch_template(LaunchTemplateName="bench", LaunchTemplateData=how)["LaunchTemplate"]
    by_template = {"LaunchTemplate": {"LaunchTemplateId": template["LaunchTemplateId"]}}
    _launch(bench, how)  # hydrates the base
    pairs = [(_launch(bench, by_template), _launch(bench, how)) for _ in range(_PAIRS)]
    with_template, without = (statistics.median(each) for each in zip(*pairs, strict=True))
    yield Figure(
        name="launch from a template, against the same without",
        figure=with_template / without,
        unit="times",
        target=at_most(1.2),
        note=f"to running: {with_template:.2f} s against {without:.2f} s, medians of {_PAIRS}",
    )


def _launch(bench: Bench, how: dict[str, Any]) -> float:
    began = time.monotonic()
    instance_id = str(bench.ec2.run_instances(MinCount=1, MaxCount=1, **how)["Instances"][0]["InstanceId"])
    while (state := bench.describe(instance_id)["State"]["Name"]) != "running":
        if state != "pending" or time.monotonic() - began > _LIMIT_S:
            raise RuntimeError(f"{instance_id} is {state}")
        time.sleep(_POLL_S)
    took_s = time.monotonic() - began
    bench.terminate(instance_id, skip_os_shutdown=True)
    return took_s
