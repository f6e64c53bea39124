"""Attributes of instances and images, the defaults of a launch, and the devices of images."""

import base64
import io
from typing import Any

import pytest
from PIL import Image as Picture

from bakehouse.api.models import get_operation_model
from tests.api.conftest import unique
from tests.framework.belongings import Belongings
from tests.framework.caller import Caller
from tests.framework.patience import WAITS, wait_for
from tests.framework.service import Service
from tests.framework.tiny_cloud import console

pytestmark = pytest.mark.programs


def attributes_of(operation: str) -> list[str]:
    words: list[str] = get_operation_model("ec2", operation).input_shape.members["Attribute"].enum
    return words


def test_every_attribute_of_an_instance_is_described(administrator: Caller, belongings: Belongings) -> None:
    for attribute in attributes_of("DescribeInstanceAttribute"):
        asked = {"InstanceId": belongings.instance, "Attribute": attribute}
        answer = administrator.call("DescribeInstanceAttribute", asked).parsed
        assert len(set(answer) - {"InstanceId", "ResponseMetadata"}) == 1, attribute


@pytest.mark.parametrize(
    ("member", "attribute", "value"),
    [
        ("DisableApiStop", "disableApiStop", True),
        ("DisableApiTermination", "disableApiTermination", True),
        ("EbsOptimized", "ebsOptimized", True),
        ("InstanceInitiatedShutdownBehavior", "instanceInitiatedShutdownBehavior", "terminate"),
        ("SourceDestCheck", "sourceDestCheck", True),
    ],
)
def test_an_attribute_is_changed_in_both_forms(
    administrator: Caller, belongings: Belongings, member: str, attribute: str, value: Any
) -> None:
    one = {"InstanceId": belongings.instance}

    def described() -> Any:
        return administrator.call("DescribeInstanceAttribute", {**one, "Attribute": attribute}).parsed[member]["Value"]

    before = described()
    assert administrator.call("ModifyInstanceAttribute", {**one, member: {"Value": value}}).status == 200
    assert described() == value
    text = str(before).lower()
    assert administrator.call("ModifyInstanceAttribute", {**one, "Attribute": attribute, "Value": text}).status == 200
    assert described() == before


def test_the_groups_of_an_instance_are_changed(administrator: Caller, belongings: Belongings) -> None:
    one = {"InstanceId": belongings.instance}
    default = administrator.call("DescribeSecurityGroups", {"GroupNames": ["default"]}).parsed["SecurityGroups"][0]
    for groups in ([default["GroupId"], belongings.security_group], [belongings.security_group]):
        assert administrator.call("ModifyInstanceAttribute", {**one, "Groups": groups}).status == 200
        found = administrator.call("DescribeInstanceAttribute", {**one, "Attribute": "groupSet"}).parsed["Groups"]
        assert [group["GroupId"] for group in found] == groups


def test_what_is_said_of_an_images_attributes_is_what_was_set(administrator: Caller, belongings: Belongings) -> None:
    one = {"ImageId": belongings.image}
    for attribute in attributes_of("DescribeImageAttribute"):
        answer = administrator.call("DescribeImageAttribute", {**one, "Attribute": attribute})
        assert answer.code == "-", attribute
    assert administrator.call("DisableImageBlockPublicAccess").status == 200
    # As Packer sends it: both forms of one change at once, and Ansible's spelling.
    both = {
        "Attribute": "LaunchPermission",
        "OperationType": "add",
        "UserIds": ["123456789012"],
        "UserGroups": ["all"],
        "LaunchPermission": {"Add": [{"UserId": "123456789012"}, {"Group": "all"}]},
    }
    assert administrator.call("ModifyImageAttribute", {**one, **both}).status == 200
    asked = {**one, "Attribute": "launchPermission"}
    permissions = administrator.call("DescribeImageAttribute", asked).parsed["LaunchPermissions"]
    assert permissions == [{"Group": "all"}, {"UserId": "123456789012"}]
    assert administrator.call("ResetImageAttribute", asked).status == 200
    blocked = {"ImageBlockPublicAccessState": "block-new-sharing"}
    assert administrator.call("EnableImageBlockPublicAccess", blocked).status == 200
    assert administrator.call("DescribeImageAttribute", asked).parsed["LaunchPermissions"] == []
    for description in ("now with a description", ""):
        changed = {**one, "Attribute": "description", "Value": description}
        assert administrator.call("ModifyImageAttribute", changed).status == 200
        image = administrator.call("DescribeImages", {"ImageIds": [belongings.image]}).parsed["Images"][0]
        assert image["Description"] == description


def test_the_console_is_seen_as_text_and_as_a_picture(service: Service, belongings: Belongings) -> None:
    ec2 = service.client()
    wait_for(lambda: "." in console(ec2, belongings.instance), "a dot on the console")
    screen = ec2.get_console_screenshot(InstanceId=belongings.instance)["ImageData"]
    assert Picture.open(io.BytesIO(base64.b64decode(screen))).format == "JPEG"


def ebs_of(image: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["DeviceName"]: one["Ebs"] for one in image["BlockDeviceMappings"]}


