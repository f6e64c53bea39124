"""Volumes that are changed, looked at and captured together; the guest is one sector and counts on its root."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from bakehouse.paths import StateDirectory
from bakehouse.storage.digest import BLOCK_SIZE
from tests.api.conftest import unique
from tests.framework.belongings import ZONE
from tests.framework.caller import Caller
from tests.framework.calm_guest import COUNT_OFFSET
from tests.framework.held import held
from tests.framework.patience import WAITS
from tests.framework.service import Service
from tests.framework.tiny_cloud import wait_until_it_counts
from tests.framework.tiny_host import wait_for
from tests.framework.two_volumes import running_with_two_volumes

pytestmark = pytest.mark.programs
GIB = 1 << 30


@pytest.fixture(scope="module")
def ec2(service: Service) -> Any:
    """The administrator's client."""
    return service.client()


@pytest.fixture(scope="module")
def instance_id(ec2: Any, image_id: str) -> Iterator[str]:
    """A running instance with a second, tagged volume."""
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "of", "Value": "volume"}]}]
    with running_with_two_volumes(ec2, image_id, size_gib=2, tags=tags) as running:
        yield running


@pytest.fixture(scope="module")
def volume_ids(ec2: Any, instance_id: str) -> list[str]:
    """Its volumes, root first."""
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    by_name = {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in instance["BlockDeviceMappings"]}
    return [by_name.pop(instance["RootDeviceName"]), *by_name.values()]


@pytest.fixture
def spare_id(ec2: Any) -> Iterator[str]:
    """An available volume, deleted at last."""
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=1, VolumeType="gp3")["VolumeId"]
    wait(ec2, "volume_available", VolumeIds=[volume_id])
    yield volume_id
    ec2.delete_volume(VolumeId=volume_id)


def wait(ec2: Any, waiter: str, **what: Any) -> None:
    ec2.get_waiter(waiter).wait(**what, WaiterConfig=WAITS)


