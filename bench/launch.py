"""A launch: what the service adds until QEMU runs, and how long until the guest lets us in."""

import statistics
import time
from collections.abc import Iterator

from bench.figure import Figure, at_most
from bench.throwaway import Bench

_LAUNCHES = 5
_POLL_S = 0.02
_RUNNING_LIMIT_S = 120.0
_SSH_LIMIT_S = 300.0


def measure(bench: Bench) -> Iterator[Figure]:
    """The first launch hydrates the base and goes on to SSH; the others, one at a time, find it there."""
    image_id = bench.base_image_id
    bench.group_id, bench.private_key  # noqa: B018  made before the clock starts
    first, hydrating_s = _launch(bench, image_id)
    bench.terminate(first)
    yield Figure(
        name="first launch of an image, to QEMU running",
        figure=hydrating_s,
        unit="s",
        note="the base is hydrated on the way",
    )
    overheads = []
    for _ in range(_LAUNCHES):
        instance_id, took_s = _launch(bench, image_id)
        overheads.append(took_s)
        bench.terminate(instance_id)
    yield Figure(
        name="launch, request to QEMU running",
        figure=statistics.median(overheads),
        unit="s",
        target=at_most(1),
        note=f"median of {_LAUNCHES}; the slowest took {max(overheads):.2f} s",
    )
    yield _to_ssh(bench, image_id)


def _to_ssh(bench: Bench, image_id: str) -> Figure:
    began = time.monotonic()
    instance_id, _ = _launch(bench, image_id)
    login = bench.login(instance_id)
    login.wait(timeout_s=_SSH_LIMIT_S)
    took_s = time.monotonic() - began
    spent = login.run("systemd-analyze time | head -n 1", timeout_s=120).strip()
    bench.terminate(instance_id)
    return Figure(name="RunInstances to SSH", figure=took_s, unit="s", target=at_most(30), note=spent)


def _launch(bench: Bench, image_id: str) -> tuple[str, float]:
    """RunInstances until DescribeInstances says running: the id and the seconds."""
    began = time.monotonic()
    instance_id = bench.run_instance(image_id)
    while (state := bench.describe(instance_id)["State"]["Name"]) != "running":
        if state != "pending" or time.monotonic() - began > _RUNNING_LIMIT_S:
            raise RuntimeError(f"{instance_id} is {state} after {time.monotonic() - began:.0f} s")
        time.sleep(_POLL_S)
    return instance_id, time.monotonic() - began
