"""Images and snapshots shared with accounts, organizations and everybody: who sees what, and what nobody does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.conftest import unique
from tests.framework.belongings import ZONE, Belongings
from tests.framework.caller import Answer, Caller
from tests.framework.patience import WAITS
from tests.framework.service import Keys, Service
from tests.framework.tiny_cloud import command

pytestmark = pytest.mark.programs
ORGANIZATION = "arn:aws:organizations::111122223333:organization/o-0123456789"
UNIT = "arn:aws:organizations::111122223333:ou/o-0123456789/ou-abcd-01234567"
GONE = "InvalidAMIID.NotFound"


def done(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return answer.parsed


@pytest.fixture(scope="module")
def other_keys(service: Service) -> Keys:
    """An account of this module's own: it goes on seeing that it launched what was shared with it."""
    return service.new_account()


@pytest.fixture(scope="module")
def other(service: Service, other_keys: Keys) -> Iterator[Caller]:
    """That account."""
    caller = Caller(service, other_keys)
    yield caller
    caller.close()


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A private image of the administrator's, and its snapshot."""

    owner: Caller
    image: str
    snapshot: str

    def share(self, **permission: str) -> Answer:
        return self.change({"Add": [permission]})

    def change(self, permissions: dict[str, Any], **more: Any) -> Answer:
        request = {"ImageId": self.image, "LaunchPermission": permissions, **more}
        return self.owner.call("ModifyImageAttribute", request)

    def permissions(self) -> list[dict[str, str]]:
        asked = {"ImageId": self.image, "Attribute": "launchPermission"}
        found: list[dict[str, str]] = done(self.owner.call("DescribeImageAttribute", asked))["LaunchPermissions"]
        return found

    def share_snapshot(self, **request: Any) -> Answer:
        return self.owner.call("ModifySnapshotAttribute", {"SnapshotId": self.snapshot, **request})


def launch(caller: Caller, image_id: str) -> str:
    """What becomes of a launch, without one."""
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "DryRun": True}
    return caller.call("RunInstances", run).code


def register(caller: Caller, snapshot_id: str) -> Answer:
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    image = {"Name": unique("shared"), "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [mapping]}
    return caller.call("RegisterImage", image)


@pytest.fixture(scope="module")
def snapshot(service: Service, belongings: Belongings) -> str:
    ec2 = service.client()
    snapshot_id = ec2.create_snapshot(VolumeId=belongings.volume)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=WAITS)
    return str(snapshot_id)


@pytest.fixture
def shared(administrator: Caller, snapshot: str) -> Iterator[Shared]:
    image_id = done(register(administrator, snapshot))["ImageId"]
    yield Shared(owner=administrator, image=image_id, snapshot=snapshot)
    administrator.call("DeregisterImage", {"ImageId": image_id})
    private = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}
    administrator.call("ResetSnapshotAttribute", private)


@contextmanager
def unblocked(caller: Caller) -> Iterator[None]:
    """Images and snapshots of the account may become public."""
    done(caller.call("DisableImageBlockPublicAccess"))
    done(caller.call("DisableSnapshotBlockPublicAccess"))
    try:
        yield
    finally:
        blocked = {"ImageBlockPublicAccessState": "block-new-sharing"}
        done(caller.call("EnableImageBlockPublicAccess", blocked))
        done(caller.call("EnableSnapshotBlockPublicAccess", {"State": "block-new-sharing"}))


