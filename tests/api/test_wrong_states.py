"""What can be asked of an instance and its image in which state; the guest is one sector."""

import base64
from typing import Any

import pytest

from tests.api.conftest import unique
from tests.framework.belongings import Belongings
from tests.framework.caller import Caller
from tests.framework.patience import WAITS
from tests.framework.service import Service

pytestmark = pytest.mark.programs
REFUSED = "IncorrectInstanceState"


def launch(ec2: Any, image_id: str, **more: Any) -> str:
    reply = ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1, **more)
    return str(reply["Instances"][0]["InstanceId"])


def wait(ec2: Any, state: str, instance_id: str) -> None:
    ec2.get_waiter(f"instance_{state}").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)


def test_each_state_takes_what_ec2_takes_in_it(service: Service, administrator: Caller, image_id: str) -> None:
    ec2 = service.client()
    instance_id = launch(ec2, image_id, DisableApiTermination=True)

    def ask(operation: str, **more: Any) -> str:
        one = {"InstanceIds": [instance_id]} if operation.endswith("Instances") else {"InstanceId": instance_id}
        return administrator.call(operation, {**one, **more}).code

    wait(ec2, "running", instance_id)
    assert ask("StartInstances") == "-"
    assert ask("TerminateInstances") == "OperationNotPermitted"
    assert ask("ModifyInstanceAttribute", DisableApiTermination={"Value": False}) == "-"
    assert ask("ModifyInstanceAttribute", DisableApiStop={"Value": True}) == "-"
    assert ask("StopInstances") == "OperationNotPermitted"
    assert ask("ModifyInstanceAttribute", Attribute="disableApiStop", Value="false") == "-"
    assert ask("StopInstances", Force=True) == "-"
    wait(ec2, "stopped", instance_id)
    assert ask("StopInstances") == "-"
    assert ask("RebootInstances") == REFUSED
    assert ask("GetConsoleScreenshot") == REFUSED
    assert ask("ModifyInstanceAttribute", InstanceType={"Value": "t3.micro"}) == "-"
    for value in (b"#!/bin/sh", b""):
        assert ask("ModifyInstanceAttribute", UserData={"Value": value}) == "-"
        user_data = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]
        assert base64.b64decode(user_data.get("Value", "")) == value
    assert ask("TerminateInstances") == "-"
    wait(ec2, "terminated", instance_id)
    assert ask("TerminateInstances") == "-"
    for operation in ("StartInstances", "StopInstances", "RebootInstances", "GetConsoleScreenshot"):
        assert ask(operation) == REFUSED, operation
    assert ask("CreateImage", Name=unique("image")) == REFUSED
    assert ask("ModifyInstanceAttribute", InstanceType={"Value": "t3.micro"}) == REFUSED
    assert ask("ModifyInstanceAttribute", Groups=["sg-00000000000000001"]) == REFUSED
    assert ask("DescribeInstanceAttribute", Attribute="groupSet") == "-"
    assert ask("GetConsoleOutput") == "-"


def test_an_image_that_an_instance_still_uses_can_be_deregistered(
    service: Service, administrator: Caller, belongings: Belongings
) -> None:
    ec2 = service.client()
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": belongings.snapshot}}
    image = {"Name": unique("image"), "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [mapping]}
    image_id = ec2.register_image(**image)["ImageId"]
    instance_id = launch(ec2, image_id)
    wait(ec2, "running", instance_id)
    ec2.deregister_image(ImageId=image_id)
    assert administrator.call("DeregisterImage", {"ImageId": image_id}).code == "InvalidAMIID.Unavailable"
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    assert administrator.call("RunInstances", run).code == "InvalidAMIID.Unavailable"
    # Its name is free again, and its instance starts again after a stop.
    assert ec2.register_image(**image)["ImageId"] != image_id
    ec2.stop_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    wait(ec2, "stopped", instance_id)
    ec2.start_instances(InstanceIds=[instance_id])
    wait(ec2, "running", instance_id)
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)


def test_an_image_is_its_owners_alone_to_change(administrator: Caller, other: Caller, belongings: Belongings) -> None:
    third = "123456789012"
    permissions = [{"UserId": other.keys.account_id}, {"UserId": third}]
    shared = {"ImageId": belongings.image, "LaunchPermission": {"Add": permissions}}
    assert administrator.call("ModifyImageAttribute", shared).status == 200
    seen = other.call("DescribeImages", {"ExecutableUsers": ["self"]}).parsed["Images"]
    assert [one["ImageId"] for one in seen] == [belongings.image]
    # With whom else it is shared is the owner's business.
    users = {"ExecutableUsers": [third]}
    assert other.call("DescribeImages", users).parsed["Images"] == []
    assert [one["ImageId"] for one in administrator.call("DescribeImages", users).parsed["Images"]] == [
        belongings.image
    ]
    owners = {"Owners": [belongings.account_id], "ImageIds": [belongings.image]}
    assert other.call("DescribeImages", owners).parsed["Images"] == seen
    assert other.call("DescribeImages", {**owners, "Owners": ["self"]}).parsed["Images"] == []
    run = {"ImageId": belongings.image, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "DryRun": True}
    assert other.call("RunInstances", run).code == "DryRunOperation"
    for operation, parameters in (
        ("DeregisterImage", {}),
        ("DescribeImageAttribute", {"Attribute": "launchPermission"}),
        ("ModifyImageAttribute", {"Description": {"Value": "mine now"}}),
        ("ResetImageAttribute", {"Attribute": "launchPermission"}),
    ):
        assert other.call(operation, {"ImageId": belongings.image, **parameters}).code == "AuthFailure", operation
    # What the image lies on is not shared with it.
    copy = {"AvailabilityZone": "us-east-1a", "SnapshotId": belongings.snapshot}
    assert other.call("CreateVolume", copy).code == "InvalidSnapshot.NotFound"
    reset = {"ImageId": belongings.image, "Attribute": "launchPermission"}
    assert administrator.call("ResetImageAttribute", reset).status == 200
    assert other.call("RunInstances", run).code == "InvalidAMIID.NotFound"
