"""Records that a failed workflow left in a state that cannot last: the next start brings them to an end."""

import pytest

from bakehouse.database.models import Image, Instance, ReplaceRootVolumeTask, Volume, VolumeModification
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
    volume, spare = (mortal.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"] for _ in range(2))
    copied = mortal.ec2.copy_image(SourceImageId=image_id, SourceRegion="us-east-1", Name="copied")["ImageId"]
    wait_until_settled(mortal.settings)
    mortal.ec2.modify_volume(VolumeId=spare, Size=2)
    root = describe(mortal, running)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    task = mortal.ec2.create_replace_root_volume_task(InstanceId=running)["ReplaceRootVolumeTask"]
    wait_until_settled(mortal.settings)
    mortal.service.kill()
    database = Database(f"sqlite:///{mortal.settings.state.database}")
    with database.transaction() as session:
        session.get_one(Instance, stuck).state = "stopping"
        doomed = session.get_one(Instance, ending)
        doomed.state, doomed.state_transition_reason = "shutting-down", "User initiated"
        session.get_one(Image, image).state = "pending"
        session.get_one(Volume, volume).state = "deleting"
        modification = session.get_one(VolumeModification, spare)
        modification.state, modification.target_size_gib = "modifying", 3
        exchange = session.get_one(ReplaceRootVolumeTask, task["ReplaceRootVolumeTaskId"])
        exchange.state, session.get_one(Volume, root).state = "in-progress", "in-use"
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
    assert mortal.ec2.describe_volumes(VolumeIds=[spare])["Volumes"][0]["Size"] == 3
    (found,) = mortal.ec2.describe_replace_root_volume_tasks()["ReplaceRootVolumeTasks"]
    assert found["TaskState"] == "succeeded"
    assert mortal.ec2.describe_volumes(VolumeIds=[root])["Volumes"][0]["State"] == "available"
    for volume_id in (spare, root):
        mortal.ec2.delete_volume(VolumeId=volume_id)
    assert_running(mortal, running)
    terminate(mortal, stuck, running)
    assert_true(mortal)