def code_of(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return str(refused.value.response["Error"]["Code"])


def volume_of(ec2: Any, volume_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
    return found


def modification_of(ec2: Any, volume_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"][0]
    return found


def modify(ec2: Any, volume_id: str, **changes: Any) -> dict[str, Any]:
    """Change a volume and wait for the end of it."""
    begun = ec2.modify_volume(VolumeId=volume_id, **changes)["VolumeModification"]
    assert begun["ModificationState"] == "modifying"
    wait_for(lambda: modification_of(ec2, volume_id)["ModificationState"] in ("completed", "failed"), "the end of it")
    return modification_of(ec2, volume_id)


def size_on_disk(service: Service, volume_id: str) -> int:
    """The size in the header of the volume's file, whoever has it open."""
    disk = StateDirectory(root=service.state_root).volume(volume_id).disk
    words = ["qemu-img", "info", "-U", "--output=json", str(disk)]
    return int(json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["virtual-size"])


def count_in(service: Service, ec2: Any, snapshot_id: str) -> int:
    """What the guest had counted to on the disk of a snapshot: read from a volume made of it."""
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot_id)["VolumeId"]
    wait(ec2, "volume_available", VolumeIds=[volume_id])
    base = StateDirectory(root=service.state_root).base(snapshot_id)
    with base.open("rb") as file:
        file.seek(COUNT_OFFSET)
        count = int.from_bytes(file.read(4), "little")
    ec2.delete_volume(VolumeId=volume_id)
    return count


def test_all_volumes_of_an_instance_are_captured_at_one_instant_and_it_is_not_rebooted(
    service: Service, ec2: Any, instance_id: str, volume_ids: list[str]
) -> None:
    log = service.serial_log(instance_id)
    wait_until_it_counts(ec2, instance_id)
    shutdowns = log.read_bytes().count(b"S")
    own = [{"ResourceType": "snapshot", "Tags": [{"Key": "of", "Value": "request"}, {"Key": "more", "Value": ""}]}]
    reply = ec2.create_snapshots(
        InstanceSpecification={"InstanceId": instance_id},
        Description="both",
        CopyTagsFromSource="volume",
        TagSpecifications=own,
    )["Snapshots"]
    assert [one["VolumeId"] for one in reply] == volume_ids
    assert {(one["State"], one["Description"], one["StartTime"]) for one in reply} == {
        ("pending", "both", reply[0]["StartTime"])
    }
    ids = [one["SnapshotId"] for one in reply]
    wait(ec2, "snapshot_completed", SnapshotIds=ids)
    found = {one["SnapshotId"]: one for one in ec2.describe_snapshots(SnapshotIds=ids)["Snapshots"]}
    for one in found.values():
        assert {tag["Key"]: tag["Value"] for tag in one["Tags"]} == {"of": "request", "more": ""}
    assert [found[one]["VolumeSize"] for one in ids] == [volume_of(ec2, one)["Size"] for one in volume_ids]
    assert count_in(service, ec2, ids[0]) > 0
    assert log.read_bytes().count(b"S") == shutdowns
    for one in ids:
        ec2.delete_snapshot(SnapshotId=one)


def test_volumes_can_be_left_out_of_a_set_and_tags_are_copied(
    ec2: Any, instance_id: str, volume_ids: list[str], spare_id: str
) -> None:
    def create(**specification: Any) -> list[dict[str, Any]]:
        specification["InstanceId"] = instance_id
        made = ec2.create_snapshots(InstanceSpecification=specification, CopyTagsFromSource="volume")["Snapshots"]
        wait(ec2, "snapshot_completed", SnapshotIds=[one["SnapshotId"] for one in made])
        for one in made:
            assert one["Tags"] == [{"Key": "of", "Value": "volume"}]
            ec2.delete_snapshot(SnapshotId=one["SnapshotId"])
        return list(made)

    root, data = volume_ids
    assert [one["VolumeId"] for one in create(ExcludeBootVolume=True)] == [data]
    assert [one["VolumeId"] for one in create(ExcludeDataVolumeIds=[data])] == [root]

    def refused(**specification: Any) -> str:
        return code_of(ec2.create_snapshots, InstanceSpecification={"InstanceId": instance_id, **specification})

    assert refused(ExcludeBootVolume=True, ExcludeDataVolumeIds=[data]) == "InvalidParameterValue"
    assert refused(ExcludeDataVolumeIds=[root]) == "InvalidParameterValue"
    assert refused(ExcludeDataVolumeIds=[spare_id]) == "InvalidParameterValue"
    assert refused(ExcludeDataVolumeIds=["vol-00000000000000001"]) == "InvalidVolume.NotFound"
    assert refused(ExcludeDataVolumeIds=["vol"]) == "InvalidVolumeID.Malformed"
    nowhere = {"InstanceId": "i-00000000000000001"}
    assert code_of(ec2.create_snapshots, InstanceSpecification=nowhere) == "InvalidInstanceID.NotFound"


def test_a_volume_of_a_running_instance_grows_and_what_is_made_of_it_afterwards_is_right(
    service: Service, ec2: Any, instance_id: str, volume_ids: list[str]
) -> None:
    root, data = volume_ids

    def snapshot() -> str:
        snapshot_id = ec2.create_snapshot(VolumeId=root)["SnapshotId"]
        wait(ec2, "snapshot_completed", SnapshotIds=[snapshot_id])
        return str(snapshot_id)

    wait_until_it_counts(ec2, instance_id)
    before = snapshot()
    wait_until_it_counts(ec2, instance_id)
    done = modify(ec2, root, Size=3)
    assert (done["ModificationState"], done["Progress"]) == ("completed", 100)
    assert (done["OriginalSize"], done["TargetSize"]) == (1, 3)
    assert done["EndTime"] >= done["StartTime"]
    assert (volume_of(ec2, root)["Size"], volume_of(ec2, data)["Size"]) == (3, 2)
    assert (size_on_disk(service, root), size_on_disk(service, data)) == (3 * GIB, 2 * GIB)
    after = snapshot()
    image = ec2.create_image(InstanceId=instance_id, Name=unique("grown"), NoReboot=True)["ImageId"]
    wait(ec2, "image_available", ImageIds=[image])
    mappings = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"]
    assert [one["Ebs"]["VolumeSize"] for one in mappings] == [3, 2]
    assert code_of(ec2.create_volume, AvailabilityZone=ZONE, SnapshotId=after, Size=2) == "InvalidParameterValue"

    wait_until_it_counts(ec2, instance_id)
    ec2.stop_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_stopped", InstanceIds=[instance_id])
    assert modify(ec2, root, Size=4)["ModificationState"] == "completed"
    assert size_on_disk(service, root) == 4 * GIB
    at_rest = snapshot()
    _assert_that_a_set_fails_as_a_whole(service, ec2, instance_id, data)
    ec2.start_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_running", InstanceIds=[instance_id])
    log = service.serial_log(instance_id)
    said = log.stat().st_size
    wait_for(lambda: log.stat().st_size > said, "the guest's counting on the grown disk")
    last = snapshot()

    ids = [before, after, at_rest, last]
    sizes = {one["SnapshotId"]: one["VolumeSize"] for one in ec2.describe_snapshots(SnapshotIds=ids)["Snapshots"]}
    assert [sizes[one] for one in ids] == [1, 3, 4, 4]
    counts = [count_in(service, ec2, one) for one in ids]
    assert 0 < counts[0] < counts[1] < counts[2], "each has what the guest had written by then"
    assert 0 < counts[3] != counts[2], "it counts from one again when it is started again"
    bases = [StateDirectory(root=service.state_root).base(one) for one in ids]
    assert [base.stat().st_size for base in bases] == [GIB, 3 * GIB, 4 * GIB, 4 * GIB]
    assert all(base.stat().st_blocks * 512 < 8 * BLOCK_SIZE for base in bases), "the new room is a hole"

    made = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"]
    ec2.deregister_image(ImageId=image)
    for snapshot_id in (*ids, *(one["Ebs"]["SnapshotId"] for one in made)):
        ec2.delete_snapshot(SnapshotId=snapshot_id)


def _assert_that_a_set_fails_as_a_whole(service: Service, ec2: Any, instance_id: str, volume_id: str) -> None:
    disk = StateDirectory(root=service.state_root).volume(volume_id).disk
    hidden = disk.with_name("hidden")
    disk.rename(hidden)
    try:
        made = ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id})["Snapshots"]
        ids = [one["SnapshotId"] for one in made]

        def states() -> set[str]:
            return {one["State"] for one in ec2.describe_snapshots(SnapshotIds=ids)["Snapshots"]}

        wait_for(lambda: "pending" not in states(), "the end of the set")
    finally:
        hidden.rename(disk)
    assert states() == {"error"}
    for one in ids:
        ec2.delete_snapshot(SnapshotId=one)


