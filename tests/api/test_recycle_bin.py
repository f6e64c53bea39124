"""Recycle Bin over the wire: its rules by boto3's rbin, what they keep by its ec2."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from tests.api.conftest import unique
from tests.framework.belongings import Belongings
from tests.framework.patience import WAITS
from tests.framework.service import Keys, Service
from tests.framework.tiny_service import OTHER_REGION

WEEK = {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"}
DELAY = {"UnlockDelay": {"UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS"}}


@pytest.fixture
def rbin(service: Service) -> Any:
    return service.client("rbin")


@pytest.fixture
def kept_tag(rbin: Any) -> Iterator[dict[str, str]]:
    """A tag of which everything is kept for a week."""
    tag = {"Key": unique("keep"), "Value": "yes"}
    of = [{"ResourceTagKey": tag["Key"], "ResourceTagValue": tag["Value"]}]
    rules = [
        rbin.create_rule(ResourceType=kind, RetentionPeriod=WEEK, ResourceTags=of)["Identifier"]
        for kind in ("EC2_IMAGE", "EBS_SNAPSHOT")
    ]
    yield tag
    for identifier in rules:
        rbin.delete_rule(Identifier=identifier)


def refusal(call: Any, **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_rule_from_its_making_to_its_end(service: Service) -> None:
    # For an account of its own: a locked rule is there for a week at least, and keeps everything.
    rbin = service.client("rbin", service.new_account())
    excluded = [{"ResourceTagKey": "a", "ResourceTagValue": "b"}]
    made = rbin.create_rule(
        ResourceType="EC2_IMAGE",
        RetentionPeriod=WEEK,
        Description="a week",
        ExcludeResourceTags=excluded,
        Tags=[{"Key": "k", "Value": "é"}],
        LockConfiguration=DELAY,
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    identifier, arn = made["Identifier"], made["RuleArn"]
    assert (made["LockState"], made["Status"], made["LockConfiguration"]) == ("locked", "available", DELAY)
    shown = rbin.get_rule(Identifier=identifier)
    assert (shown["RetentionPeriod"], shown["Description"], shown["ExcludeResourceTags"]) == (WEEK, "a week", excluded)
    listed = rbin.list_rules(ResourceType="EC2_IMAGE", LockState="locked")["Rules"]
    assert identifier in [rule["Identifier"] for rule in listed]
    assert identifier not in str(rbin.list_rules(ResourceType="EBS_SNAPSHOT")["Rules"])
    assert refusal(rbin.delete_rule, Identifier=identifier) == ("ConflictException", 409)
    assert refusal(rbin.update_rule, Identifier=identifier, Description="x") == ("ConflictException", 409)
    pending = rbin.unlock_rule(Identifier=identifier)
    assert pending["LockState"] == "pending_unlock"
    assert rbin.get_rule(Identifier=identifier)["LockEndTime"] == pending["LockEndTime"]
    assert rbin.lock_rule(Identifier=identifier, LockConfiguration=DELAY)["LockState"] == "locked"
    assert refusal(rbin.lock_rule, Identifier=identifier, LockConfiguration=DELAY) == ("ConflictException", 409)
    rbin.tag_resource(ResourceArn=arn, Tags=[{"Key": "l", "Value": ""}, {"Key": "m", "Value": "n"}])
    rbin.untag_resource(ResourceArn=arn, TagKeys=["k", "m"])
    assert rbin.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "l", "Value": ""}]


def test_rules_change_page_and_go(rbin: Any) -> None:
    made = [rbin.create_rule(ResourceType="EBS_SNAPSHOT", RetentionPeriod=WEEK)["Identifier"] for _ in range(3)]
    two_days = {**WEEK, "RetentionPeriodValue": 2}
    changed = rbin.update_rule(Identifier=made[0], RetentionPeriod=two_days, Description="d")
    assert (changed["RetentionPeriod"], changed["Description"], changed["LockState"]) == (two_days, "d", "unlocked")
    pages = rbin.get_paginator("list_rules").paginate(ResourceType="EBS_SNAPSHOT", PaginationConfig={"PageSize": 2})
    listed = [rule["Identifier"] for page in pages for rule in page["Rules"]]
    assert set(made) <= set(listed)
    assert len(set(listed)) == len(listed)
    for identifier in made:
        assert rbin.delete_rule(Identifier=identifier)["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert refusal(rbin.get_rule, Identifier=identifier) == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize(
    "parameters",
    [
        {"ResourceType": "EBS_VOLUME"},
        {"ResourceType": "SOMETHING"},
        {"RetentionPeriod": {**WEEK, "RetentionPeriodValue": 366}},
        {"RetentionPeriod": {**WEEK, "RetentionPeriodUnit": "YEARS"}},
        {"ResourceTags": [{"ResourceTagKey": "a"}], "ExcludeResourceTags": [{"ResourceTagKey": "b"}]},
        {"ResourceTags": [{"ResourceTagKey": "a"}], "LockConfiguration": DELAY},
        {"ResourceTags": [{"ResourceTagKey": "a"}, {"ResourceTagKey": "a"}]},
        {"Description": "two\nlines"},
    ],
)
def test_rules_that_cannot_be(rbin: Any, parameters: dict[str, Any]) -> None:
    asked = {"ResourceType": "EC2_IMAGE", "RetentionPeriod": WEEK, **parameters}
    assert refusal(rbin.create_rule, **asked) == ("ValidationException", 400)


def test_an_image_and_its_snapshot_come_back_as_they_were(
    service: Service, ec2: Any, kept_tag: dict[str, str], belongings: Belongings
) -> None:
    snapshot_id, image_id, name = make_image(ec2, belongings.volume, kept_tag)
    before = ec2.describe_images(ImageIds=[image_id])["Images"], ec2.describe_snapshots(SnapshotIds=[snapshot_id])
    ec2.deregister_image(ImageId=image_id)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    (kept,) = ec2.list_images_in_recycle_bin(ImageIds=[image_id])["Images"]
    assert (kept["Name"], (kept["RecycleBinExitTime"] - kept["RecycleBinEnterTime"]).days) == (name, 7)
    (kept,) = ec2.list_snapshots_in_recycle_bin(SnapshotIds=[snapshot_id])["Snapshots"]
    assert kept["VolumeId"] == belongings.volume
    assert refusal(ec2.describe_images, ImageIds=[image_id])[0] == "InvalidAMIID.Unavailable"
    assert refusal(ec2.describe_snapshots, SnapshotIds=[snapshot_id])[0] == "InvalidSnapshot.NotFound"
    assert refusal(ec2.deregister_image, ImageId=image_id)[0] == "InvalidAMIID.Unavailable"
    assert refusal(ec2.delete_snapshot, SnapshotId=snapshot_id)[0] == "InvalidSnapshot.NotFound"
    launch = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.nano"}
    assert refusal(ec2.run_instances, **launch)[0] == "InvalidAMIID.Unavailable"
    assert refusal(ec2.restore_image_from_recycle_bin, ImageId=image_id)[0] == "InvalidSnapshot.NotFound"
    service.run_cli("gc")
    ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot_id)
    ec2.restore_image_from_recycle_bin(ImageId=image_id)
    after = ec2.describe_images(ImageIds=[image_id])["Images"], ec2.describe_snapshots(SnapshotIds=[snapshot_id])
    assert without_ids(after) == without_ids(before)
    service.run_cli("check")
    assert refusal(ec2.restore_image_from_recycle_bin, ImageId=image_id)[0] == "InvalidAMIID.NotFound"
    assert refusal(ec2.restore_snapshot_from_recycle_bin, SnapshotId=snapshot_id)[0] == "InvalidSnapshot.NotFound"


def test_a_taken_name_keeps_an_image_in_the_bin_and_what_no_rule_matches_is_gone(
    ec2: Any, kept_tag: dict[str, str], belongings: Belongings
) -> None:
    snapshot_id, image_id, name = make_image(ec2, belongings.volume, kept_tag)
    ec2.deregister_image(ImageId=image_id)
    taken_by = register(ec2, snapshot_id, name)
    assert refusal(ec2.restore_image_from_recycle_bin, ImageId=image_id)[0] == "InvalidAMIName.Duplicate"
    ec2.deregister_image(ImageId=taken_by)
    assert taken_by not in str(ec2.list_images_in_recycle_bin()["Images"])
    ec2.restore_image_from_recycle_bin(ImageId=image_id)
    assert ec2.describe_images(ImageIds=[image_id])["Images"][0]["Tags"] == [kept_tag]


def test_another_account_and_another_region_have_bins_of_their_own(
    service: Service, rbin: Any, ec2: Any, other_keys: Keys, kept_tag: dict[str, str], belongings: Belongings
) -> None:
    rule = rbin.create_rule(ResourceType="EC2_IMAGE", RetentionPeriod=WEEK, ResourceTags=[{"ResourceTagKey": "none"}])
    snapshot_id, image_id, _ = make_image(ec2, belongings.volume, kept_tag)
    ec2.deregister_image(ImageId=image_id)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    for how in ({"keys": other_keys}, {"region": OTHER_REGION}):
        theirs = service.client("rbin", **how)
        identifier, arn = rule["Identifier"], rule["RuleArn"]
        for call in (theirs.get_rule, theirs.delete_rule, theirs.unlock_rule, theirs.update_rule):
            assert refusal(call, Identifier=identifier) == ("ResourceNotFoundException", 404)
        lock = {"Identifier": identifier, "LockConfiguration": DELAY}
        assert refusal(theirs.lock_rule, **lock) == ("ResourceNotFoundException", 404)
        assert refusal(theirs.list_tags_for_resource, ResourceArn=arn) == ("ResourceNotFoundException", 404)
        assert refusal(theirs.untag_resource, ResourceArn=arn, TagKeys=["k"]) == ("ResourceNotFoundException", 404)
        tags = [{"Key": "k", "Value": "v"}]
        assert refusal(theirs.tag_resource, ResourceArn=arn, Tags=tags) == ("ResourceNotFoundException", 404)
        assert identifier not in str(theirs.list_rules(ResourceType="EC2_IMAGE")["Rules"])
        client = service.client(**how)
        assert client.list_images_in_recycle_bin(ImageIds=[image_id])["Images"] == []
        assert client.list_snapshots_in_recycle_bin()["Snapshots"] == []
        assert refusal(client.restore_image_from_recycle_bin, ImageId=image_id)[0] == "InvalidAMIID.NotFound"
        missing = refusal(client.restore_snapshot_from_recycle_bin, SnapshotId=snapshot_id)
        assert missing[0] == "InvalidSnapshot.NotFound"
    rbin.delete_rule(Identifier=rule["Identifier"])


def make_image(ec2: Any, volume_id: str, tag: dict[str, str]) -> tuple[str, str, str]:
    """A snapshot and an image of it, both tagged; their ids, and the image's name."""
    tagged = [{"ResourceType": "snapshot", "Tags": [tag]}]
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id, TagSpecifications=tagged)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=WAITS)
    name = unique("image")
    image_id = register(ec2, snapshot_id, name)
    ec2.create_tags(Resources=[image_id], Tags=[tag])
    return snapshot_id, image_id, name


def register(ec2: Any, snapshot_id: str, name: str) -> str:
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    image = ec2.register_image(Name=name, RootDeviceName="/dev/xvda", BlockDeviceMappings=[mapping])
    return str(image["ImageId"])


def without_ids(described: tuple[list[dict[str, Any]], dict[str, Any]]) -> str:
    images, snapshots = described
    return json.dumps([images, snapshots["Snapshots"]], default=str)
