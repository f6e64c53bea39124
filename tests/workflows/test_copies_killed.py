"""Copies of images and snapshots, with the service killed after every step; and images that come to a new region."""

from typing import Any

import pytest

from tests.framework.mortal_service import MortalService
from tests.framework.settling import wait_until_settled
from tests.workflows.conftest import REGIONS

pytestmark = pytest.mark.programs


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
    assert mortal.service.run_cli("check")