def test_a_volumes_type_and_figures_follow_ec2s_rules(service: Service, ec2: Any, spare_id: str) -> None:
    with pytest.raises(ClientError) as never:
        modification_of(ec2, spare_id)
    assert never.value.response["Error"]["Code"] == "InvalidVolumeModification.NotFound"
    assert modify(ec2, spare_id, Iops=4000, Throughput=250, Size=10)["ModificationState"] == "completed"
    assert modify(ec2, spare_id, Size=20)["TargetIops"] == 4000, "what is not asked for stays"
    done = modify(ec2, spare_id, VolumeType="gp2")
    assert (done["OriginalVolumeType"], done["OriginalIops"], done["OriginalThroughput"]) == ("gp3", 4000, 250)
    assert "TargetThroughput" not in done
    volume = volume_of(ec2, spare_id)
    assert (volume["VolumeType"], volume["Size"], volume["Iops"]) == ("gp2", 20, 100)
    assert modify(ec2, spare_id, Size=100)["TargetIops"] == 300, "gp2 earns its figure by its size"
    done = modify(ec2, spare_id, VolumeType="io1")
    assert (done["TargetIops"], volume_of(ec2, spare_id)["Iops"]) == (3000, 3000)
    assert size_on_disk(service, spare_id) == 100 * GIB

    def refused(**changes: Any) -> str:
        return code_of(ec2.modify_volume, VolumeId=spare_id, **changes)

    assert refused(Size=99) == "InvalidParameterValue"
    assert refused(Size=16_385) == "InvalidParameterValue"
    assert refused(Iops=64_000) == "InvalidParameterValue"
    assert refused(Throughput=125) == "InvalidParameterCombination"
    assert refused(VolumeType="gp4") == "InvalidParameterValue"
    assert refused() == "MissingParameter"
    assert refused(MultiAttachEnabled=True, Size=101) == "InvalidParameter"
    assert code_of(ec2.modify_volume, VolumeId="vol-00000000000000001", Size=1) == "InvalidVolume.NotFound"
    assert volume_of(ec2, spare_id)["Size"] == 100


def test_a_root_stays_of_a_type_that_can_boot(ec2: Any, volume_ids: list[str]) -> None:
    assert code_of(ec2.modify_volume, VolumeId=volume_ids[0], VolumeType="st1", Size=125) == "InvalidParameterValue"


def test_a_second_modification_waits_for_the_first(
    service: Service, ec2: Any, instance_id: str, volume_ids: list[str]
) -> None:
    size = volume_of(ec2, volume_ids[0])["Size"]
    with held(service, instance_id):
        ec2.modify_volume(VolumeId=volume_ids[0], Size=size + 1)
        assert code_of(ec2.modify_volume, VolumeId=volume_ids[0], Size=size + 2) == "IncorrectModificationState"
    wait_for(lambda: modification_of(ec2, volume_ids[0])["ModificationState"] == "completed", "the end of the first")
    names = {"modification-state": "completed", "target-size": str(size + 1), "volume-id": volume_ids[0]}
    filters = [{"Name": name, "Values": [value]} for name, value in names.items()]
    (found,) = ec2.describe_volumes_modifications(Filters=filters)["VolumesModifications"]
    assert found["VolumeId"] == volume_ids[0]


