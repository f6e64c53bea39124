"""Does the host hold exactly what the rows say? Processes, taps, files, blocks: no more, no less.

Processes are found by the files they have open below the state directory (QEMU, agents and uplinks log there), so
one that no pid file and no socket leads to any more is found too.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, Instance, NetworkInterface, Snapshot, Volume, Vpc
from bakehouse.domain import snapshots
from bakehouse.main import check_storage, collect_garbage, open_snapshots
from bakehouse.network.addressing import tap_name
from bakehouse.settings import Settings
from tests.framework.settling import open_rows, workflows


@dataclass(frozen=True, kw_only=True)
class Found:
    """A process that has to do with a state directory: what it is, and of which instance or VPC."""

    pid: int
    kind: str
    subject: str


def find_processes(settings: Settings, *, service_pid: int) -> list[Found]:
    """Every process with a file below the state directory open or on its command line, but the service."""
    root = f"{settings.state_root}/"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in (os.getpid(), service_pid):
            continue
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            paths = [word for word in words if root in word] + [path for path in _open_files(entry) if root in path]
            if paths:
                found.append(_classify(int(entry.name), words, [path.partition(root)[2] for path in paths]))
    return found


def _open_files(process: Path) -> Iterator[str]:
    for descriptor in (process / "fd").iterdir():
        with suppress(OSError):
            yield str(descriptor.readlink())


def _classify(pid: int, words: list[str], paths: list[str]) -> Found:
    def subject(folder: str) -> str | None:
        return next((path.split("/")[1] for path in paths if path.startswith(f"{folder}/")), None)

    if "bakehouse.network.agent" in " ".join(words) and (vpc_id := subject("vpcs")):
        return Found(pid=pid, kind="agent", subject=vpc_id)
    if words[0] == "slirp4netns" and (vpc_id := subject("vpcs")):
        return Found(pid=pid, kind="uplink", subject=vpc_id)
    if words[0].startswith("qemu-system") and (instance_id := subject("instances")):
        return Found(pid=pid, kind="machine", subject=instance_id)
    return Found(pid=pid, kind="stray", subject=" ".join(words)[:300])


def differences(settings: Settings, *, service_pid: int) -> list[str]:
    """Everything in which the host and the rows differ, once all is settled; collects garbage on the way."""
    processes = find_processes(settings, service_pid=service_pid)
    with open_rows(settings) as session:
        return [
            *(f"workflow {name} {status}" for name, status in workflows(session) if status != "SUCCESS"),
            *_wrong_processes(session, processes),
            *_wrong_taps(session, processes),
            *_wrong_files(session, settings),
            *_wrong_rows(session),
            *_wrong_blocks(session, settings),
        ]


def _compare(what: str, present: Iterable[str], expected: Iterable[str]) -> list[str]:
    """Multisets: two machines of one instance are one too many."""
    there, wanted = Counter(present), Counter(expected)
    return [f"{what} too many: {one}" for one in (there - wanted).elements()] + [
        f"{what} missing: {one}" for one in (wanted - there).elements()
    ]


def _ids(session: Session, *states: str) -> list[str]:
    return list(session.scalars(sa.select(Instance.instance_id).where(Instance.state.in_(states))))


def _wrong_processes(session: Session, processes: list[Found]) -> list[str]:
    running = sa.select(Instance.vpc_id).where(Instance.state == "running").distinct()
    vpc_ids = list(session.scalars(running))
    by_kind: dict[str, list[str]] = {"machine": [], "agent": [], "uplink": [], "stray": []}
    for process in processes:
        by_kind[process.kind].append(process.subject)
    return [
        *_compare("machine", by_kind["machine"], _ids(session, "running")),
        *_compare("agent", by_kind["agent"], vpc_ids),
        *_compare("uplink", by_kind["uplink"], vpc_ids),
        *_compare("process", by_kind["stray"], ()),
    ]


def _wrong_taps(session: Session, processes: list[Found]) -> list[str]:
    wrong = []
    for agent in (one for one in processes if one.kind == "agent"):
        query = (
            sa.select(NetworkInterface.interface_id)
            .join(Instance, Instance.instance_id == NetworkInterface.instance_id)
            .where(Instance.state == "running", NetworkInterface.vpc_id == agent.subject)
        )
        expected = [tap_name(interface_id) for interface_id in session.scalars(query)]
        links = json.loads(run_inside(agent.pid, "ip", "-json", "link"))
        taps = [link["ifname"] for link in links if link["ifname"].startswith("tap")]
        wrong += _compare(f"tap in {agent.subject}", taps, expected)
    return wrong


def run_inside(pid: int, *words: str) -> str:
    """Run a program in the network namespace of a process."""
    enter = ["nsenter", f"--target={pid}", "--net"]
    if os.geteuid() != 0:
        enter += ["--user", "--preserve-credentials"]
    return subprocess.run([*enter, "--", *words], capture_output=True, text=True, check=True).stdout


def _wrong_files(session: Session, settings: Settings) -> list[str]:
    state = settings.state
    kept = _ids(session, "running", "stopped")
    volume_ids = list(session.scalars(sa.select(Volume.volume_id).where(Volume.state.in_(("available", "in-use")))))
    vpc_ids = set(session.scalars(sa.select(Vpc.vpc_id)))
    return [
        *_compare("machine's file", _names(state.instances), [*kept, *(f"{one}.json" for one in kept)]),
        *_compare("volume", _names(state.volumes), volume_ids),
        *_compare(
            "volume's file",
            (f"{one}/{name}" for one in _names(state.volumes) for name in _names(state.volumes / one)),
            (f"{one}/disk.qcow2" for one in volume_ids),
        ),
        *_compare("disk server", _names(state.disk_servers), ()),
        *_compare("unfinished base", (name for name in _names(state.bases) if not name.endswith(".raw")), ()),
        *_compare("import", _names(state.image_builds), ()),
        *_compare("network", (name for name in _names(state.vpcs) if name not in {*vpc_ids, "tun"}), ()),
        *_wrong_owners(session, settings),
    ]


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def _wrong_owners(session: Session, settings: Settings) -> Iterator[str]:
    """As root, a volume belongs to its machine's uid, one that is attached to none to the base uid."""
    if os.geteuid() != 0:
        return
    for volume in session.scalars(sa.select(Volume).where(Volume.state.in_(("available", "in-use")))):
        instance = session.get(Instance, volume.instance_id) if volume.instance_id else None
        uid = settings.uid_base + ((instance.uid_number or 0) if instance else 0)
        files = settings.state.volume(volume.volume_id)
        for path in (files.root, files.disk):
            if path.exists() and path.stat().st_uid != uid:
                yield f"{path.relative_to(settings.state_root)} belongs to {path.stat().st_uid}, not to {uid}"


