"""Damaged, cut and missing blocks in a real service's store: found by check and by a launch, never served."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakehouse.paths import StateDirectory
from bakehouse.storage.blocks import block_key
from bakehouse.storage.digest import Digest
from bakehouse.storage.object_store import ObjectStore, open_object_store
from bakehouse.storage.snapshots import Snapshots, manifest_key
from bakehouse.storage.store_lock import StoreLock
from tests.framework.grounds import claimed_ground
from tests.framework.s3 import start_s3
from tests.framework.service import Service, running_service
from tests.framework.tiny_cloud import command, import_image, launch, wait_for_state, wait_until_it_counts, write_disk

pytestmark = pytest.mark.programs


class Bakery:
    """A service with one tiny image nobody has launched yet, and the objects behind it."""

    def __init__(self, service: Service, objects: ObjectStore, image_id: str) -> None:
        self.service, self.objects, self.image_id = service, objects, image_id
        self.state = StateDirectory(root=service.state_root)
        self.ec2: Any = service.client()
        (mapping,) = self.ec2.describe_images(ImageIds=[image_id])["Images"][0]["BlockDeviceMappings"]
        self.snapshot_id: str = mapping["Ebs"]["SnapshotId"]

    def digest(self, index: int) -> Digest:
        lock = StoreLock(self.state.block_store_lock)
        return Snapshots(self.objects, lock).read(self.snapshot_id).blocks[index]


@pytest.fixture(scope="module", params=["local", "s3"])
def bakery(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakery]:
    with claimed_ground() as ground, tempfile.TemporaryDirectory(prefix="bh-") as name:
        root = Path(name)
        root.chmod(0o711)
        variables, url, credentials = ground.variables, "", {}
        if request.param == "s3":
            server = request.getfixturevalue("s3_server")
            url = server.url("damage")
            credentials = {"access_key_id": server.access_key_id, "secret_access_key": server.secret_access_key}
            variables |= {
                "BAKEHOUSE_BLOCK_STORE_URL": url,
                "BAKEHOUSE_BLOCK_STORE_ACCESS_KEY_ID": server.access_key_id,
                "BAKEHOUSE_BLOCK_STORE_SECRET_ACCESS_KEY": server.secret_access_key,
            }
        with running_service(root / "s", variables=variables) as service:
            image_id = import_image(service, write_disk(root / "tiny.raw", noise_mib=2))
            objects = open_object_store(url, directory=root / "s" / "blocks", credentials=credentials)
            yield Bakery(service, objects, image_id)
            assert command(service, "down").returncode == 0


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with start_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


def a_flipped_bit(stored: bytes) -> bytes:
    return stored[:300] + bytes([stored[300] ^ 1]) + stored[301:]


def test_damaged_cut_and_missing_blocks_are_named_by_check_and_end_a_launch(bakery: Bakery) -> None:
    digests = [bakery.digest(index) for index in range(1, 4)]
    keys = [block_key(digest) for digest in digests]
    sound = [bytes(bakery.objects.get(key)) for key in keys]
    bakery.objects.put(keys[0], a_flipped_bit(sound[0]))
    bakery.objects.put(keys[1], sound[1][: len(sound[1]) // 2])
    bakery.objects.delete([keys[2]])
    try:
        said = damage_found(bakery, places=3)
        for digest, trouble in zip(digests, ("block-damaged", "block-damaged", "block-missing"), strict=True):
            (line,) = [line for line in said if digest.hex() in line]
            assert line.startswith(f"{bakery.snapshot_id}, needed by {bakery.image_id} (tiny): {trouble}: ")
        assert_launch_ends(bakery, bakery.snapshot_id)
    finally:
        for key, data in zip(keys, sound, strict=True):
            bakery.objects.put(key, data)
    assert command(bakery.service, "check").returncode == 0


def damage_found(bakery: Bakery, *, places: int) -> list[str]:
    """The lines of a ``check`` that finds damage."""
    checked = command(bakery.service, "check")
    assert checked.returncode == 1
    summary = "1 place is damaged" if places == 1 else f"{places} places are damaged"
    assert checked.stderr.splitlines()[-1] == f"bakehouse: {summary}"
    assert "Traceback" not in checked.stderr
    return checked.stdout.splitlines()


def assert_launch_ends(bakery: Bakery, what: str) -> None:
    ended = wait_for_state(bakery.ec2, launch(bakery.ec2, bakery.image_id), "terminated", "running")
    assert ended["State"]["Name"] == "terminated"
    assert ended["StateReason"]["Code"] == "Server.InternalError"
    assert what in ended["StateReason"]["Message"]
    for folder in (bakery.state.bases, bakery.state.volumes, bakery.state.instances):
        assert list(folder.iterdir()) == []


def test_a_damaged_manifest_is_named_by_check_and_ends_a_launch(bakery: Bakery) -> None:
    key = manifest_key(bakery.snapshot_id)
    sound = bytes(bakery.objects.get(key))
    try:
        bakery.objects.put(key, sound[:-1] + bytes([sound[-1] ^ 1]))
        (line,) = damage_found(bakery, places=1)
        assert "manifest-damaged" in line
        assert bakery.image_id in line
        assert_launch_ends(bakery, bakery.snapshot_id)
    finally:
        bakery.objects.put(key, sound)


def test_a_sound_image_runs_and_damage_to_its_base_is_found(bakery: Bakery) -> None:
    instance_id = launch(bakery.ec2, bakery.image_id)
    wait_until_it_counts(bakery.ec2, instance_id)
    base = bakery.state.base(bakery.snapshot_id)
    base.chmod(0o600)
    with base.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"forgotten")
    (line,) = damage_found(bakery, places=1)
    assert f"{base} is damaged in block 2" in line
    bakery.ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    wait_for_state(bakery.ec2, instance_id, "terminated")
