"""An image's life after it was made: deprecated, disabled, protected, deregistered, and asked about."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bakehouse.database.models import Image
from bakehouse.database.session import Database
from bakehouse.paths import StateDirectory
from tests.api.conftest import unique
from tests.api.test_image_copies import copy, snapshot_of
from tests.api.test_nouns import refused
from tests.framework.belongings import Belongings
from tests.framework.service import Keys, Service
from tests.framework.tiny_cloud import launch, wait_for_state
from tests.framework.tiny_service import HOME_REGION

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def other_keys(service: Service) -> Keys:
    """An account of this module's own: images stay shared with it."""
    return service.new_account()


@pytest.fixture
def own(ec2: Any, image_id: str) -> dict[str, Any]:
    """A private image of the administrator's."""
    return copy(ec2, image_id)


@pytest.fixture
def other(service: Service, other_keys: Keys) -> Any:
    """The second account's client."""
    return service.client(keys=other_keys)


@pytest.fixture
def age(service: Service) -> Callable[..., None]:
    """Change moments of an image's row, as if time had passed."""

    def change(image_id: str, **moments: datetime) -> None:
        database = Database(f"sqlite:///{StateDirectory(root=service.state_root).database}")
        with database.transaction() as session:
            row = session.get_one(Image, image_id)
            for name, moment in moments.items():
                setattr(row, name, moment)
        database.close()

    return change


def share(ec2: Any, image_id: str, account_id: str) -> None:
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"UserId": account_id}]})


def described(ec2: Any, image_id: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_images(ImageIds=[image_id], **more)["Images"][0]
    return found


def listed(ec2: Any, image_id: str, **more: Any) -> bool:
    return image_id in {image["ImageId"] for image in ec2.describe_images(**more)["Images"]}


def test_a_deprecated_image_is_hidden_from_others_who_do_not_know_its_id(
    ec2: Any, other: Any, other_keys: Keys, own: dict[str, Any], age: Callable[..., None]
) -> None:
    image_id = own["ImageId"]
    share(ec2, image_id, other_keys.account_id)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1, seconds=1)
    ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=at)
    assert described(ec2, image_id)["DeprecationTime"].endswith(":00.000Z")
    assert listed(other, image_id)
    age(image_id, deprecate_at=datetime.now(UTC) - timedelta(minutes=1))
    assert not listed(other, image_id)
    assert listed(other, image_id, IncludeDeprecated=True)
    assert described(other, image_id)["DeprecationTime"]
    assert listed(ec2, image_id)
    assert refused(other.run_instances, ImageId=image_id, MinCount=1, MaxCount=1, DryRun=True) == "DryRunOperation"
    ec2.disable_image_deprecation(ImageId=image_id)
    assert "DeprecationTime" not in described(ec2, image_id)
    assert listed(other, image_id)


def test_a_moment_of_deprecation_is_rounded_and_neither_past_nor_far_away(ec2: Any, own: dict[str, Any]) -> None:
    image_id, now = own["ImageId"], datetime.now(UTC)
    ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=datetime(now.year + 1, 5, 1, 10, 20, 31, tzinfo=UTC))
    assert described(ec2, image_id)["DeprecationTime"] == f"{now.year + 1}-05-01T10:21:00.000Z"
    for wrong in (now - timedelta(hours=1), now + timedelta(days=11 * 366)):
        assert refused(ec2.enable_image_deprecation, ImageId=image_id, DeprecateAt=wrong) == "InvalidParameterValue"


def test_a_public_image_is_deprecated_two_years_after_it_was_made(
    ec2: Any, other: Any, image_id: str, age: Callable[..., None]
) -> None:
    before = described(ec2, image_id)
    made = datetime.fromisoformat(before["CreationDate"])
    assert datetime.fromisoformat(before["DeprecationTime"]) - made >= timedelta(days=729)
    age(image_id, created_at=made - timedelta(days=3 * 365))
    assert not listed(other, image_id)
    assert listed(other, image_id, IncludeDeprecated=True)
    age(image_id, created_at=made)
    assert listed(other, image_id)


