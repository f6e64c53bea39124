"""The same promises with rows and workflows in PostgreSQL: a short run, and kills in the middle."""

import pytest

from bakehouse.durable.engine import Moment
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, launch

pytestmark = pytest.mark.programs


def point(workflow: str, step: str) -> KillPoint:
    """Right before the engine remembers the step."""
    return KillPoint(workflow=workflow, step=step, moment=Moment.DONE)


def test_launch_capture_and_termination_are_killed_and_end_well(mortal_on_postgresql: MortalService) -> None:
    mortal = mortal_on_postgresql
    assert mortal.settings.database_url
    assert not mortal.settings.state.database.exists()
    base_id = mortal.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    with mortal.killed_at(point("launch_instance", "start_machine")):
        first = launch(mortal, base_id, ClientToken="only-once")
    assert launch(mortal, base_id, ClientToken="only-once") == first
    assert_running(mortal, first)
    assert_true(mortal)
    with mortal.killed_at(point("capture_image", "read_views")):
        image_id = mortal.ec2.create_image(InstanceId=first, Name="killed", NoReboot=True)["ImageId"]
    assert mortal.ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"] == "available"
    second = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    assert_running(mortal, second)
    with mortal.killed_at(point("terminate_instance", "delete_files")):
        mortal.ec2.terminate_instances(InstanceIds=[first, second])
    assert {describe(mortal, one)["State"]["Name"] for one in (first, second)} == {"terminated"}
    assert_true(mortal)


def test_many_launches_at_once_get_what_is_theirs(mortal_on_postgresql: MortalService) -> None:
    mortal = mortal_on_postgresql
    base_id = mortal.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    reply = mortal.ec2.run_instances(ImageId=base_id, InstanceType="t3.nano", MinCount=3, MaxCount=3)
    ids = [one["InstanceId"] for one in reply["Instances"]]
    wait_until_settled(mortal.settings)
    for instance_id in ids:
        assert_running(mortal, instance_id)
    assert_true(mortal)
    mortal.ec2.terminate_instances(InstanceIds=ids)
    wait_until_settled(mortal.settings)
    assert_true(mortal)