def read_through_ebs(caller: Caller, snapshot_id: str) -> set[str]:
    """What the calls that could read a snapshot's bytes answer."""
    volume = {"AvailabilityZone": ZONE, "SnapshotId": snapshot_id, "DryRun": True}
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    image = {"Name": unique("x"), "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [mapping], "DryRun": True}
    described = caller.call("DescribeSnapshots", {"SnapshotIds": [snapshot_id], "DryRun": True})
    made = caller.call("CreateVolume", volume), caller.call("RegisterImage", image)
    return {answer.code for answer in (described, *made)}


def test_a_shared_image_launches_and_nothing_else_of_its_owner_is_seen(
    service: Service, other: Caller, other_keys: Any, shared: Shared, belongings: Belongings
) -> None:
    assert launch(other, shared.image) == GONE
    done(shared.share(UserId=other.keys.account_id))
    ec2 = service.client(keys=other_keys)
    run = ec2.run_instances(ImageId=shared.image, InstanceType="t3.nano", MinCount=1, MaxCount=1)
    instance_id = run["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    assert read_through_ebs(other, shared.snapshot) == {"InvalidSnapshot.NotFound"}
    (image,) = done(other.call("DescribeImages", {"ImageIds": [shared.image]}))["Images"]
    assert [image.get(member) for member in ("SourceInstanceId", "SourceImageId", "Tags")] == [None, None, []]
    # Of what it sees it can change nothing, and what it tags is its own to see.
    for operation, more in (
        ("ModifyImageAttribute", {"Description": {"Value": "mine"}}),
        ("ResetImageAttribute", {"Attribute": "launchPermission"}),
        ("DescribeImageAttribute", {"Attribute": "launchPermission"}),
        ("DeregisterImage", {}),
    ):
        assert other.call(operation, {"ImageId": shared.image, **more}).code == "AuthFailure", operation


def test_an_image_of_an_instance_does_not_tell_others_of_which(
    service: Service, other: Caller, administrator: Caller, belongings: Belongings
) -> None:
    ec2 = service.client()
    image_id = ec2.create_image(InstanceId=belongings.instance, Name=unique("of"), NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig=WAITS)
    permission = {"Add": [{"UserId": other.keys.account_id}]}
    done(administrator.call("ModifyImageAttribute", {"ImageId": image_id, "LaunchPermission": permission}))
    asked = {"ImageIds": [image_id]}
    (own,) = done(administrator.call("DescribeImages", asked))["Images"]
    assert own["SourceInstanceId"] == belongings.instance
    (seen,) = done(other.call("DescribeImages", asked))["Images"]
    assert "SourceInstanceId" not in seen
    by_source = {"Filters": [{"Name": "source-instance-id", "Values": [belongings.instance]}]}
    assert done(other.call("DescribeImages", by_source))["Images"] == []
    ec2.deregister_image(ImageId=image_id)


def test_an_image_shared_with_an_organization_is_its_members_and_nobody_elses(
    service: Service, other: Caller, shared: Shared
) -> None:
    done(shared.change({"Add": [{"OrganizationArn": ORGANIZATION}, {"OrganizationalUnitArn": UNIT}]}))
    member = Caller(service, service.new_account("--organization", ORGANIZATION, "--organizational-unit", UNIT))
    assert launch(member, shared.image) == "DryRunOperation"
    assert launch(other, shared.image) == GONE
    found = done(member.call("DescribeImages", {"ExecutableUsers": ["self"]}))["Images"]
    assert [one["ImageId"] for one in found] == [shared.image]
    # What is shared with the organization is not one member's to leave.
    assert member.call("CancelImageLaunchPermission", {"ImageId": shared.image}).code == "OperationNotPermitted"
    assert service.run_cli("account", "place", member.keys.account_id) == ""
    assert launch(member, shared.image) == GONE
    answer = command(service, "account", "place", member.keys.account_id, "--organization", "nonsense")
    assert (answer.returncode, "is not the ARN of an organization" in answer.stderr) == (1, True)
    member.close()


def test_every_kind_of_launch_permission_is_described_taken_back_and_reset(shared: Shared) -> None:
    account = "123456789012"
    every = [{"Group": "all"}, {"UserId": account}, {"OrganizationArn": ORGANIZATION}, {"OrganizationalUnitArn": UNIT}]
    flat = {
        "OperationType": "add",
        "UserGroups": ["all"],
        "UserIds": [account],
        "OrganizationArns": [ORGANIZATION],
        "OrganizationalUnitArns": [UNIT],
    }

    def is_described(*wanted: dict[str, str]) -> bool:
        return sorted(map(str, shared.permissions())) == sorted(map(str, wanted))

    with unblocked(shared.owner):
        # Both forms at once, as Packer sends them.
        done(shared.change({"Add": every}, **flat))
        assert is_described(*every)
        done(shared.owner.call("ModifyImageAttribute", {**flat, "ImageId": shared.image, "OperationType": "remove"}))
        assert is_described()
        done(shared.change({"Add": every}))
        done(shared.change({"Remove": every[:2]}))
        assert is_described(*every[2:])
        reset = {"ImageId": shared.image, "Attribute": "launchPermission"}
        done(shared.owner.call("ResetImageAttribute", reset))
        assert is_described()


def test_the_other_account_leaves_and_cannot_leave_twice(other: Caller, shared: Shared) -> None:
    cancel = {"ImageId": shared.image}
    assert other.call("CancelImageLaunchPermission", cancel).code == GONE
    done(shared.change({"Add": [{"UserId": other.keys.account_id}, {"UserId": "123456789012"}]}))
    assert done(other.call("CancelImageLaunchPermission", cancel))["Return"] is True
    assert shared.permissions() == [{"UserId": "123456789012"}]
    assert other.call("CancelImageLaunchPermission", cancel).code == GONE
    assert shared.owner.call("CancelImageLaunchPermission", cancel).code == "OperationNotPermitted"


def test_an_account_leaves_an_image_that_its_own_settings_hide(other: Caller, shared: Shared) -> None:
    cancel = {"ImageId": shared.image}
    done(shared.share(UserId=other.keys.account_id))
    nobodys = {"ImageCriteria": [{"ImageProviders": ["none"]}]}
    done(other.call("ReplaceImageCriteriaInAllowedImagesSettings", nobodys))
    done(other.call("EnableAllowedImagesSettings", {"AllowedImagesSettingsState": "enabled"}))
    try:
        assert other.call("DescribeImages", {"ImageIds": [shared.image]}).code == GONE
        assert done(other.call("CancelImageLaunchPermission", cancel))["Return"] is True
        assert other.call("CancelImageLaunchPermission", cancel).code == GONE
    finally:
        done(other.call("DisableAllowedImagesSettings"))
        done(other.call("ReplaceImageCriteriaInAllowedImagesSettings"))
    assert shared.permissions() == []


def test_a_snapshot_is_shared_by_itself(other: Caller, shared: Shared) -> None:
    account = other.keys.account_id
    permission = {"SnapshotId": shared.snapshot, "Attribute": "createVolumePermission"}
    assert read_through_ebs(other, shared.snapshot) == {"InvalidSnapshot.NotFound"}
    done(shared.share_snapshot(CreateVolumePermission={"Add": [{"UserId": account}]}))
    assert read_through_ebs(other, shared.snapshot) == {"DryRunOperation"}
    described = done(shared.owner.call("DescribeSnapshotAttribute", permission))
    assert described["CreateVolumePermissions"] == [{"UserId": account}]
    assert launch(other, shared.image) == GONE, "the image on it is not shared with it"
    for request in ({"RestorableByUserIds": ["self"]}, {"OwnerIds": [shared.owner.keys.account_id]}):
        found = done(other.call("DescribeSnapshots", request))["Snapshots"]
        assert shared.snapshot in [one["SnapshotId"] for one in found], request
    assert (
        done(other.call("DescribeSnapshots", {"OwnerIds": ["self"], "SnapshotIds": [shared.snapshot]}))["Snapshots"]
        == []
    )
    mine = {"RestorableByUserIds": [account]}
    (own,) = done(shared.owner.call("DescribeSnapshots", mine))["Snapshots"]
    assert own["SnapshotId"] == shared.snapshot
    for operation, more in (
        ("DeleteSnapshot", {}),
        ("DescribeSnapshotAttribute", {"Attribute": "productCodes"}),
        ("ModifySnapshotAttribute", {"CreateVolumePermission": {"Add": [{"UserId": account}]}}),
        ("ResetSnapshotAttribute", {"Attribute": "createVolumePermission"}),
    ):
        assert other.call(operation, {"SnapshotId": shared.snapshot, **more}).code == "AuthFailure", operation
    done(shared.owner.call("ResetSnapshotAttribute", permission))
    assert read_through_ebs(other, shared.snapshot) == {"InvalidSnapshot.NotFound"}


def test_a_snapshot_that_an_image_of_another_account_needs_stays(other: Caller, shared: Shared) -> None:
    flat = {"OperationType": "add", "UserIds": [other.keys.account_id]}
    done(shared.share_snapshot(Attribute="createVolumePermission", **flat))
    theirs = done(register(other, shared.snapshot))["ImageId"]
    done(shared.share_snapshot(**{**flat, "OperationType": "remove"}))
    done(shared.owner.call("DeregisterImage", {"ImageId": shared.image}))
    refused = shared.owner.call("DeleteSnapshot", {"SnapshotId": shared.snapshot})
    assert (refused.code, theirs in refused.message) == ("InvalidSnapshot.InUse", False)
    assert launch(other, theirs) == "DryRunOperation"
    done(other.call("DeregisterImage", {"ImageId": theirs}))


def test_nothing_becomes_public_where_that_is_blocked(other: Caller, shared: Shared) -> None:
    owner = shared.owner
    state = done(owner.call("GetImageBlockPublicAccessState"))
    assert (state["ImageBlockPublicAccessState"], state["ManagedBy"]) == ("block-new-sharing", "account")
    refused = shared.share(Group="all")
    assert (refused.code, "DisableImageBlockPublicAccess API" in refused.message) == ("OperationNotPermitted", True)
    done(owner.call("DisableImageBlockPublicAccess"))
    done(shared.share(Group="all"))
    assert launch(other, shared.image) == "DryRunOperation"
    assert done(other.call("DescribeImages", {"ImageIds": [shared.image]}))["Images"][0]["Public"] is True
    done(owner.call("EnableImageBlockPublicAccess", {"ImageBlockPublicAccessState": "block-new-sharing"}))
    # What is public stays so, and may be said again, until it is taken back.
    done(shared.share(Group="all"))
    assert launch(other, shared.image) == "DryRunOperation"
    done(shared.change({"Remove": [{"Group": "all"}]}))
    assert launch(other, shared.image) == GONE
    assert shared.share(Group="all").code == "OperationNotPermitted"


def test_public_snapshots_are_hidden_where_all_sharing_is_blocked(other: Caller, shared: Shared) -> None:
    owner, everybody = shared.owner, {"CreateVolumePermission": {"Add": [{"Group": "all"}]}}
    assert done(owner.call("GetSnapshotBlockPublicAccessState"))["State"] == "block-new-sharing"
    assert shared.share_snapshot(**everybody).code == "OperationNotPermitted"
    assert owner.call("EnableSnapshotBlockPublicAccess", {"State": "unblocked"}).code == "InvalidParameterValue"
    with unblocked(owner):
        done(shared.share_snapshot(**everybody))
    assert read_through_ebs(other, shared.snapshot) == {"DryRunOperation"}
    public = done(other.call("DescribeSnapshots", {"RestorableByUserIds": ["all"]}))["Snapshots"]
    assert shared.snapshot in [one["SnapshotId"] for one in public]
    done(owner.call("EnableSnapshotBlockPublicAccess", {"State": "block-all-sharing"}))
    assert read_through_ebs(other, shared.snapshot) == {"InvalidSnapshot.NotFound"}
    asked = {"SnapshotId": shared.snapshot, "Attribute": "createVolumePermission"}
    described = done(owner.call("DescribeSnapshotAttribute", asked))
    assert described["CreateVolumePermissions"] == [{"Group": "all"}]
    assert read_through_ebs(owner, shared.snapshot) == {"DryRunOperation"}
    done(owner.call("EnableSnapshotBlockPublicAccess", {"State": "block-new-sharing"}))
    assert read_through_ebs(other, shared.snapshot) == {"DryRunOperation"}


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("InvalidAMIAttributeItemValue", {"LaunchPermission": {"Add": [{"UserId": "12345678901"}]}}),
        ("InvalidAMIAttributeItemValue", {"LaunchPermission": {"Remove": [{"Group": "friends"}]}}),
        ("InvalidAMIAttributeItemValue", {"LaunchPermission": {"Add": [{"OrganizationArn": UNIT}]}}),
        ("InvalidAMIAttributeItemValue", {"OperationType": "add", "OrganizationalUnitArns": [ORGANIZATION]}),
        ("InvalidAMIAttributeItemValue", {"OperationType": "add", "UserIds": ["123456789012", "x"]}),
        ("InvalidParameterCombination", {"Description": {"Value": "d"}, "ImdsSupport": {"Value": "v2.0"}}),
        ("InvalidParameterCombination", {"Attribute": "launchPermission", "Value": "v", "UserIds": ["123456789012"]}),
        ("InvalidParameterCombination", {"Attribute": "description", "Value": "v", "OperationType": "add"}),
        (
            "InvalidParameterCombination",
            {"OperationType": "remove", "LaunchPermission": {"Add": [{"UserId": "777788889999"}]}},
        ),
        ("InvalidParameterValue", {"Attribute": "colour", "Value": "red"}),
        ("InvalidParameterValue", {"Attribute": "imdsSupport", "Value": "v1.0"}),
        ("InvalidParameterValue", {"ImdsSupport": {"Value": ""}}),
        ("InvalidProductInfo", {"ProductCodes": ["not a code"]}),
        ("MissingParameter", {"Attribute": "launchPermission", "OperationType": "add"}),
        ("MissingParameter", {"Attribute": "description"}),
        ("MissingParameter", {"UserIds": ["123456789012"]}),
        (
            "MissingParameter",
            {"LaunchPermission": {"Add": [{"UserId": "111122223333"}]}, "UserIds": ["444455556666"]},
        ),
        ("OperationNotPermitted", {"ProductCodes": ["abc"], "OperationType": "remove"}),
        ("ResourceLimitExceeded", {"OperationType": "add", "UserIds": [f"{n:012}" for n in range(1001)]}),
        ("UnsupportedOperation", {"Attribute": "bootMode", "OperationType": "add"}),
    ],
    ids=str,
)
def test_what_cannot_be_said_of_an_image_is_refused_and_changes_nothing(
    shared: Shared, code: str, request_: dict[str, Any]
) -> None:
    def described() -> list[Any]:
        image = done(shared.owner.call("DescribeImages", {"ImageIds": [shared.image]}))["Images"]
        return [image, shared.permissions()]

    before = described()
    assert shared.owner.call("ModifyImageAttribute", {"ImageId": shared.image, **request_}).code == code
    assert described() == before


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("InvalidUserID.Malformed", {"CreateVolumePermission": {"Add": [{"UserId": "12"}]}}),
        ("InvalidParameterValue", {"OperationType": "add", "GroupNames": ["friends"]}),
        ("InvalidParameterValue", {"OperationType": "add", "UserIds": [f"{n:012}" for n in range(501)]}),
        (
            "InvalidParameterCombination",
            {"CreateVolumePermission": {"Add": [{"UserId": "123456789012"}], "Remove": [{"UserId": "123456789013"}]}},
        ),
        (
            "InvalidParameterCombination",
            {"OperationType": "remove", "CreateVolumePermission": {"Add": [{"UserId": "123456789012"}]}},
        ),
        (
            "MissingParameter",
            {"CreateVolumePermission": {"Add": [{"UserId": "123456789012"}]}, "UserIds": ["123456789013"]},
        ),
        ("MissingParameter", {"Attribute": "createVolumePermission"}),
        ("UnsupportedOperation", {"Attribute": "productCodes", "OperationType": "add"}),
    ],
    ids=str,
)
def test_what_cannot_be_said_of_a_snapshot_is_refused(shared: Shared, code: str, request_: dict[str, Any]) -> None:
    assert shared.share_snapshot(**request_).code == code
