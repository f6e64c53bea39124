"""Two regions of one service: each has its own of everything, and both run machines from the same images."""

from typing import Any

import pytest

from tests.api.conftest import unique
from tests.api.test_nouns import refused
from tests.framework.service import Service
from tests.framework.tiny_cloud import launch, wait_for_image, wait_for_state
from tests.framework.tiny_service import HOME_REGION, OTHER_REGION


@pytest.fixture
def elsewhere(service: Service) -> Any:
    """The administrator's client for the other region."""
    return service.client(region=OTHER_REGION)


def test_all_regions_are_listed_at_the_one_endpoint(ec2: Any, service: Service) -> None:
    regions = ec2.describe_regions()["Regions"]
    assert [region["RegionName"] for region in regions] == [HOME_REGION, OTHER_REGION]
    assert {region["Endpoint"] for region in regions} == {f"127.0.0.1:{service.port}"}
    assert ec2.describe_regions(AllRegions=True)["Regions"] == regions
    assert ec2.describe_regions(RegionNames=[OTHER_REGION])["Regions"] == regions[1:]
    named = [{"Name": "region-name", "Values": ["eu-*"]}]
    assert ec2.describe_regions(Filters=named)["Regions"] == regions[1:]
    assert refused(ec2.describe_regions, RegionNames=["mars-north-1"]) == "InvalidParameterValue"


def test_each_region_has_zones_of_its_own(elsewhere: Any) -> None:
    zones = elsewhere.describe_availability_zones()["AvailabilityZones"]
    assert {zone["RegionName"] for zone in zones} == {OTHER_REGION}
    assert (zones[0]["ZoneName"], zones[0]["ZoneId"]) == ("eu-west-1a", "euw1-az1")
    create = elsewhere.create_volume
    assert refused(create, AvailabilityZone="us-east-1a", Size=1) == "InvalidParameterValue"


def test_names_are_free_in_each_region_and_nothing_of_one_is_seen_in_the_other(ec2: Any, elsewhere: Any) -> None:
    name = unique("key")
    here = ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyPairId"]
    there = elsewhere.create_key_pair(KeyName=name, KeyType="ed25519")["KeyPairId"]
    assert elsewhere.describe_key_pairs(KeyNames=[name])["KeyPairs"][0]["KeyPairId"] == there
    assert refused(elsewhere.describe_key_pairs, KeyPairIds=[here]) == "InvalidKeyPair.NotFound"
    group_id = ec2.create_security_group(GroupName=name, Description="d")["GroupId"]
    assert refused(elsewhere.describe_security_groups, GroupIds=[group_id]) == "InvalidGroup.NotFound"
    volume_id = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    assert refused(elsewhere.describe_volumes, VolumeIds=[volume_id]) == "InvalidVolume.NotFound"
    assert volume_id not in str(elsewhere.describe_volumes())
    tag = {"Resources": [volume_id], "Tags": [{"Key": "k", "Value": "v"}]}
    assert refused(elsewhere.create_tags, **tag) == "InvalidVolume.NotFound"


@pytest.mark.programs
def test_an_imported_image_is_public_in_every_region_and_runs_there(
    ec2: Any, elsewhere: Any, image_id: str, service: Service
) -> None:
    here = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    same_name = [{"Name": "name", "Values": [here["Name"]]}]
    (found,) = elsewhere.describe_images(Owners=["amazon"], Filters=same_name)["Images"]
    there = wait_for_image(elsewhere, found["ImageId"])
    assert there["ImageId"] != image_id
    for member in ("Name", "Description", "BootMode", "RootDeviceName", "Public", "OwnerId", "CreationDate"):
        assert there[member] == here[member]
    instance_id = launch(elsewhere, there["ImageId"])
    instance = wait_for_state(elsewhere, instance_id, "running")
    assert instance["Placement"]["AvailabilityZone"] == "eu-west-1a"
    assert instance["PrivateDnsName"].endswith(".eu-west-1.compute.internal")
    assert refused(ec2.describe_instances, InstanceIds=[instance_id]) == "InvalidInstanceID.NotFound"
    assert refused(ec2.run_instances, ImageId=there["ImageId"], MinCount=1, MaxCount=1) == "InvalidAMIID.NotFound"
    assert f"AWS_DEFAULT_REGION={OTHER_REGION}" in service.run_cli("env", "--region", OTHER_REGION)
    assert there["ImageId"] in service.run_cli("image", "list", "--region", OTHER_REGION)
    elsewhere.terminate_instances(InstanceIds=[instance_id])
