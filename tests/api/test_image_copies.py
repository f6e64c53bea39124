"""CopyImage and CopySnapshot between two regions of the real service: rows and manifests, no blocks."""

from typing import Any

import pytest

from bakehouse.main import check_storage, collect_garbage, open_snapshots
from bakehouse.paths import StateDirectory
from tests.api.conftest import unique
from tests.api.test_nouns import refused
from tests.framework.held import held
from tests.framework.patience import WAITS
from tests.framework.service import Keys, Service
from tests.framework.tiny_cloud import launch, wait_for_image, wait_for_state
from tests.framework.tiny_service import HOME_REGION, OTHER_REGION

pytestmark = pytest.mark.programs

TAGS = [{"Key": "team", "Value": "web"}]


@pytest.fixture(scope="module")
def elsewhere(service: Service) -> Any:
    """The administrator's client for the other region."""
    return service.client(region=OTHER_REGION)


@pytest.fixture(scope="module")
def other_keys(service: Service) -> Keys:
    """An account of this module's own: images stay shared with it."""
    return service.new_account()


@pytest.fixture(scope="module")
def own(service: Service, image_id: str) -> dict[str, Any]:
    """An image of the administrator's own, tagged and shared with all that may be."""
    ec2 = service.client()
    copied = ec2.copy_image(
        SourceImageId=image_id,
        SourceRegion=HOME_REGION,
        Name=unique("own"),
        Description="of my own",
        TagSpecifications=[{"ResourceType": "image", "Tags": TAGS}, {"ResourceType": "snapshot", "Tags": TAGS}],
    )
    return wait_for_image(ec2, copied["ImageId"])


def block_bytes(service: Service) -> int:
    """What all blocks take on disk."""
    blocks = StateDirectory(root=service.state_root).blocks / "blocks"
    taken = sum(path.stat().st_size for path in blocks.rglob("*") if path.is_file())
    assert taken
    return taken


def copy(ec2: Any, image_id: str, *, region: str = HOME_REGION, **more: Any) -> dict[str, Any]:
    """Copy an image and wait."""
    made = ec2.copy_image(SourceImageId=image_id, SourceRegion=region, **{"Name": unique("copy"), **more})
    return wait_for_image(ec2, made["ImageId"])


def snapshot_of(image: dict[str, Any]) -> str:
    """The root's snapshot."""
    return str(image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])


def test_a_copy_in_another_region_moves_no_data_and_runs(service: Service, elsewhere: Any, own: dict[str, Any]) -> None:
    before = block_bytes(service)
    there = copy(elsewhere, own["ImageId"], Description="over there")
    assert block_bytes(service) == before
    assert there["State"] == "available"
    assert (there["SourceImageId"], there["SourceImageRegion"]) == (own["ImageId"], HOME_REGION)
    assert (there["Description"], there["Public"], there["Tags"]) == ("over there", False, [])
    assert snapshot_of(there) != snapshot_of(own)
    (snapshot,) = elsewhere.describe_snapshots(SnapshotIds=[snapshot_of(there)])["Snapshots"]
    assert snapshot["State"] == "completed"
    assert snapshot["Description"] == (
        f"Copied for DestinationAmi {there['ImageId']} from SourceAmi {own['ImageId']} "
        f"for SourceSnapshot {snapshot_of(own)}"
    )
    instance_id = launch(elsewhere, there["ImageId"])
    wait_for_state(elsewhere, instance_id, "running")
    elsewhere.terminate_instances(InstanceIds=[instance_id])


def test_tags_are_copied_on_request_and_new_ones_come_over_them(elsewhere: Any, own: dict[str, Any]) -> None:
    assert copy(elsewhere, own["ImageId"], CopyImageTags=True)["Tags"] == TAGS
    wanted = [{"Key": "team", "Value": "ops"}]
    specifications = [{"ResourceType": kind, "Tags": wanted} for kind in ("image", "snapshot")]
    there = copy(elsewhere, own["ImageId"], CopyImageTags=True, TagSpecifications=specifications)
    assert there["Tags"] == wanted
    (snapshot,) = elsewhere.describe_snapshots(SnapshotIds=[snapshot_of(there)])["Snapshots"]
    assert snapshot["Tags"] == wanted


def test_with_whom_an_image_is_shared_is_not_copied(
    service: Service, ec2: Any, other_keys: Keys, own: dict[str, Any]
) -> None:
    source = copy(ec2, own["ImageId"])
    ec2.modify_image_attribute(ImageId=source["ImageId"], LaunchPermission={"Add": [{"UserId": other_keys.account_id}]})
    made = copy(ec2, source["ImageId"])
    other = service.client(keys=other_keys)
    assert other.describe_images(ImageIds=[source["ImageId"]])["Images"]
    assert refused(other.describe_images, ImageIds=[made["ImageId"]]) == "InvalidAMIID.NotFound"


def test_a_shared_image_is_copied_only_by_who_may_read_its_snapshots(
    service: Service, ec2: Any, other_keys: Keys, own: dict[str, Any], image_id: str
) -> None:
    source = copy(ec2, own["ImageId"])
    other = service.client(keys=other_keys)
    parameters = {"SourceImageId": source["ImageId"], "SourceRegion": HOME_REGION, "Name": unique("copy")}
    assert refused(other.copy_image, **parameters) == "InvalidAMIID.NotFound"
    ec2.modify_image_attribute(ImageId=source["ImageId"], LaunchPermission={"Add": [{"UserId": other_keys.account_id}]})
    assert refused(other.copy_image, **parameters) == "InvalidRequest"
    snapshot = {"SourceSnapshotId": snapshot_of(source), "SourceRegion": HOME_REGION}
    assert refused(other.copy_snapshot, **snapshot) == "InvalidSnapshot.NotFound"
    to_other = {"Add": [{"UserId": other_keys.account_id}]}
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_of(source), CreateVolumePermission=to_other)
    (own_copy,) = other.describe_images(ImageIds=[other.copy_image(**parameters)["ImageId"]])["Images"]
    assert own_copy["OwnerId"] == other_keys.account_id
    assert other.copy_snapshot(**snapshot)["SnapshotId"] != snapshot_of(own_copy)
    assert copy(other, image_id)["OwnerId"] == other_keys.account_id


