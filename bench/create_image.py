"""CreateImage without a reboot: what the guest notices, how long it takes, and what it stores.

The rival of the second image is `qemu-img convert -c` of the same disk, in the same run.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bakehouse.cli.demo.login import Login
from bakehouse.host.run import run
from bench.figure import Figure, at_least, at_most
from bench.throwaway import Bench

_NEW_MB = 100
_WAIT_S = 600.0
_POLL_S = 0.05
_QUIET_S = 15
# In the guest: sleep a millisecond, again and again, and note when it took longest to come back.
_PROBE = """
import json, sys, time
gaps, last, end = [], time.monotonic(), time.monotonic() + float(sys.argv[1])
open("begun", "w").close()
while last < end:
    time.sleep(0.001)
    now = time.monotonic()
    gaps.append((now - last, time.time()))
    last = now
gaps.sort(reverse=True)
print(json.dumps({"worst": gaps[:5], "count": len(gaps)}))
"""
_NEW_DATA = f"dd if=/dev/urandom of=new-data bs=1M count={_NEW_MB} conv=fsync status=none && sync"


def measure(bench: Bench) -> Iterator[Figure]:
    """One machine: an image under the probe, new data, a second image, then the rival."""
    instance_id = bench.run_instance(bench.base_image_id)
    bench.ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id])
    login = bench.login(instance_id)
    login.wait(timeout_s=_WAIT_S)
    login.run("cloud-init status --wait >/dev/null; sync", timeout_s=_WAIT_S)
    try:
        login.run("cat > probe.py", stdin=_PROBE)
        quiet = json.loads(login.run(f"python3 probe.py {_QUIET_S}", timeout_s=_WAIT_S))
        yield from _pause(bench, login, instance_id, quiet)
        login.run(_NEW_DATA, timeout_s=_WAIT_S)
        yield from _second_image(bench, instance_id)
    finally:
        bench.terminate(instance_id)


def _pause(bench: Bench, login: Login, instance_id: str, quiet: dict[str, Any]) -> Iterator[Figure]:
    """The first image is made while the probe runs."""
    login.run(f"rm -f begun; nohup python3 probe.py {_QUIET_S} > probe.out 2>&1 &")
    login.run("until test -e begun; do sleep 0.1; done", timeout_s=_WAIT_S)
    took_s, _ = _create_image(bench, instance_id, "bench-1")
    # The brackets keep the pattern from finding the shell that waits.
    login.run("while pgrep -f [p]robe.py >/dev/null; do sleep 1; done", timeout_s=_WAIT_S)
    busy = json.loads(login.run("cat probe.out"))
    yield Figure(
        name="CreateImage --no-reboot, longest pause of the guest",
        figure=1000 * busy["worst"][0][0],
        unit="ms",
        target=at_most(100),
        note=f"without a capture {1000 * quiet['worst'][0][0]:.0f} ms; {busy['count']} looks",
    )
    yield Figure(name="first image of an instance, to available", figure=took_s, unit="s")


def _second_image(bench: Bench, instance_id: str) -> Iterator[Figure]:
    blocks = bench.settings.state.blocks
    before = _stored_bytes(blocks)
    took_s, _ = _create_image(bench, instance_id, "bench-2")
    stored = _stored_bytes(blocks) - before
    rival_s = _convert(bench, instance_id)
    yield Figure(
        name=f"second image after {_NEW_MB} MB, against qemu-img convert -c",
        figure=rival_s / took_s,
        unit="x as fast",
        target=at_least(10),
        note=f"{took_s:.2f} s against {rival_s:.1f} s",
    )
    yield Figure(
        name="second image, stored against the new data",
        figure=stored / (_NEW_MB << 20),
        unit="x",
        target=at_most(1.2),
        note=f"{stored / 1e6:.0f} MB; the new data does not compress",
    )


def _create_image(bench: Bench, instance_id: str, name: str) -> tuple[float, str]:
    """CreateImage until DescribeImages says available: seconds, image id."""
    began = time.monotonic()
    image_id = str(bench.ec2.create_image(InstanceId=instance_id, Name=name, NoReboot=True)["ImageId"])
    while (state := _state(bench, image_id)) != "available":
        if state != "pending" or time.monotonic() - began > _WAIT_S:
            raise RuntimeError(f"{image_id} is {state}")
        time.sleep(_POLL_S)
    return time.monotonic() - began, image_id


def _state(bench: Bench, image_id: str) -> str:
    return str(bench.ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"])


def _stored_bytes(blocks: Path) -> int:
    return sum((Path(at) / name).stat().st_size for at, _, names in os.walk(blocks) for name in names)


def _convert(bench: Bench, instance_id: str) -> float:
    """What a compressed copy of the same disk costs with QEMU's own tool; the machine keeps it open meanwhile."""
    state = bench.settings.state
    root = bench.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])
    volume = root["Volumes"][0]
    chain = {
        "driver": "qcow2",
        "file": {"driver": "file", "filename": str(state.volume(volume["VolumeId"]).disk)},
        "backing": {
            "driver": "raw",
            "file": {"driver": "file", "filename": str(state.base(volume["SnapshotId"]))},
        },
    }
    target = state.root / "rival.qcow2"
    words: list[str | Path] = ["qemu-img", "convert", "-U", "-c", "-O", "qcow2", "json:" + json.dumps(chain), target]
    began = time.monotonic()
    run(words, timeout_s=_WAIT_S)
    took_s = time.monotonic() - began
    target.unlink()
    return took_s
