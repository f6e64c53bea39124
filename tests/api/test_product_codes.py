"""Product codes go with whatever is made of an image; allowed AMIs and IMDSv2 as its users meet them."""

from typing import Any

import pytest

from tests.api.conftest import unique
from tests.api.test_sharing import done, launch, register, unblocked
from tests.framework.belongings import Belongings
from tests.framework.caller import Caller
from tests.framework.patience import WAITS
from tests.framework.service import Keys, Service

pytestmark = pytest.mark.programs
CODE = {"ProductCodeId": "abc123", "ProductCodeType": "marketplace"}


@pytest.fixture(scope="module")
def sold(service: Service, administrator: Caller, belongings: Belongings) -> dict[str, str]:
    """An image with a product code whose guests are to use IMDSv2, and the snapshot under it."""
    ec2 = service.client()
    snapshot_id = ec2.create_snapshot(VolumeId=belongings.volume)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=WAITS)
    image_id = done(register(administrator, snapshot_id))["ImageId"]
    ec2.modify_image_attribute(ImageId=image_id, ProductCodes=["abc123"])
    ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})
    return {"image": image_id, "snapshot": snapshot_id}


def codes_of_snapshot(ec2: Any, snapshot_id: str) -> Any:
    return ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute="productCodes")["ProductCodes"]


def test_product_codes_and_imds_support_go_with_what_is_made(service: Service, sold: dict[str, str]) -> None:
    ec2 = service.client()
    by_code = [{"Name": "product-code", "Values": ["abc123"]}, {"Name": "product-code.type", "Values": ["marketplace"]}]
    assert [one["ImageId"] for one in ec2.describe_images(Filters=by_code)["Images"]] == [sold["image"]]
    run = {"ImageId": sold["image"], "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    instance = ec2.run_instances(**run)["Instances"][0]
    assert instance["ProductCodes"] == [CODE]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    own_wish = ec2.run_instances(**run, MetadataOptions={"HttpTokens": "optional"})["Instances"][0]
    assert own_wish["MetadataOptions"]["HttpTokens"] == "optional"
    one = {"InstanceIds": [instance["InstanceId"]]}
    ec2.get_waiter("instance_running").wait(**one, WaiterConfig=WAITS)
    running = ec2.describe_instances(**one, Filters=by_code)["Reservations"][0]["Instances"][0]
    volume_id = running["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    described = ec2.describe_volume_attribute(VolumeId=volume_id, Attribute="productCodes")
    assert described["ProductCodes"] == [CODE]
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    assert codes_of_snapshot(ec2, snapshot_id) == [CODE]
    made = ec2.create_image(InstanceId=instance["InstanceId"], Name=unique("derived"), NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig=WAITS)
    derived = ec2.describe_images(ImageIds=[made])["Images"][0]
    assert (derived["ProductCodes"], derived["ImdsSupport"]) == ([CODE], "v2.0")
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"], own_wish["InstanceId"]], SkipOsShutdown=True)
    ec2.deregister_image(ImageId=made)


def test_codes_stick_to_the_bytes_and_keep_them_from_everybody(administrator: Caller, sold: dict[str, str]) -> None:
    again = done(register(administrator, sold["snapshot"]))["ImageId"]
    asked = {"ImageId": again, "Attribute": "productCodes"}
    assert done(administrator.call("DescribeImageAttribute", asked))["ProductCodes"] == [CODE]
    everybody = [{"Group": "all"}]
    with unblocked(administrator):
        for image_id in (again, sold["image"]):
            shared = {"ImageId": image_id, "LaunchPermission": {"Add": everybody}}
            assert administrator.call("ModifyImageAttribute", shared).code == "OperationNotPermitted"
        shared = {"SnapshotId": sold["snapshot"], "CreateVolumePermission": {"Add": everybody}}
        assert administrator.call("ModifySnapshotAttribute", shared).code == "OperationNotPermitted"
    done(administrator.call("DeregisterImage", {"ImageId": again}))


def test_what_is_public_gets_no_product_code(administrator: Caller, belongings: Belongings) -> None:
    one = {"ImageId": belongings.image}
    with unblocked(administrator):
        done(administrator.call("ModifyImageAttribute", {**one, "LaunchPermission": {"Add": [{"Group": "all"}]}}))
    refused = administrator.call("ModifyImageAttribute", {**one, "ProductCodes": ["abc123"]})
    assert refused.code == "OperationNotPermitted"
    done(administrator.call("ResetImageAttribute", {**one, "Attribute": "launchPermission"}))


def test_an_image_that_is_not_allowed_is_neither_found_nor_launched(
    service: Service, other_keys: Keys, other: Caller, others_belongings: Belongings, image_id: str
) -> None:
    ec2 = service.client(keys=other_keys)
    ec2.replace_image_criteria_in_allowed_images_settings(ImageCriteria=[{"ImageProviders": ["123456789012"]}])
    ec2.enable_allowed_images_settings(AllowedImagesSettingsState="audit-mode")
    assert launch(other, image_id) == "DryRunOperation"
    listed = {one["ImageId"]: one["ImageAllowed"] for one in ec2.describe_images()["Images"]}
    assert (listed[image_id], listed[others_belongings.image]) == (False, True)
    by_verdict = ec2.describe_images(Filters=[{"Name": "image-allowed", "Values": ["false"]}])["Images"]
    assert image_id in [one["ImageId"] for one in by_verdict]
    ec2.enable_allowed_images_settings(AllowedImagesSettingsState="enabled")
    try:
        assert launch(other, image_id) == "InvalidAMIID.NotFound"
        assert other.call("DescribeImages", {"ImageIds": [image_id]}).code == "InvalidAMIID.NotFound"
        found = {one["ImageId"] for one in ec2.describe_images()["Images"]}
        assert (image_id in found, others_belongings.image in found) == (False, True)
        assert launch(other, others_belongings.image) == "DryRunOperation"
        settings = ec2.get_allowed_images_settings()
        assert (settings["State"], settings["ManagedBy"]) == ("enabled", "account")
        assert settings["ImageCriteria"] == [{"ImageProviders": ["123456789012"]}]
    finally:
        ec2.disable_allowed_images_settings()
        ec2.replace_image_criteria_in_allowed_images_settings()
    assert launch(other, image_id) == "DryRunOperation"
    assert "ImageAllowed" not in ec2.describe_images(ImageIds=[image_id])["Images"][0]


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("DescribeImages", {"Owners": ["somebody"]}),
        ("DescribeImages", {"ExecutableUsers": ["12"]}),
        ("DescribeSnapshots", {"OwnerIds": ["all"]}),
        ("DescribeSnapshots", {"RestorableByUserIds": ["amazon"]}),
    ],
)
def test_a_user_that_cannot_be_is_refused(other: Caller, operation: str, request_: dict[str, Any]) -> None:
    assert other.call(operation, request_).code == "InvalidUserID.Malformed"