def test_a_snapshot_that_was_asked_for_while_its_volume_grew_has_the_size_it_was_taken_with(
    service: Service, ec2: Any, instance_id: str, volume_ids: list[str]
) -> None:
    data = volume_ids[1]
    size = volume_of(ec2, data)["Size"]
    ec2.modify_volume(VolumeId=data, Size=size + 1)
    snapshot_id = ec2.create_snapshot(VolumeId=data)["SnapshotId"]
    name = unique("growing")
    image = ec2.create_image(InstanceId=instance_id, Name=name, NoReboot=True)["ImageId"]
    wait(ec2, "snapshot_completed", SnapshotIds=[snapshot_id])
    wait(ec2, "image_available", ImageIds=[image])
    made = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"]
    sizes = {one["Ebs"]["SnapshotId"]: one["Ebs"]["VolumeSize"] for one in made}
    sizes[snapshot_id] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["VolumeSize"]
    assert sizes[snapshot_id] in (size, size + 1)
    for one, gib in sizes.items():
        count_in(service, ec2, one)
        assert StateDirectory(root=service.state_root).base(one).stat().st_size == gib * GIB
    ec2.deregister_image(ImageId=image)
    for one in sizes:
        ec2.delete_snapshot(SnapshotId=one)


def test_the_status_of_a_volume_is_what_its_files_say(service: Service, ec2: Any, spare_id: str) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = ec2.describe_volume_status(VolumeIds=[spare_id])["VolumeStatuses"][0]
        return found

    well = status()
    assert (well["VolumeStatus"]["Status"], well["AvailabilityZone"], well["Events"]) == ("ok", ZONE, [])
    assert {"Name": "io-enabled", "Status": "passed"} in well["VolumeStatus"]["Details"]
    disk = StateDirectory(root=service.state_root).volume(spare_id).disk
    hidden = disk.with_name("hidden")
    disk.rename(hidden)
    filters = [{"Name": "volume-status.status", "Values": ["impaired"]}]
    try:
        ill = status()
        assert [one["VolumeId"] for one in ec2.describe_volume_status(Filters=filters)["VolumeStatuses"]] == [spare_id]
    finally:
        hidden.rename(disk)
    assert ill["VolumeStatus"]["Status"] == "impaired"
    assert {"Name": "io-enabled", "Status": "failed"} in ill["VolumeStatus"]["Details"]
    assert "No such file" in ill["Events"][0]["Description"]
    assert status() == well


def test_attributes_of_a_volume_are_kept(ec2: Any, administrator: Caller, spare_id: str) -> None:
    def auto_enable_io() -> bool:
        reply = ec2.describe_volume_attribute(VolumeId=spare_id, Attribute="autoEnableIO")
        return bool(reply["AutoEnableIO"]["Value"])

    assert not auto_enable_io()
    ec2.modify_volume_attribute(VolumeId=spare_id, AutoEnableIO={"Value": True})
    assert auto_enable_io()
    assert ec2.describe_volume_attribute(VolumeId=spare_id, Attribute="productCodes")["ProductCodes"] == []
    none = administrator.call("ModifyVolumeAttribute", {"VolumeId": spare_id})
    assert none.code == "InvalidParameterCombination"


def test_nothing_is_encrypted_and_nothing_says_so(ec2: Any) -> None:
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    assert code_of(ec2.create_volume, AvailabilityZone=ZONE, Size=1, Encrypted=True) == "InvalidParameter"
    assert {one["Encrypted"] for one in ec2.describe_volumes()["Volumes"]} == {False}


def test_volumes_are_found_by_every_filter_of_ec2(ec2: Any, volume_ids: list[str], instance_id: str) -> None:
    values = {
        "attachment.instance-id": instance_id,
        "attachment.device": "/dev/sdf",
        "attachment.status": "attached",
        "attachment.delete-on-termination": "true",
        "availability-zone": ZONE,
        "availability-zone-id": "use1-az1",
        "encrypted": "false",
        "fast-restored": "false",
        "multi-attach-enabled": "false",
        "operator.managed": "false",
        "status": "in-use",
        "tag:of": "volume",
        "tag-key": "of",
        "volume-type": "gp3",
    }
    filters = [{"Name": name, "Values": [value]} for name, value in values.items()]
    assert [one["VolumeId"] for one in ec2.describe_volumes(Filters=filters)["Volumes"]] == [volume_ids[1]]