def test_what_a_launch_leaves_out_is_ec2s_default(administrator: Caller, belongings: Belongings) -> None:
    run = {"ImageId": belongings.image, "MinCount": 1, "MaxCount": 1}
    instance = administrator.call("RunInstances", run).parsed["Instances"][0]
    assert instance["InstanceType"] == "m1.small"
    assert instance["State"]["Name"] == "pending"
    assert instance["Monitoring"]["State"] == "disabled"
    assert [group["GroupName"] for group in instance["SecurityGroups"]] == ["default"]
    assert instance["PublicIpAddress"]
    ended = {"InstanceIds": [instance["InstanceId"]], "SkipOsShutdown": True}
    assert administrator.call("TerminateInstances", ended).status == 200


def test_an_image_has_the_devices_it_was_registered_with(service: Service, belongings: Belongings) -> None:
    ec2 = service.client()
    mappings = [
        {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 4, "VolumeType": "io1", "Iops": 100}},
        {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": belongings.snapshot, "DeleteOnTermination": False}},
        {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": belongings.snapshot, "VolumeSize": 2}},
        {"DeviceName": "/dev/sdh", "VirtualName": "ephemeral0"},
    ]
    name = {"Name": unique("image"), "RootDeviceName": "/dev/xvda"}
    image_id = ec2.register_image(**name, BlockDeviceMappings=mappings)["ImageId"]
    found = ebs_of(ec2.describe_images(ImageIds=[image_id])["Images"][0])
    assert list(found) == ["/dev/xvda", "/dev/sdf", "/dev/sdg"]
    assert (found["/dev/xvda"]["VolumeSize"], found["/dev/xvda"]["VolumeType"]) == (2, "gp3")
    assert (found["/dev/sdf"]["VolumeSize"], found["/dev/sdf"]["DeleteOnTermination"]) == (1, False)
    assert (found["/dev/sdg"]["Iops"], "SnapshotId" in found["/dev/sdg"]) == (100, False)


def test_an_image_says_of_its_network_drivers_what_it_was_registered_with(
    administrator: Caller, belongings: Belongings
) -> None:
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": belongings.snapshot}}
    same = {"RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [mapping]}

    def registered(**more: Any) -> tuple[bool, str | None, dict[str, str]]:
        answer = administrator.call("RegisterImage", {**same, "Name": unique("drivers"), **more})
        one = {"ImageId": answer.parsed["ImageId"]}
        (image,) = administrator.call("DescribeImages", {"ImageIds": [one["ImageId"]]}).parsed["Images"]
        attribute = administrator.call("DescribeImageAttribute", {**one, "Attribute": "sriovNetSupport"}).parsed
        assert administrator.call("DeregisterImage", one).status == 200
        return image["EnaSupport"], image.get("SriovNetSupport"), attribute["SriovNetSupport"]

    # As Terraform sends them when nothing is said of either.
    assert registered(EnaSupport=False, SriovNetSupport="simple") == (False, "simple", {"Value": "simple"})
    assert registered(EnaSupport=True) == (True, None, {})
    assert registered() == (True, None, {})
    strange = {**same, "Name": unique("drivers"), "SriovNetSupport": "double"}
    assert administrator.call("RegisterImage", strange).code == "InvalidParameterValue"


def test_an_image_of_an_instance_has_its_devices_and_those_asked_for(
    service: Service, belongings: Belongings, image_id: str
) -> None:
    ec2 = service.client()
    own = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 4, "VolumeType": "io1", "Iops": 100}}]
    own += [{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 1}}]
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    instance_id = ec2.run_instances(**run, BlockDeviceMappings=own)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    changes = [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 3, "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdg", "NoDevice": ""},
        {"DeviceName": "/dev/sdh", "Ebs": {"VolumeSize": 1}},
        {"DeviceName": "/dev/sdi", "Ebs": {"SnapshotId": belongings.snapshot}},
    ]
    made = ec2.create_image(InstanceId=instance_id, Name=unique("image"), NoReboot=True, BlockDeviceMappings=changes)
    ec2.get_waiter("image_available").wait(ImageIds=[made["ImageId"]], WaiterConfig=WAITS)
    found = ebs_of(ec2.describe_images(ImageIds=[made["ImageId"]])["Images"][0])
    assert list(found) == ["/dev/xvda", "/dev/sdf", "/dev/sdh", "/dev/sdi"]
    assert (found["/dev/xvda"]["VolumeSize"], found["/dev/xvda"]["DeleteOnTermination"]) == (3, False)
    assert (found["/dev/sdf"]["VolumeType"], found["/dev/sdf"]["Iops"]) == ("io1", 100)
    assert found["/dev/sdi"]["SnapshotId"] == belongings.snapshot
    taken = [found[name]["SnapshotId"] for name in ("/dev/xvda", "/dev/sdf")]
    snapshots = ec2.describe_snapshots(SnapshotIds=[*taken, belongings.snapshot])["Snapshots"]
    assert {one["State"] for one in snapshots} == {"completed"}
    # It launches with all of them.
    again = ec2.run_instances(**{**run, "ImageId": made["ImageId"]})["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[again], WaiterConfig=WAITS)
    launched = ec2.describe_instances(InstanceIds=[again])["Reservations"][0]["Instances"][0]
    assert [one["DeviceName"] for one in launched["BlockDeviceMappings"]] == list(found)
    ec2.terminate_instances(InstanceIds=[instance_id, again], SkipOsShutdown=True)