def _wrong_rows(session: Session) -> Iterator[str]:
    for instance in session.scalars(sa.select(Instance)):
        is_gone = instance.state == "terminated"
        if is_gone and (instance.interface is not None or instance.uid_number is not None or instance.volumes):
            yield f"{instance.instance_id} is terminated and still holds something"
        if is_gone and not instance.state_transition_reason and not instance.state_reason_message:
            yield f"{instance.instance_id} is terminated without a reason"
        if not is_gone and (instance.interface is None or instance.uid_number is None):
            yield f"{instance.instance_id} is {instance.state} without an interface or a uid"
    for volume in session.scalars(sa.select(Volume)):
        if (volume.instance_id is None) != (volume.attachment_state is None):
            yield f"{volume.volume_id} is {volume.attachment_state} to {volume.instance_id}"
        if volume.state != ("in-use" if volume.instance_id else "available") and not volume.deleted_at:
            yield f"{volume.volume_id} is {volume.state}, attached to {volume.instance_id}"
    for image in session.scalars(sa.select(Image).where(Image.state == "failed")):
        if not image.state_reason_message:
            yield f"{image.image_id} failed without a reason"
    for image in session.scalars(sa.select(Image).where(Image.state == "available")):
        for snapshot_id in snapshots.snapshot_ids_of(image):
            snapshot = session.get(Snapshot, snapshot_id)
            if snapshot is None or snapshot.state != "completed":
                yield f"{image.image_id} is available but {snapshot_id} is not completed"


def _wrong_blocks(session: Session, settings: Settings) -> list[str]:
    """After a collection: exactly the manifests and the blocks that rows need, and all of them sound."""
    collect_garbage(settings)
    store = open_snapshots(settings)
    findings = [str(one) for one in check_storage(settings, lambda _done, _total: None)]
    wanted = {digest for one in store.ids() for digest in store.read(one).blocks.values()}
    return [
        *findings,
        *_compare("manifest", store.ids(), snapshots.referenced_ids(session)),
        *_compare("block", (str(digest) for digest, _ in store.blocks.list()), (str(digest) for digest in wanted)),
    ]
