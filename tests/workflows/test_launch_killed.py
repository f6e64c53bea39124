"""RunInstances, with the service killed after every step."""

import pytest

from bakehouse.durable.engine import Moment
from tests.framework.mortal_service import KillPoint, MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.household import assert_running, assert_true, describe, kill_points, launch, steps_of, terminate

pytestmark = pytest.mark.programs

STEPS = ("hydrate_bases", "prepare_volumes", "start_machine", "mark_running")


def test_a_launch_takes_the_steps_that_are_killed_here(mortal: MortalService, image_id: str) -> None:
    mortal.forget_trace()
    instance_id = launch(mortal, image_id)
    wait_until_settled(mortal.settings)
    assert steps_of(mortal, "launch_instance") == list(STEPS)
    assert_running(mortal, instance_id)
    assert_true(mortal)
    terminate(mortal, instance_id)
    assert_true(mortal)


@pytest.mark.parametrize("point", kill_points("launch_instance", *STEPS, moments=Moment), ids=str)
def test_a_launch_killed_there_ends_with_one_running_machine(
    mortal: MortalService, image_id: str, point: KillPoint
) -> None:
    with mortal.killed_at(point):
        instance_id = launch(mortal, image_id)
    assert_running(mortal, instance_id)
    assert describe(mortal, instance_id)["BlockDeviceMappings"][0]["Ebs"]["Status"] == "attached"
    assert_true(mortal)
    terminate(mortal, instance_id)
    assert_true(mortal)