def test_a_disabled_image_is_its_owners_alone_and_is_not_launched(
    ec2: Any, other: Any, other_keys: Keys, own: dict[str, Any]
) -> None:
    image_id = own["ImageId"]
    share(ec2, image_id, other_keys.account_id)
    assert refused(other.disable_image, ImageId=image_id) == "AuthFailure"
    assert ec2.disable_image(ImageId=image_id)["Return"] is True
    assert not listed(ec2, image_id)
    assert described(ec2, image_id, IncludeDisabled=True)["State"] == "disabled"
    assert refused(other.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"
    run = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1}
    assert refused(ec2.run_instances, **run) == "InvalidAMIID.Unavailable"
    copying = {"SourceImageId": image_id, "SourceRegion": HOME_REGION, "Name": unique("copy")}
    assert refused(ec2.copy_image, **copying) == "InvalidAMIID.Unavailable"
    assert refused(share, ec2=ec2, image_id=image_id, account_id=other_keys.account_id) == "InvalidAMIID.Unavailable"
    ec2.enable_image(ImageId=image_id)
    assert described(ec2, image_id)["State"] == "available"
    assert refused(ec2.run_instances, **run, DryRun=True) == "DryRunOperation"
    assert refused(other.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"


def test_a_protected_image_is_deregistered_only_when_the_protection_and_its_cooldown_are_over(
    ec2: Any, own: dict[str, Any], age: Callable[..., None]
) -> None:
    image_id = own["ImageId"]
    assert described(ec2, image_id)["DeregistrationProtection"] == "disabled"
    made = ec2.enable_image_deregistration_protection(ImageId=image_id)
    assert made["Return"] == described(ec2, image_id)["DeregistrationProtection"] == "enabled-without-cooldown"
    assert refused(ec2.deregister_image, ImageId=image_id) == "OperationNotPermitted"
    ec2.enable_image_deregistration_protection(ImageId=image_id, WithCooldown=True)
    attribute = ec2.describe_image_attribute(ImageId=image_id, Attribute="deregistrationProtection")
    assert attribute["DeregistrationProtection"]["Value"] == "enabled-with-cooldown"
    assert ec2.disable_image_deregistration_protection(ImageId=image_id)["Return"] == "disabled"
    assert refused(ec2.deregister_image, ImageId=image_id) == "OperationNotPermitted"
    age(image_id, protected_until=datetime.now(UTC) - timedelta(seconds=1))
    assert ec2.deregister_image(ImageId=image_id)["Return"] is True


def test_snapshots_go_with_their_image_unless_another_one_needs_them(ec2: Any, own: dict[str, Any]) -> None:
    snapshot_id = snapshot_of(own)
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    same = {"RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [mapping]}
    second = ec2.register_image(Name=unique("second"), **same)["ImageId"]
    gone = ec2.deregister_image(ImageId=own["ImageId"], DeleteAssociatedSnapshots=True)
    assert gone["DeleteSnapshotResults"] == [{"SnapshotId": snapshot_id, "ReturnCode": "skipped"}]
    gone = ec2.deregister_image(ImageId=second, DeleteAssociatedSnapshots=True)
    assert gone["DeleteSnapshotResults"] == [{"SnapshotId": snapshot_id, "ReturnCode": "success"}]
    assert refused(ec2.describe_snapshots, SnapshotIds=[snapshot_id]) == "InvalidSnapshot.NotFound"


def test_the_ancestry_of_an_image_goes_back_to_the_first_and_over_what_is_gone(
    ec2: Any, own: dict[str, Any], image_id: str
) -> None:
    grandchild = copy(ec2, own["ImageId"])
    ec2.deregister_image(ImageId=own["ImageId"])
    chain = ec2.get_image_ancestry(ImageId=grandchild["ImageId"])["ImageAncestryEntries"]
    assert [one["ImageId"] for one in chain] == [grandchild["ImageId"], own["ImageId"], image_id]
    assert [one.get("SourceImageId") for one in chain] == [own["ImageId"], image_id, None]
    assert [one.get("ImageOwnerAlias") for one in chain] == [None, None, "amazon"]
    assert chain[0]["SourceImageRegion"] == HOME_REGION


def test_the_ancestry_of_a_shared_image_tells_nothing_of_its_owners_private_images(
    ec2: Any, other: Any, other_keys: Keys, own: dict[str, Any]
) -> None:
    child = copy(ec2, own["ImageId"])
    share(ec2, child["ImageId"], other_keys.account_id)
    chain = other.get_image_ancestry(ImageId=child["ImageId"])["ImageAncestryEntries"]
    assert [one["ImageId"] for one in chain] == [child["ImageId"]]
    assert not {"SourceImageId", "SourceImageRegion"} & set(chain[0])
    assert not {"DeregistrationProtection", "LastLaunchedTime"} & set(described(other, child["ImageId"]))
    share(ec2, own["ImageId"], other_keys.account_id)
    chain = other.get_image_ancestry(ImageId=child["ImageId"])["ImageAncestryEntries"]
    assert [one.get("SourceImageId") for one in chain] == [own["ImageId"], own["SourceImageId"], None]


def test_templates_refer_to_an_image_in_their_newest_versions(ec2: Any, own: dict[str, Any]) -> None:
    image_id, name = own["ImageId"], unique("template")
    made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"ImageId": image_id})
    ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData={"InstanceType": "t3.nano"})

    def found(depth: str) -> list[dict[str, Any]]:
        option = {"OptionName": "version-depth", "OptionValues": [depth]}
        wanted = [{"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": [option]}]
        asked = ec2.describe_image_references(ImageIds=[image_id], ResourceTypes=wanted)["ImageReferences"]
        return list(asked)

    assert found("1") == []
    (reference,) = found("2")
    assert reference["Arn"].endswith(f":launch-template/{made['LaunchTemplate']['LaunchTemplateId']}")
    (of_all,) = ec2.describe_image_references(ImageIds=[image_id], IncludeAllResourceTypes=True)["ImageReferences"]
    assert of_all == reference
    assert refused(found, depth="0") == "InvalidParameterValue"
    ec2.delete_launch_template(LaunchTemplateName=name)