def test_a_copy_is_refused_as_ec2_does(ec2: Any, elsewhere: Any, own: dict[str, Any]) -> None:
    base = {"SourceImageId": own["ImageId"], "SourceRegion": HOME_REGION}
    assert refused(ec2.copy_image, **base, Name=own["Name"]) == "InvalidAMIName.Duplicate"
    assert refused(ec2.copy_image, **base, Name="what?") == "InvalidAMIName.Malformed"
    name = unique("copy")
    assert refused(ec2.copy_image, **{**base, "SourceRegion": "mars-north-1"}, Name=name) == "InvalidParameterValue"
    # It is in the region it is in, and nowhere else.
    assert refused(elsewhere.copy_image, **{**base, "SourceRegion": OTHER_REGION}, Name=name) == "InvalidAMIID.NotFound"
    assert refused(ec2.copy_image, **base, Name=name, Encrypted=True) == "InvalidParameter"
    assert refused(ec2.copy_image, **base, Name=name, KmsKeyId="alias/mine") == "InvalidParameter"
    assert refused(ec2.copy_image, **base, Name=name, DryRun=True) == "DryRunOperation"
    assert copy(elsewhere, own["ImageId"], Name=own["Name"], KmsKeyId="", Encrypted=False)


def test_a_repeated_client_token_makes_one_copy(ec2: Any, own: dict[str, Any]) -> None:
    request = {
        "SourceImageId": own["ImageId"],
        "SourceRegion": HOME_REGION,
        "Name": unique("once"),
        "ClientToken": unique("token"),
    }
    assert ec2.copy_image(**request)["ImageId"] == ec2.copy_image(**request)["ImageId"]


def test_a_pending_image_is_not_copied(service: Service, ec2: Any, image_id: str) -> None:
    instance_id = launch(ec2, image_id)
    wait_for_state(ec2, instance_id, "running")
    with held(service, instance_id):
        pending = ec2.create_image(InstanceId=instance_id, Name=unique("pending"), NoReboot=True)["ImageId"]
        request = {"SourceImageId": pending, "SourceRegion": HOME_REGION, "Name": unique("copy")}
        assert refused(ec2.copy_image, **request) == "InvalidAMIID.Unavailable"
    wait_for_image(ec2, pending)
    ec2.terminate_instances(InstanceIds=[instance_id])


def test_a_snapshot_is_copied_from_another_region(
    service: Service, ec2: Any, elsewhere: Any, own: dict[str, Any]
) -> None:
    before = block_bytes(service)
    made = elsewhere.copy_snapshot(
        SourceSnapshotId=snapshot_of(own),
        SourceRegion=HOME_REGION,
        Description="over there",
        TagSpecifications=[{"ResourceType": "snapshot", "Tags": TAGS}],
    )
    assert made["Tags"] == TAGS
    elsewhere.get_waiter("snapshot_completed").wait(SnapshotIds=[made["SnapshotId"]], WaiterConfig=WAITS)
    (found,) = elsewhere.describe_snapshots(SnapshotIds=[made["SnapshotId"]])["Snapshots"]
    assert (found["Description"], found["Tags"], found["Progress"]) == ("over there", TAGS, "100%")
    assert found["VolumeId"] == "vol-ffffffff"
    assert block_bytes(service) == before
    ec2.get_waiter("image_available").wait(ImageIds=[own["ImageId"]])
    base = {"SourceSnapshotId": snapshot_of(own), "SourceRegion": OTHER_REGION}
    assert refused(elsewhere.copy_snapshot, **base) == "InvalidSnapshot.NotFound"
    assert refused(elsewhere.copy_snapshot, **{**base, "SourceRegion": "mars-north-1"}) == "InvalidParameterValue"


def test_what_was_copied_lives_on_when_its_source_is_gone_and_collected(
    service: Service, ec2: Any, elsewhere: Any, own: dict[str, Any]
) -> None:
    source = copy(ec2, own["ImageId"])
    there = copy(elsewhere, source["ImageId"])
    ec2.deregister_image(ImageId=source["ImageId"])
    ec2.delete_snapshot(SnapshotId=snapshot_of(source))
    collect_garbage(service.settings)
    assert not check_storage(service.settings, lambda _done, _total: None)
    assert elsewhere.describe_images(ImageIds=[there["ImageId"]])["Images"][0]["State"] == "available"


def test_a_copy_of_what_is_not_in_the_store_fails_and_says_so(
    service: Service, ec2: Any, elsewhere: Any, own: dict[str, Any]
) -> None:
    source, name = copy(ec2, own["ImageId"]), unique("lost")
    open_snapshots(service.settings).delete(snapshot_of(source))
    failed = copy(elsewhere, source["ImageId"], Name=name)
    assert failed["State"] == "failed"
    assert failed["StateReason"]["Message"] == f"{snapshot_of(source)} is not in the block store"
    (snapshot,) = elsewhere.describe_snapshots(SnapshotIds=[snapshot_of(failed)])["Snapshots"]
    assert snapshot["State"] == "error"
    assert copy(elsewhere, own["ImageId"], Name=name)["State"] == "available"
    elsewhere.deregister_image(ImageId=failed["ImageId"])
    ec2.deregister_image(ImageId=source["ImageId"], DeleteAssociatedSnapshots=True)
