"""A full disk and kill -9: a clear error, nothing half-done, the space given back."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.checker import check
from bakehouse.storage.collector import collect
from bakehouse.storage.object_store import ObjectStore
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.store_lock import StoreLock

MIB = 1 << 20

pytestmark = pytest.mark.programs


def open_snapshots(state: StateDirectory) -> Snapshots:
    return Snapshots(ObjectStore.in_directory(state.blocks), StoreLock(state.block_store_lock))


def random_file(path: Path, mebibytes: int) -> Path:
    path.write_bytes(random.Random(3).randbytes(mebibytes * MIB))
    return path


# Runs in a mount namespace of its own, in which STATE is a file system of 16 MiB.
FULL_DISK = """
import os, sys
from pathlib import Path
import pytest
from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.collector import collect
from bakehouse.storage.errors import StorageFull
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage import volumes
from tests.contract.test_storage_faults import open_snapshots

state, small, big = StateDirectory(root=Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
snapshots = open_snapshots(state)
bases = Bases(state, snapshots)
with RawFile(small) as source:
    snapshots.take("snap-small", source)
with RawFile(big) as source, pytest.raises(StorageFull) as caught:
    snapshots.take("snap-big", source)
print("ingest:", caught.value)
disk = os.statvfs(state.root)
assert disk.f_bavail * 50 >= disk.f_blocks, "nothing is left for guests"
assert snapshots.ids() == ["snap-small"]
figures = collect(snapshots, lambda: ["snap-small", "snap-big"])
assert figures.deleted_blocks > 4, figures
assert not list(state.blocks.rglob("*#*"))
assert bases.hydrate("snap-small").read_bytes() == small.read_bytes()

# Room for the blocks of a second snapshot, but not for its base.
with RawFile(sys.argv[4]) as source:
    snapshots.take("snap-wide", source)
with pytest.raises(StorageFull) as caught:
    bases.hydrate("snap-wide")
print("hydrate:", caught.value)
assert [path.name for path in state.bases.iterdir()] == ["snap-small.raw"]
filler = state.root / "filler"
with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
    while file.write(bytes(4096)):
        pass
with pytest.raises(StorageFull) as caught:
    volumes.create_overlay(state.volume("vol-1"), size_bytes=1 << 30)
print("overlay:", caught.value)
assert not state.volume("vol-1").disk.exists()
filler.unlink()
collect(snapshots, lambda: ["snap-small"])
assert bases.evict([]) > 0
with RawFile(small) as source:
    assert snapshots.take("snap-again", source).new_blocks == 0
"""


def test_a_full_disk_is_a_clear_error_and_the_collector_gives_the_space_back(tmp_path: Path) -> None:
    small = random_file(tmp_path / "small", 3)
    big = random_file(tmp_path / "big", 30)
    wide = tmp_path / "wide"  # compresses well, so that its blocks fit where its base does not
    wide.write_bytes(b"".join(bytes([index + 1]) * (MIB // 2) for index in range(40)))
    state = tmp_path / "state"
    state.mkdir()
    inside = 'mount -t tmpfs -o size=16m none "$1" && exec "$0" -c "$CODE" "$@"'
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*namespace, "sh", "-c", inside, sys.executable, state, small, big, wide],
        env={**os.environ, "CODE": FULL_DISK, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("No space left on device") == 3, done.stdout


TAKE = """
import sys
from pathlib import Path
from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.raw_file import RawFile
from tests.contract.test_storage_faults import open_snapshots

state = StateDirectory(root=Path(sys.argv[1]))
snapshots = open_snapshots(state)
print("ready", flush=True)
sys.stdin.readline()
with RawFile(Path(sys.argv[2])) as source:
    snapshots.take("snap-1", source)
Bases(state, snapshots).hydrate("snap-1")
print("done", flush=True)
sys.stdin.readline()
"""

HOLD_LOCK = """
with snapshots.lock.writing():
    print("ready", flush=True)
    sys.stdin.read()
"""


ATTEMPTS = 12


def test_killed_at_any_instant_a_snapshot_and_a_base_are_whole_or_absent(tmp_path: Path) -> None:
    disk = random_file(tmp_path / "disk", 48)
    rng = random.Random(8)
    saw_partial, saw_whole = False, False
    for attempt in range(ATTEMPTS):
        state = StateDirectory(root=tmp_path / f"state-{attempt}")
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, state.root, disk],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            # The first is killed before it begins, the last when it is done, the others anywhere.
            if attempt > 0:
                process.stdin.write(b"go\n")
                process.stdin.flush()
            if attempt == ATTEMPTS - 1:
                assert process.stdout.readline() == b"done\n"
            elif attempt > 0:
                time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
        snapshots = open_snapshots(state)
        for digest, _ in snapshots.blocks.list():
            snapshots.blocks.get(digest)
        assert check(snapshots, snapshots.ids()) == []
        saw_whole |= snapshots.ids() == ["snap-1"]
        saw_partial |= snapshots.ids() == []
        bases = Bases(state, snapshots)
        bases.sweep()
        for base in bases.all():
            assert base.path.read_bytes() == disk.read_bytes()
        collect(snapshots, snapshots.ids)
        assert not list(state.blocks.rglob("*#*"))
        with RawFile(disk) as source:
            snapshots.take("snap-1", source)
        assert bases.hydrate("snap-1").read_bytes() == disk.read_bytes()
        assert [path.name for path in state.bases.iterdir()] == ["snap-1.raw"]
        subprocess.run(["rm", "-r", state.root], check=True)
    assert saw_partial, "every attempt was killed too late to prove anything"
    assert saw_whole, "every attempt was killed too early to prove anything"


MEMORY = """
import resource, sys
from pathlib import Path
from bakehouse.paths import StateDirectory
from bakehouse.storage.bases import Bases
from bakehouse.storage.raw_file import RawFile
from tests.contract.test_storage_faults import open_snapshots

state = StateDirectory(root=Path(sys.argv[1]))
snapshots = open_snapshots(state)
before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with RawFile(Path(sys.argv[2])) as source:
    snapshots.take("snap-1", source)
Bases(state, snapshots).hydrate("snap-1")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib)
"""


def test_a_disk_of_any_size_passes_through_little_memory(tmp_path: Path) -> None:
    disk = random_file(tmp_path / "disk", 160)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "state", disk],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 64 * 1024


def test_a_killed_writer_lets_go_of_the_lock(tmp_path: Path) -> None:
    state = StateDirectory(root=tmp_path)
    snapshots = open_snapshots(state)
    code = TAKE.partition("print(")[0] + HOLD_LOCK
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(Exception, match="try again later"):
            collect(snapshots, list)
        process.kill()
    assert collect(snapshots, list).deleted_blocks == 0