def test_parameters_refer_to_an_image(service: Service, ec2: Any, own: dict[str, Any]) -> None:
    ssm, name = service.client("ssm"), f"/{unique('golden')}/image"
    ssm.put_parameter(Name=name, Value=own["ImageId"], Type="String", DataType="aws:ec2:image")
    wanted = [{"ResourceType": "ssm:Parameter"}]
    asked = ec2.describe_image_references(ImageIds=[own["ImageId"]], ResourceTypes=wanted)
    (found,) = asked["ImageReferences"]
    assert found["Arn"] == f"arn:aws:ssm:{HOME_REGION}:{service.administrator.account_id}:parameter{name}"
    ssm.delete_parameter(Name=name)


def test_instances_refer_to_their_image_and_tell_what_it_was(
    ec2: Any, other: Any, own: dict[str, Any], belongings: Belongings
) -> None:
    image_id = own["ImageId"]
    assert "LastLaunchedTime" not in own
    instance_id = launch(ec2, image_id)
    wait_for_state(ec2, instance_id, "running")
    assert described(ec2, image_id)["LastLaunchedTime"].startswith(f"{datetime.now(UTC):%Y-%m-}")
    (found,) = ec2.describe_image_references(ImageIds=[image_id], IncludeAllResourceTypes=True)["ImageReferences"]
    assert found["Arn"].endswith(f":instance/{instance_id}")
    assert (found["ImageId"], found["ResourceType"]) == (image_id, "ec2:Instance")
    stopped = {"OptionName": "state-name", "OptionValues": ["stopped"]}
    only_stopped = [{"ResourceType": "ec2:Instance", "ResourceTypeOptions": [stopped]}]
    assert ec2.describe_image_references(ImageIds=[image_id], ResourceTypes=only_stopped)["ImageReferences"] == []
    wrong = [{"ResourceType": "ssm:Parameter", "ResourceTypeOptions": [stopped]}]
    refer = ec2.describe_image_references
    assert refused(refer, ImageIds=[image_id], ResourceTypes=wrong) == "InvalidParameterValue"
    assert refused(refer, ImageIds=[image_id]) == "MissingParameter"
    ec2.deregister_image(ImageId=image_id)
    wanted = [{"Name": "instance-id", "Values": [instance_id]}]
    (of_it,) = ec2.describe_instance_image_metadata(Filters=wanted)["InstanceImageMetadata"]
    assert of_it["ImageMetadata"]["State"] == "deregistered"
    assert of_it["ImageMetadata"]["Name"] == own["Name"]
    assert (of_it["ZoneId"][:5], of_it["State"]["Name"]) == ("use1-", "running")
    metadata = other.describe_instance_image_metadata
    assert refused(metadata, InstanceIds=[instance_id]) == "InvalidInstanceID.NotFound"
    pages = ec2.get_paginator("describe_instance_image_metadata").paginate(PaginationConfig={"PageSize": 1})
    assert belongings.instance in {one["InstanceId"] for page in pages for one in page["InstanceImageMetadata"]}
    ec2.terminate_instances(InstanceIds=[instance_id])
