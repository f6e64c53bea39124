"""Records that a failed workflow left in a state that cannot last: the next start brings them to an end."""

import pytest

from bakehouse.database.models import Image, Instance, Volume
from bakehouse.database.session import Database
from tests.framework.mortal_service import MortalService
from tests.framework.settling import wait_until_settled
from tests.framework.tiny_host import wait_for
from tests.workflows.household import assert_running, assert_true, describe, launch, terminate

pytestmark = pytest.mark.programs


def test_records_that_no_workflow_is_about_any_more_come_to_a_true_end(mortal: MortalService, image_id: str) -> None:
    stuck, ending, running = (launch(mortal, image_id) for _ in range(3))
    wait_until_settled(mortal.settings)
    image = mortal.ec2.create_image(InstanceId=running, Name="abandoned", NoReboot=True)["ImageId"]
    volume = mortal.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    copied = mortal.ec2.copy_image(SourceImageId=image_id, SourceRegion="us-east-1", Name="copied")["ImageId"]
    wait_until_settled(mortal.settings)
    mortal.service.kill()
    database = Database(f"sqlite:///{mortal.settings.state.database}")
    with database.transaction() as session:
        session.get_one(Instance, stuck).state = "stopping"
        doomed = session.get_one(Instance, ending)
        doomed.state, doomed.state_transition_reason = "shutting-down", "User initiated"
        session.get_one(Image, image).state = "pending"
        session.get_one(Volume, volume).state = "deleting"
        session.get_one(Image, copied).state = "pending"
    database.close()
    mortal.start()
    wait_for(lambda: describe(mortal, stuck)["State"]["Name"] == "stopped", "the stop")
    wait_for(lambda: describe(mortal, ending)["State"]["Name"] == "terminated", "the termination")
    wait_until_settled(mortal.settings)
    found = mortal.ec2.describe_images(ImageIds=[image])["Images"][0]
    assert (found["State"], found["StateReason"]["Message"]) == ("failed", "the capture did not come to an end")
    assert mortal.ec2.describe_images(ImageIds=[copied])["Images"][0]["State"] == "available"
    assert volume not in [one["VolumeId"] for one in mortal.ec2.describe_volumes()["Volumes"]]
    assert_running(mortal, running)
    terminate(mortal, stuck, running)
    assert_true(mortal)
