"""Instances as rows: in which order they are listed, how many of them a host takes, what an image of one needs."""

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, Instance, Snapshot, now
from bakehouse.domain import block_devices, images, instance_types, instances, lifecycle, vpcs
from bakehouse.domain.instances import LaunchRequest, State
from bakehouse.errors import ApiError
from tests.framework.rows import ACCOUNT, session_of_two_accounts

NANO = instance_types.get_instance_type("t3.nano")
OVERHEAD_MIB = 100
EACH_MIB = NANO.memory_mib + OVERHEAD_MIB
ROOT, OTHER_DEVICE = "/dev/xvda", "/dev/sdf"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with session_of_two_accounts(tmp_path) as opened:
        vpcs.create_default_vpc(opened, ACCOUNT, region="us-east-1")
        opened.add(
            Snapshot(snapshot_id="snap-1", account_id=ACCOUNT, volume_size_gib=1, state="completed", stored_bytes=0)
        )
        opened.flush()
        yield opened


def launch(session: Session, count: int = 1, *devices: str) -> list[Instance]:
    mappings = [{"DeviceName": name, "Ebs": {"SnapshotId": "snap-1"}} for name in (ROOT, *devices)]
    image = images.register(
        session,
        ACCOUNT,
        name=f"image-{now().timestamp()}",
        description="",
        boot_mode="uefi",
        root_device_name=ROOT,
        mappings=mappings,
    )
    request = LaunchRequest(
        image=image,
        instance_type=NANO,
        subnet=vpcs.default_subnet(session, ACCOUNT),
        groups=[],
        volumes=block_devices.plan_volumes(session, ACCOUNT, image, []),
        public_network=None,
    )
    return instances.launch(session, ACCOUNT, request, count)


def listed(session: Session) -> list[str]:
    return [one.instance_id for one in instances.visible(session, ACCOUNT)]


def test_a_start_changes_nothing_about_the_order_of_a_listing(session: Session) -> None:
    made = [one for count in (3, 1, 2) for one in launch(session, count)]
    assert [(one.created_at, one.launched_at) for one in made[:3]] == [(made[0].created_at,) * 2] * 3
    before = listed(session)
    made[1].state = State.STOPPED
    made[1].launched_at = made[0].created_at - timedelta(days=1)
    network = IPv4Network("127.99.0.0/29")
    lifecycle.start(session, [made[1]], memory_mib=1 << 20, overhead_mib=OVERHEAD_MIB, public_network=network)
    session.flush()
    assert made[1].launched_at > made[0].created_at - timedelta(days=1)
    assert listed(session) == before
    together = [one.reservation_id for one in instances.visible(session, ACCOUNT)]
    assert len(together) == 6
    assert together == sorted(together, key=together.index)


def count_fitting(session: Session, minimum: int, maximum: int, memory_mib: int) -> int:
    return instances.count_fitting(session, NANO, minimum, maximum, memory_mib=memory_mib, overhead_mib=OVERHEAD_MIB)


@pytest.mark.parametrize(("minimum", "maximum", "fitting"), [(1, 1, 1), (1, 3, 3), (1, 9, 3), (3, 9, 3)])
def test_as_many_are_launched_as_fit(session: Session, minimum: int, maximum: int, fitting: int) -> None:
    launch(session)
    memory_mib = 5 * EACH_MIB - 1
    assert count_fitting(session, minimum, maximum, memory_mib) == fitting


def test_fewer_than_the_least_that_is_asked_for_are_refused(session: Session) -> None:
    launch(session)
    for memory_mib in (0, 5 * EACH_MIB - 1):
        with pytest.raises(ApiError, match="InsufficientInstanceCapacity"):
            count_fitting(session, 4, 9, memory_mib)


@pytest.mark.parametrize("left", [[], [OTHER_DEVICE]])
def test_no_image_is_made_of_an_instance_without_its_root(session: Session, left: list[str]) -> None:
    (instance,) = launch(session, 1, *left)
    instance.state = State.STOPPED
    root = next(one for one in instance.volumes if one.device_name == ROOT)
    instances.detach(root)
    session.expire(instance, ["volumes"])
    with pytest.raises(ApiError, match=r"InvalidParameterValue.*at root \(/dev/xvda\)"):
        images.create_from_instance(session, instance, name="rootless", description="", overrides=[])


@pytest.mark.parametrize("ebs", [{}, {"VolumeSize": 1}, None])
def test_no_instance_is_launched_from_an_image_without_its_root(session: Session, ebs: dict[str, Any] | None) -> None:
    data = {"DeviceName": OTHER_DEVICE, "Ebs": {"SnapshotId": "snap-1"}}
    root = [] if ebs is None else [{"DeviceName": ROOT, "Ebs": ebs}]
    image = Image(image_id="ami-1", root_device_name=ROOT, block_device_mappings=[data, *root])
    asked = {"DeviceName": ROOT, "Ebs": {"SnapshotId": "snap-1"}}
    for overrides in ([], [asked]):
        with pytest.raises(ApiError, match="InvalidBlockDeviceMapping"):
            block_devices.plan_volumes(session, ACCOUNT, image, overrides)
