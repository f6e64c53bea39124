"""Copies of images and snapshots, with the service killed after every step; and images that come to a new region."""

from typing import Any

import pytest

from bakehouse.database.models import Snapshot
from bakehouse.database.session import Database
from bakehouse.main import check_storage, collect_garbage
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.conftest import REGIONS
from tests.workflows.household import assert_true, kill_points, steps_of

pytestmark = pytest.mark.programs

STEPS = ("fill", "complete")


@pytest.fixture
def elsewhere(mortal: MortalService) -> Any:
    """The administrator's client for the other region."""
    return mortal.service.client(region=REGIONS[1])


def test_a_region_added_later_has_the_images_of_amazon_once(mortal: MortalService, elsewhere: Any) -> None:
    mortal.service.kill()
    mortal.start()
    wait_until_settled(mortal.settings)
    (there,) = elsewhere.describe_images(Owners=["amazon"])["Images"]
    (here,) = mortal.ec2.describe_images(Owners=["amazon"])["Images"]
    assert (there["State"], there["Name"]) == ("available", here["Name"])
    assert there["ImageId"] != here["ImageId"]
    assert not check_storage(mortal.settings, lambda _done, _total: None)


def test_a_copy_takes_the_steps_that_are_killed_here(mortal: MortalService, elsewhere: Any, image_id: str) -> None:
    mortal.forget_trace()
    elsewhere.copy_image(SourceImageId=image_id, SourceRegion=REGIONS[0], Name="traced")
    wait_until_settled(mortal.settings)
    assert steps_of(mortal, "copy_image") == list(STEPS)


@pytest.mark.parametrize("point", kill_points("copy_image", *STEPS), ids=str)
def test_a_copied_image_is_available_though_killed_there(
    mortal: MortalService, elsewhere: Any, image_id: str, point: KillPoint
) -> None:
    with mortal.killed_at(point):
        made = elsewhere.copy_image(SourceImageId=image_id, SourceRegion=REGIONS[0], Name=f"killed after {point.step}")
    assert elsewhere.describe_images(ImageIds=[made["ImageId"]])["Images"][0]["State"] == "available"
    assert not check_storage(mortal.settings, lambda _done, _total: None)
    assert_true(mortal)


def test_a_copied_snapshot_is_completed_though_its_source_went_before_it_was_filled(
    mortal: MortalService, elsewhere: Any, image_id: str
) -> None:
    source = copied_snapshot(mortal, mortal.ec2, REGIONS[0], image_id)
    (point,) = kill_points("copy_snapshot", "fill")
    mortal.order_death(point)
    made = elsewhere.copy_snapshot(SourceSnapshotId=source, SourceRegion=REGIONS[0])["SnapshotId"]
    mortal.await_death()
    database = Database(f"sqlite:///{mortal.settings.state.database}")
    with database.transaction() as session:
        session.delete(session.get_one(Snapshot, source))
    database.close()
    collect_garbage(mortal.settings)
    mortal.start()
    wait_until_settled(mortal.settings)
    assert elsewhere.describe_snapshots(SnapshotIds=[made])["Snapshots"][0]["State"] == "completed"
    assert not check_storage(mortal.settings, lambda _done, _total: None)


def copied_snapshot(mortal: MortalService, ec2: Any, region: str, image_id: str) -> str:
    """A snapshot that no image needs."""
    image = ec2.copy_image(SourceImageId=image_id, SourceRegion=region, Name="to be taken apart")["ImageId"]
    wait_until_settled(mortal.settings)
    (found,) = ec2.describe_images(ImageIds=[image])["Images"]
    ec2.deregister_image(ImageId=image)
    return str(found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])
