"""Launch templates through unmodified boto3: kept as given, versioned, and launched from."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from bakehouse.database.models import LaunchTemplate
from bakehouse.database.session import Database
from bakehouse.domain import launch_templates
from bakehouse.paths import StateDirectory
from tests.api.conftest import unique
from tests.api.test_nouns import refused
from tests.framework.belongings import Belongings
from tests.framework.identities import allow, deny, new_profile, new_role, new_user, trusting
from tests.framework.patience import WAITS
from tests.framework.service import Keys, Service
from tests.framework.tiny_service import HOME_REGION

pytestmark = pytest.mark.programs
NANO = {"InstanceType": "t3.nano"}
ONE = {"MinCount": 1, "MaxCount": 1}
# Of every kind of member something, and much that no launch here would honour.
EVERYTHING: dict[str, Any] = {
    "BlockDeviceMappings": [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 9, "Encrypted": True, "KmsKeyId": "alias/k", "Iops": 3000}},
        {"DeviceName": "/dev/sdb", "NoDevice": ""},
        {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"},
    ],
    "CapacityReservationSpecification": {"CapacityReservationPreference": "none"},
    "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1},
    "CreditSpecification": {"CpuCredits": "unlimited"},
    "DisableApiTermination": False,
    "EbsOptimized": True,
    "ElasticGpuSpecifications": [{"Type": "eg1.medium"}],
    "IamInstanceProfile": {"Name": "nobody-made-it"},
    "ImageId": "resolve:ssm:/images/web:3",
    "InstanceMarketOptions": {
        "MarketType": "spot",
        "SpotOptions": {"MaxPrice": "0.5", "ValidUntil": datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)},
    },
    "InstanceRequirements": {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}, "MemoryGiBPerVCpu": {"Max": 2.5}},
    "KernelId": "aki-12345678",
    "MetadataOptions": {"HttpTokens": "required"},
    "Monitoring": {"Enabled": True},
    "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-12345678"], "Ipv6Addresses": [{"Ipv6Address": "::1"}]}],
    "RamDiskId": "ari-12345678",
    "TagSpecifications": [
        {
            "ResourceType": "spot-instances-request",
            "Tags": [{"Key": "empty", "Value": ""}, {"Key": "é", "Value": "<&>"}],
        }
    ],
    "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
}


@pytest.fixture
def make(ec2: Any) -> Iterator[Any]:
    """Makes templates by their data, and deletes them at the end; gives their ids."""
    made = []

    def create(data: dict[str, Any], **parameters: Any) -> str:
        name = parameters.pop("LaunchTemplateName", unique("template"))
        reply = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data, **parameters)
        made.append(reply["LaunchTemplate"]["LaunchTemplateId"])
        return str(made[-1])

    yield create
    for template_id in made:
        try:
            ec2.delete_launch_template(LaunchTemplateId=template_id)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidLaunchTemplateId.NotFound"


def versions(ec2: Any, template_id: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ec2.describe_launch_template_versions(LaunchTemplateId=template_id, **parameters)[
        "LaunchTemplateVersions"
    ]
    return found


def numbers(ec2: Any, template_id: str, **parameters: Any) -> list[int]:
    return [one["VersionNumber"] for one in versions(ec2, template_id, **parameters)]


def described(ec2: Any, template_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_launch_templates(LaunchTemplateIds=[template_id])["LaunchTemplates"][0]
    return found


def add(ec2: Any, template_id: str, data: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    reply = ec2.create_launch_template_version(LaunchTemplateId=template_id, LaunchTemplateData=data, **parameters)
    version: dict[str, Any] = reply["LaunchTemplateVersion"]
    return version


def launched(ec2: Any, **parameters: Any) -> dict[str, Any]:
    """Launch one, look at it while it is pending, and end it."""
    instance_id = ec2.run_instances(**ONE, **parameters)["Instances"][0]["InstanceId"]
    found: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    return found


def tags_of(item: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", item.get("TagSet", []))}


def dry(ec2: Any, **parameters: Any) -> str:
    return refused(ec2.run_instances, **ONE, **parameters, DryRun=True)


# --- kept as given ---


def test_data_is_echoed_exactly_also_what_no_launch_honours(ec2: Any, make: Any) -> None:
    template_id = make(EVERYTHING, VersionDescription="all of it")
    [version] = versions(ec2, template_id)
    assert version["LaunchTemplateData"] == EVERYTHING
    assert version["VersionDescription"] == "all of it"
    assert "VersionDescription" not in add(ec2, template_id, NANO)
    assert versions(ec2, template_id, Versions=["2"])[0]["LaunchTemplateData"] == NANO


def test_a_new_template_says_what_it_is_and_who_made_it(ec2: Any, make: Any, service: Service) -> None:
    own_tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "use", "Value": "test"}]}]
    template = described(ec2, make(NANO, TagSpecifications=own_tags))
    assert template["CreatedBy"].startswith(f"arn:aws:iam::{service.administrator.account_id}:")
    assert (template["DefaultVersionNumber"], template["LatestVersionNumber"]) == (1, 1)
    assert tags_of(template) == {"use": "test"}
    assert (datetime.now(UTC) - template["CreateTime"]).total_seconds() < 600
    [version] = versions(ec2, template["LaunchTemplateId"])
    assert version["DefaultVersion"] is True
    assert version["CreatedBy"] == template["CreatedBy"]


def test_what_a_launch_would_refuse_is_answered_as_a_warning(ec2: Any, make: Any, image_id: str) -> None:
    def warned(data: dict[str, Any]) -> dict[str, str]:
        reply = ec2.create_launch_template(LaunchTemplateName=unique("warned"), LaunchTemplateData=data)
        ec2.delete_launch_template(LaunchTemplateId=reply["LaunchTemplate"]["LaunchTemplateId"])
        return {each["Code"]: each["Message"] for each in reply.get("Warning", {}).get("Errors", [])}

    assert warned({"ImageId": image_id, **NANO}) == {}
    assert warned({"KeyName": "a-launch-may-name-the-image"}) == {}
    assert "KernelId" in warned({"KernelId": "aki-12345678"})["InvalidParameter"]
    assert (
        "InstanceRequirements"
        in warned({"InstanceRequirements": EVERYTHING["InstanceRequirements"]})["InvalidParameter"]
    )
    assert set(warned({"ImageId": "ami-00000000000000001"})) == {"InvalidAMIID.NotFound"}
    assert set(warned({"ImageId": image_id, "KeyName": "nobody-has-it"})) == {"InvalidKeyPair.NotFound"}


# --- names, ids, bad input ---


def test_names_are_unique_in_an_account_and_free_again(ec2: Any, make: Any, service: Service, other_keys: Keys) -> None:
    name = "a-Z(0).9/_" + unique("")
    template_id = make(NANO, LaunchTemplateName=name)
    create = {"LaunchTemplateName": name, "LaunchTemplateData": NANO}
    assert refused(ec2.create_launch_template, **create) == "InvalidLaunchTemplateName.AlreadyExistsException"
    assert service.client(keys=other_keys).create_launch_template(**create)
    assert ec2.delete_launch_template(LaunchTemplateName=name)["LaunchTemplate"]["LaunchTemplateId"] == template_id
    assert make(NANO, LaunchTemplateName=name) != template_id


@pytest.mark.parametrize("name", ["ab", "a" * 129, "a b c", "käse", "a\nb", "a*b"])
def test_a_malformed_name_is_refused(ec2: Any, name: str) -> None:
    malformed = "InvalidLaunchTemplateName.MalformedException"
    assert refused(ec2.create_launch_template, LaunchTemplateName=name, LaunchTemplateData=NANO) == malformed


def test_what_does_not_exist_has_codes_of_its_own(ec2: Any) -> None:
    by_id, by_name = {"LaunchTemplateId": "lt-00000000000000001"}, {"LaunchTemplateName": "nobody-has-it"}
    for call, more in (
        (ec2.delete_launch_template, {}),
        (ec2.modify_launch_template, {"DefaultVersion": "1"}),
        (ec2.describe_launch_template_versions, {}),
        (ec2.delete_launch_template_versions, {"Versions": ["1"]}),
        (ec2.create_launch_template_version, {"LaunchTemplateData": NANO}),
    ):
        assert refused(call, **by_id, **more) == "InvalidLaunchTemplateId.NotFound"
        assert refused(call, **by_name, **more) == "InvalidLaunchTemplateName.NotFoundException"
        assert refused(call, LaunchTemplateId="nonsense", **more) == "InvalidLaunchTemplateId.Malformed"
        assert refused(call, **by_id, **by_name, **more) == "InvalidParameterCombination"
    assert dry(ec2, LaunchTemplate=by_id) == "InvalidLaunchTemplateId.NotFound"
    assert dry(ec2, LaunchTemplate=by_name) == "InvalidLaunchTemplateName.NotFoundException"
    assert dry(ec2, LaunchTemplate={"Version": "1"}) == "MissingParameter"
    listing = ec2.describe_launch_templates
    assert refused(listing, LaunchTemplateIds=["lt-00000000000000001"]) == "InvalidLaunchTemplateId.NotFound"
    assert refused(listing, LaunchTemplateNames=["nobody"]) == "InvalidLaunchTemplateName.NotFoundException"
    assert refused(ec2.describe_launch_template_versions) == "MissingParameter"


def test_versions_that_do_not_exist_or_are_none_are_refused(ec2: Any, make: Any, image_id: str) -> None:
    template_id = make({"ImageId": image_id, **NANO})
    named = {"LaunchTemplateId": template_id}
    missing = "InvalidLaunchTemplateId.VersionNotFound"
    assert refused(ec2.describe_launch_template_versions, **named, Versions=["1", "666"]) == missing
    assert refused(ec2.modify_launch_template, **named, DefaultVersion="666") == missing
    source = {"LaunchTemplateData": NANO, "SourceVersion": "666"}
    assert refused(ec2.create_launch_template_version, **named, **source) == missing
    assert dry(ec2, LaunchTemplate={**named, "Version": "666"}) == missing
    for version in ("x", "-1", "1.0", "$latest", "9" * 19):
        assert dry(ec2, LaunchTemplate={**named, "Version": version}) == "InvalidParameterValue"
        assert refused(ec2.delete_launch_template_versions, **named, Versions=[version]) == "InvalidParameterValue"
    assert refused(ec2.describe_launch_template_versions, **named, Versions=["1"] * 201) == "InvalidParameterValue"
    assert refused(ec2.modify_launch_template, **named) == "MissingParameter"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({}, "MissingParameter"),
        ({"InstanceType": "t99.huge"}, "InvalidParameterValue"),
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed"),
        ({"ImageId": "resolve:ssm:"}, "InvalidAMIID.Malformed"),
        ({"ImageId": "resolve:ssm::3"}, "InvalidAMIID.Malformed"),
        ({"UserData": "no base64!"}, "InvalidUserData.Malformed"),
        ({"UserData": base64.b64encode(b"x" * 16385).decode()}, "InvalidParameterValue"),
        ({"KeyName": "k" * 300_000}, "InvalidParameterValue"),
        ({"KeyName": "a\0b"}, "InvalidCharacter"),
        ({"SecurityGroupIds": [f"sg-{number:017x}" for number in range(10_001)]}, "MalformedQueryString"),
        ({"TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "a"}]}]}, "InvalidParameterValue"),
    ],
)
def test_malformed_and_huge_data_is_refused_and_nothing_is_kept(
    ec2: Any, make: Any, data: dict[str, Any], code: str
) -> None:
    name = unique("malformed")
    assert refused(ec2.create_launch_template, LaunchTemplateName=name, LaunchTemplateData=data) == code
    template_id = make(NANO, LaunchTemplateName=name)
    assert refused(ec2.create_launch_template_version, LaunchTemplateId=template_id, LaunchTemplateData=data) == code
    assert numbers(ec2, template_id) == [1]


def test_a_description_has_at_most_255_characters(ec2: Any, make: Any) -> None:
    template_id = make(NANO, VersionDescription="d" * 255)
    create = {"LaunchTemplateData": NANO, "VersionDescription": "d" * 256}
    assert refused(ec2.create_launch_template, LaunchTemplateName=unique("long"), **create) == "InvalidParameterValue"
    assert (
        refused(ec2.create_launch_template_version, LaunchTemplateId=template_id, **create) == "InvalidParameterValue"
    )


def test_a_client_token_makes_one_template_and_one_version(ec2: Any, make: Any) -> None:
    name, token = unique("token"), unique("token")
    template_id = make(NANO, LaunchTemplateName=name, ClientToken=token)
    assert make(NANO, LaunchTemplateName=name, ClientToken=token) == template_id
    again = {"LaunchTemplateName": name, "LaunchTemplateData": {"InstanceType": "t3.micro"}, "ClientToken": token}
    assert refused(ec2.create_launch_template, **again) == "IdempotentParameterMismatch"
    assert add(ec2, template_id, NANO, ClientToken=token) == add(ec2, template_id, NANO, ClientToken=token)
    assert numbers(ec2, template_id) == [2, 1]


def test_user_data_is_not_logged(ec2: Any, make: Any, service: Service) -> None:
    secret = base64.b64encode(unique("secret").encode()).decode()
    template_id = make({"UserData": secret, "KernelId": "aki-12345678"})
    assert dry(ec2, LaunchTemplate={"LaunchTemplateId": template_id}) == "InvalidParameter"
    log = service.state_root.with_name(f"{service.state_root.name}.log").read_text()
    assert "CreateLaunchTemplate" in log
    assert secret not in log


# --- versions ---


def test_versions_are_numbered_listed_and_bounded(ec2: Any, make: Any) -> None:
    template_id = make(NANO)
    for _ in range(3):
        add(ec2, template_id, NANO)
    assert described(ec2, template_id)["LatestVersionNumber"] == 4
    assert numbers(ec2, template_id) == [4, 3, 2, 1]
    assert numbers(ec2, template_id, Versions=["2", "$Latest", "$Default", "4"]) == [4, 2, 1]
    assert numbers(ec2, template_id, MinVersion="2", MaxVersion="3") == [3, 2]
    assert numbers(ec2, template_id, MinVersion="3") == [4, 3]
    assert numbers(ec2, template_id, MaxVersion="1") == [1]
    assert numbers(ec2, template_id, MinVersion="9") == []
    pages = ec2.get_paginator("describe_launch_template_versions").paginate(
        LaunchTemplateId=template_id, PaginationConfig={"PageSize": 1}
    )
    assert [[one["VersionNumber"] for one in page["LaunchTemplateVersions"]] for page in pages] == [[4], [3], [2], [1]]


def test_versions_come_in_pages_of_two_hundred_and_filters_look_at_all(service: Service, ec2: Any, make: Any) -> None:
    template_id = make({**NANO, "KeyName": "first"})
    database = Database(f"sqlite:///{StateDirectory(root=service.state_root).database}")
    with database.transaction(region=HOME_REGION) as session:
        template = session.get_one(LaunchTemplate, template_id)
        for _ in range(204):
            launch_templates.add_version(session, template, data=NANO, source=None, description="", created_by="")
    database.close()
    asked = {"LaunchTemplateId": template_id}
    page = ec2.describe_launch_template_versions(**asked)
    rest = ec2.describe_launch_template_versions(**asked, NextToken=page["NextToken"])
    found = [*page["LaunchTemplateVersions"], *rest["LaunchTemplateVersions"]]
    assert (len(page["LaunchTemplateVersions"]), "NextToken" in rest) == (200, False)
    assert [one["VersionNumber"] for one in found] == list(range(205, 0, -1))
    assert {one["LaunchTemplateData"].get("KeyName") for one in found[:-1]} == {None}
    assert found[-1]["LaunchTemplateData"] == {**NANO, "KeyName": "first"}
    of_type = [{"Name": "instance-type", "Values": ["t3.nano"]}]
    filtered = ec2.describe_launch_template_versions(**asked, Filters=of_type, MaxResults=1)
    assert filtered["LaunchTemplateVersions"] == found[:1]


def test_the_default_is_set_and_versions_are_filtered(ec2: Any, make: Any) -> None:
    template_id = make(NANO)
    add(ec2, template_id, {"InstanceType": "t3.micro", "MetadataOptions": {"HttpTokens": "required"}})
    modified = ec2.modify_launch_template(LaunchTemplateId=template_id, DefaultVersion="$Latest")["LaunchTemplate"]
    assert modified["DefaultVersionNumber"] == 2

    def filtered(name: str, value: str) -> list[int]:
        return numbers(ec2, template_id, Filters=[{"Name": name, "Values": [value]}])

    assert filtered("is-default-version", "true") == [2]
    assert filtered("is-default-version", "false") == [1]
    assert filtered("instance-type", "t3.n*") == [1]
    assert filtered("http-tokens", "required") == [2]


def test_the_latest_and_default_versions_of_all_templates(ec2: Any, make: Any) -> None:
    first, second = make(NANO), make(NANO)
    add(ec2, first, NANO)

    def of_all(*wanted: str) -> list[tuple[str, int]]:
        reply = ec2.describe_launch_template_versions(Versions=list(wanted))
        found = [(one["LaunchTemplateId"], one["VersionNumber"]) for one in reply["LaunchTemplateVersions"]]
        return [one for one in found if one[0] in {first, second}]

    assert of_all("$Latest") == [(first, 2), (second, 1)]
    assert of_all("$Default") == [(first, 1), (second, 1)]
    assert of_all("$Default", "$Latest") == [(first, 2), (first, 1), (second, 1)]
    for parameters in ({"Versions": ["1"]}, {"Versions": ["$Latest"], "MinVersion": "1"}):
        assert refused(ec2.describe_launch_template_versions, **parameters) == "InvalidParameterCombination"


def test_a_source_version_gives_what_the_new_one_does_not_say(ec2: Any, make: Any) -> None:
    device = {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-12345678", "VolumeSize": 5}}
    template_id = make({**NANO, "KeyName": "k", "BlockDeviceMappings": [device]})
    version = add(ec2, template_id, {"KeyName": "other"}, SourceVersion="1", VersionDescription="two")
    without = {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5}}
    whole = {**NANO, "KeyName": "other", "BlockDeviceMappings": [without]}
    assert version["LaunchTemplateData"] == whole
    assert add(ec2, template_id, {"KeyName": "third"})["LaunchTemplateData"] == {"KeyName": "third"}
    based = add(ec2, template_id, {"EbsOptimized": True}, SourceVersion="$Default")
    assert based["LaunchTemplateData"] == {**whole, "KeyName": "k", "EbsOptimized": True}
    assert [one["LaunchTemplateData"] for one in versions(ec2, template_id, Versions=["2"])] == [whole]


def test_deleting_versions_says_of_each_what_became_of_it(ec2: Any, make: Any) -> None:
    template_id = make(NANO)
    for _ in range(3):
        add(ec2, template_id, NANO)
    reply = ec2.delete_launch_template_versions(LaunchTemplateId=template_id, Versions=["4", "1", "9", "2", "4"])
    assert [one["VersionNumber"] for one in reply["SuccessfullyDeletedLaunchTemplateVersions"]] == [4, 2]
    failed = reply["UnsuccessfullyDeletedLaunchTemplateVersions"]
    assert {one["VersionNumber"]: one["ResponseError"]["Code"] for one in failed} == {
        1: "unexpectedError",
        9: "launchTemplateVersionDoesNotExist",
    }
    assert "default version" in failed[0]["ResponseError"]["Message"]
    assert numbers(ec2, template_id) == [3, 1]
    assert described(ec2, template_id)["LatestVersionNumber"] == 3
    assert add(ec2, template_id, NANO)["VersionNumber"] == 5, "a number is never given out again"


def test_two_writers_of_one_template_get_numbers_of_their_own(service: Service, ec2: Any, make: Any) -> None:
    template_id = make(NANO)

    def write(number: int) -> int:
        own = service.client()
        version = add(own, template_id, {"KeyName": f"k{number}"})["VersionNumber"]
        if number % 4 == 0:
            own.modify_launch_template(LaunchTemplateId=template_id, DefaultVersion=str(version))
        if number % 4 == 1:
            own.delete_launch_template_versions(LaunchTemplateId=template_id, Versions=[str(version)])
        return int(version)

    with ThreadPoolExecutor(8) as writers:
        given = list(writers.map(write, range(16)))
    assert sorted(given) == list(range(2, 18))
    template, left = described(ec2, template_id), numbers(ec2, template_id)
    assert len(left) == 17 - 4
    assert template["LatestVersionNumber"] == left[0]
    assert template["DefaultVersionNumber"] in left
    names = {one["VersionNumber"]: one["LaunchTemplateData"] for one in versions(ec2, template_id)}
    assert all(names[version] == {"KeyName": f"k{number}"} for number, version in enumerate(given) if version in names)


# --- launches ---


def test_an_instance_of_a_template_has_what_it_says_and_carries_its_tags(
    ec2: Any, make: Any, image_id: str, belongings: Belongings
) -> None:
    user_data = base64.b64encode(b"#!/bin/sh\ntrue\n").decode()
    template_id = make(
        {
            "ImageId": image_id,
            **NANO,
            "KeyName": belongings.key_pair_name,
            "SecurityGroupIds": [belongings.security_group],
            "MetadataOptions": {"HttpTokens": "required"},
            "UserData": user_data,
            "Placement": {"AvailabilityZone": "us-east-1b"},
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": "Owner", "Value": "A"}]},
                {"ResourceType": "volume", "Tags": [{"Key": "v", "Value": "1"}]},
            ],
        }
    )
    add(ec2, template_id, {"KeyName": "the-latest-is-not-asked-for"})
    instance_id = ec2.run_instances(**ONE, LaunchTemplate={"LaunchTemplateId": template_id})["Instances"][0][
        "InstanceId"
    ]
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    of_template = {"aws:ec2launchtemplate:id": template_id, "aws:ec2launchtemplate:version": "1"}
    assert tags_of(instance) == {"Owner": "A", **of_template}
    [volume] = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
    assert tags_of(volume) == {"v": "1", **of_template}
    interface_id = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert not ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [interface_id]}])["Tags"]
    assert instance["KeyName"] == belongings.key_pair_name
    assert [group["GroupId"] for group in instance["SecurityGroups"]] == [belongings.security_group]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["Placement"]["AvailabilityZone"] == "us-east-1b"
    kept = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]["Value"]
    assert kept == user_data
    reserved = {"Resources": [instance_id], "Tags": [{"Key": "aws:ec2launchtemplate:id"}]}
    assert refused(ec2.delete_tags, **reserved) == "InvalidParameterValue"
    ec2.delete_launch_template(LaunchTemplateId=template_id)
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    assert tags_of(ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0])["Owner"] == "A"


def test_a_launch_names_the_version_and_overrides_what_it_says(ec2: Any, make: Any, image_id: str) -> None:
    name = unique("override")
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": "Owner", "Value": "A"}, {"Key": "Env", "Value": "x"}]}]
    device = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}
    template_id = make(
        {
            "ImageId": image_id,
            "InstanceType": "t3.micro",
            "TagSpecifications": tagged,
            "BlockDeviceMappings": [device],
            "MetadataOptions": {"HttpTokens": "required"},
        },
        LaunchTemplateName=name,
    )
    add(ec2, template_id, {"InstanceInitiatedShutdownBehavior": "terminate"}, SourceVersion="1")
    instance = launched(
        ec2,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        **NANO,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Owner", "Value": "B"}]}],
        BlockDeviceMappings=[{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 1}}],
        MetadataOptions={"HttpPutResponseHopLimit": 2},
    )
    assert instance["InstanceType"] == "t3.nano"
    tags = tags_of(instance)
    assert (tags["Owner"], tags["Env"], tags["aws:ec2launchtemplate:version"]) == ("B", "x", "2")
    assert {"/dev/sdf", "/dev/sdg"} < {one["DeviceName"] for one in instance["BlockDeviceMappings"]}
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    by_number = {"LaunchTemplateName": name, "Version": "1"}
    assert tags_of(launched(ec2, LaunchTemplate=by_number, **NANO))["aws:ec2launchtemplate:version"] == "1"


def test_an_interface_of_a_template_and_a_group_of_the_launch_exclude_each_other(
    ec2: Any, make: Any, image_id: str, belongings: Belongings
) -> None:
    template_id = make(
        {"ImageId": image_id, **NANO, "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [belongings.security_group]}]}
    )
    used = {"LaunchTemplate": {"LaunchTemplateId": template_id}}
    assert dry(ec2, **used, SubnetId=belongings.subnet) == "InvalidParameterCombination"
    assert dry(ec2, **used, SecurityGroupIds=[belongings.security_group]) == "InvalidParameterCombination"
    interface = {"DeviceIndex": 0, "SubnetId": belongings.subnet, "AssociatePublicIpAddress": False}
    instance = launched(ec2, **used, NetworkInterfaces=[interface])
    assert instance["SubnetId"] == belongings.subnet
    assert "PublicIpAddress" not in instance
    assert [group["GroupId"] for group in instance["SecurityGroups"]] == [belongings.security_group]


@pytest.mark.parametrize(
    "field", ["CpuOptions", "ElasticGpuSpecifications", "InstanceMarketOptions", "InstanceRequirements", "KernelId"]
)
def test_a_launch_refuses_by_its_name_what_it_does_not_honour(ec2: Any, make: Any, image_id: str, field: str) -> None:
    template_id = make({"ImageId": image_id, **NANO, field: EVERYTHING[field]})
    with pytest.raises(ClientError) as caught:
        ec2.run_instances(**ONE, LaunchTemplate={"LaunchTemplateId": template_id})
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameter"
    assert field.removesuffix("s") in error["Message"]


def test_a_launch_overrides_what_it_would_refuse(ec2: Any, make: Any, image_id: str) -> None:
    device = {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}
    template_id = make({"ImageId": image_id, **NANO, "BlockDeviceMappings": [device]})
    used = {"LaunchTemplate": {"LaunchTemplateId": template_id}}
    assert dry(ec2, **used) == "InvalidParameter"
    plain = [{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": False}}]
    assert dry(ec2, **used, BlockDeviceMappings=plain) == "DryRunOperation"


def test_a_template_without_an_image_needs_one_from_the_launch(ec2: Any, make: Any, image_id: str) -> None:
    used = {"LaunchTemplate": {"LaunchTemplateId": make(NANO), "Version": "$Default"}}
    assert dry(ec2, **used) == "MissingParameter"
    assert dry(ec2, **used, ImageId=image_id) == "DryRunOperation"


def test_an_image_is_named_by_a_parameter_and_looked_up_at_each_launch(
    service: Service, ec2: Any, make: Any, image_id: str, other_keys: Keys
) -> None:
    ssm, path = service.client("ssm"), f"/images/{unique('web')}"
    alias = f"resolve:ssm:{path}"
    template_id = make({"ImageId": alias, **NANO})
    used = {"LaunchTemplate": {"LaunchTemplateId": template_id}}
    assert dry(ec2, **used) == "InvalidParameterValue"
    ssm.put_parameter(Name=path, Value="ami-00000000000000001", Type="String")
    assert dry(ec2, **used) == "InvalidAMIID.NotFound"
    ssm.put_parameter(Name=path, Value=image_id, Type="String", Overwrite=True)
    assert launched(ec2, **used)["ImageId"] == image_id
    assert launched(ec2, ImageId=f"{alias}:2", **NANO)["ImageId"] == image_id
    assert dry(ec2, **used, ImageId=f"{alias}:1") == "InvalidAMIID.NotFound"

    def image_of(**parameters: Any) -> str:
        [version] = versions(ec2, template_id, Versions=["1"], **parameters)
        return str(version["LaunchTemplateData"]["ImageId"])

    assert (image_of(), image_of(ResolveAlias=False), image_of(ResolveAlias=True)) == (alias, alias, image_id)
    added = add(ec2, template_id, {"KeyName": "k"}, SourceVersion="1", ResolveAlias=True)
    assert added["LaunchTemplateData"]["ImageId"] == image_id
    assert versions(ec2, template_id, Versions=["2"])[0]["LaunchTemplateData"]["ImageId"] == alias
    # One whose parameter is gone spoils no list.
    ssm.delete_parameter(Name=path)
    of_all = ec2.describe_launch_template_versions(Versions=["$Latest"], ResolveAlias=True)["LaunchTemplateVersions"]
    stale = [one for one in of_all if one["LaunchTemplateId"] == template_id]
    assert [one["LaunchTemplateData"]["ImageId"] for one in stale] == [alias]
    # Names are an account's own.
    assert dry(service.client(keys=other_keys), ImageId=alias, **NANO) == "InvalidParameterValue"


def test_what_a_template_brings_needs_the_rights_it_would_need_by_itself(
    service: Service, make: Any, image_id: str
) -> None:
    path, role_arn = f"/images/{unique('web')}", new_role(service, trusting("ec2.amazonaws.com"))
    service.client("ssm").put_parameter(Name=path, Value=image_id, Type="String")
    by_alias = {"LaunchTemplateId": make({"ImageId": f"resolve:ssm:{path}", **NANO})}
    with_role = {
        "LaunchTemplateId": make(
            {"ImageId": image_id, **NANO, "IamInstanceProfile": {"Name": new_profile(service, role_arn)}}
        )
    }

    def answer(user: Any, template: dict[str, str], **parameters: Any) -> str:
        with pytest.raises(ClientError) as caught:
            user.run_instances(**ONE, LaunchTemplate=template, DryRun=True, **parameters)
        return f"{caught.value.response['Error']['Code']}: {caught.value.response['Error']['Message']}"

    ec2_only = service.client("ec2", new_user(service, allow("ec2:*")))
    assert "ssm:GetParameters" in answer(ec2_only, by_alias)
    assert answer(ec2_only, by_alias, ImageId=image_id).startswith("DryRunOperation")
    describe = {**by_alias, "ResolveAlias": True}
    assert refused(ec2_only.describe_launch_template_versions, **describe) == "UnauthorizedOperation"
    assert f"iam:PassRole on resource: {role_arn}" in answer(ec2_only, with_role)
    no_templates = deny("ec2:RunInstances", resource="arn:aws:ec2:*:*:launch-template/*")
    other = service.client("ec2", new_user(service, allow("ec2:*", "ssm:GetParameters", "iam:PassRole"), no_templates))
    assert f"launch-template/{by_alias['LaunchTemplateId']}" in answer(other, by_alias)
    all_of_it = service.client("ec2", new_user(service, allow("ec2:*", "ssm:GetParameters", "iam:PassRole")))
    assert answer(all_of_it, by_alias).startswith("DryRunOperation")
    assert answer(all_of_it, with_role).startswith("DryRunOperation")


def test_what_another_account_has_is_for_a_template_as_if_it_did_not_exist(
    service: Service, other_keys: Keys, image_id: str, belongings: Belongings, others_belongings: Belongings
) -> None:
    other = service.client(keys=other_keys)

    def tried(**data: Any) -> tuple[str, str]:
        reply = other.create_launch_template(
            LaunchTemplateName=unique("foreign"), LaunchTemplateData={"ImageId": image_id, **NANO, **data}
        )
        named = {"LaunchTemplateId": reply["LaunchTemplate"]["LaunchTemplateId"]}
        code = dry(other, LaunchTemplate=named)
        other.delete_launch_template(**named)
        return code, ",".join(each["Code"] for each in reply.get("Warning", {}).get("Errors", []))

    def mapping(snapshot_id: str) -> list[dict[str, Any]]:
        return [{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot_id}}]

    missing: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "InvalidAMIID.NotFound": ({"ImageId": belongings.image}, {"ImageId": others_belongings.image}),
        "InvalidKeyPair.NotFound": (
            {"KeyName": belongings.key_pair_name},
            {"KeyName": others_belongings.key_pair_name},
        ),
        "InvalidGroup.NotFound": (
            {"SecurityGroupIds": [belongings.security_group]},
            {"SecurityGroupIds": [others_belongings.security_group]},
        ),
        "InvalidSubnetID.NotFound": (
            {"NetworkInterfaces": [{"SubnetId": belongings.subnet}]},
            {"NetworkInterfaces": [{"SubnetId": others_belongings.subnet}]},
        ),
        "InvalidSnapshot.NotFound": (
            {"BlockDeviceMappings": mapping(belongings.snapshot)},
            {"BlockDeviceMappings": mapping(others_belongings.snapshot)},
        ),
    }
    for code, (foreign, own) in missing.items():
        assert tried(**foreign) == (code, code)
        assert tried(**own)[0] == "DryRunOperation"


# --- a template from an instance ---

# Another instance has another of each of these; the next one says where it came from.
_OF_ONE_INSTANCE = {
    "InstanceId",
    "LaunchTime",
    "ClientToken",
    "StateTransitionReason",
    "PrivateDnsName",
    "PrivateIpAddress",
}
_OF_ONE_INTERFACE = {
    "Attachment",
    "Association",
    "MacAddress",
    "NetworkInterfaceId",
    "PrivateDnsName",
    "PrivateIpAddress",
    "PrivateIpAddresses",
}


def comparable(ec2: Any, instance: dict[str, Any]) -> dict[str, Any]:
    """What must be equal of two instances launched alike."""
    left_out = {*_OF_ONE_INSTANCE, "PublicIpAddress", "PublicDnsName", "BlockDeviceMappings", "NetworkInterfaces"}
    item = {name: value for name, value in instance.items() if name not in left_out}
    volumes = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}])[
        "Volumes"
    ]
    interface = instance["NetworkInterfaces"][0]
    attributes = ("disableApiStop", "disableApiTermination", "instanceInitiatedShutdownBehavior", "userData")
    return {
        **item,
        "has_public_address": "PublicIpAddress" in instance,
        "interface": {name: value for name, value in interface.items() if name not in _OF_ONE_INTERFACE},
        "volumes": {
            volume["Attachments"][0]["Device"]: (
                volume["Size"],
                volume["VolumeType"],
                volume.get("Iops"),
                volume.get("Throughput"),
                volume["SnapshotId"],
                volume["Attachments"][0]["DeleteOnTermination"],
                user_tags(volume),
            )
            for volume in volumes
        },
        "Tags": user_tags(instance),
        "attributes": [
            {
                name: value
                for name, value in ec2.describe_instance_attribute(
                    InstanceId=instance["InstanceId"], Attribute=attribute
                ).items()
                if name not in ("InstanceId", "ResponseMetadata")
            }
            for attribute in attributes
        ],
    }


def user_tags(item: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in tags_of(item).items() if not key.startswith("aws:")}


def test_a_template_from_an_instance_launches_an_equal_one(
    service: Service, ec2: Any, make: Any, image_id: str, belongings: Belongings
) -> None:
    interface = {
        "DeviceIndex": 0,
        "SubnetId": belongings.subnet,
        "Groups": [belongings.security_group],
        "AssociatePublicIpAddress": False,
        "Description": "front",
    }
    first = ec2.run_instances(
        **ONE,
        ImageId=image_id,
        **NANO,
        KeyName=belongings.key_pair_name,
        IamInstanceProfile={"Name": new_profile(service, new_role(service, trusting("ec2.amazonaws.com")))},
        NetworkInterfaces=[interface],
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 2, "DeleteOnTermination": True}},
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 7, "VolumeType": "gp3", "Iops": 3500, "Throughput": 130}},
            {"DeviceName": "/dev/sdg", "Ebs": {"SnapshotId": belongings.snapshot, "VolumeType": "gp2"}},
        ],
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 3, "InstanceMetadataTags": "enabled"},
        InstanceInitiatedShutdownBehavior="terminate",
        UserData="#!/bin/sh\ntrue\n",
        EbsOptimized=True,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "first"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "use", "Value": "data"}]},
            {"ResourceType": "network-interface", "Tags": [{"Key": "net", "Value": "front"}]},
        ],
    )["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[first], WaiterConfig=WAITS)
    data = ec2.get_launch_template_data(InstanceId=first)["LaunchTemplateData"]
    template_id = make(data)
    [version] = versions(ec2, template_id)
    assert version["LaunchTemplateData"] == data
    second = ec2.run_instances(**ONE, LaunchTemplate={"LaunchTemplateId": template_id})["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[second], WaiterConfig=WAITS)
    found = ec2.describe_instances(InstanceIds=[first, second])["Reservations"]
    by_id = {one["InstanceId"]: one for reservation in found for one in reservation["Instances"]}
    assert "IamInstanceProfile" in by_id[first]
    assert comparable(ec2, by_id[second]) == comparable(ec2, by_id[first])
    assert ec2.get_launch_template_data(InstanceId=second)["LaunchTemplateData"] == data
    ec2.terminate_instances(InstanceIds=[first, second], SkipOsShutdown=True)
    assert refused(ec2.get_launch_template_data, InstanceId=first) == "IncorrectInstanceState"


def test_the_data_of_a_stopped_instance_leaves_out_what_was_detached(ec2: Any, make: Any, image_id: str) -> None:
    one = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}
    run = {**ONE, "ImageId": image_id, **NANO, "BlockDeviceMappings": [one]}
    instance_id = ec2.run_instances(**run)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    ec2.stop_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    volumes = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
    for volume in volumes:
        ec2.detach_volume(VolumeId=volume["VolumeId"])
    ec2.get_waiter("volume_available").wait(VolumeIds=[one["VolumeId"] for one in volumes], WaiterConfig=WAITS)
    assert refused(ec2.start_instances, InstanceIds=[instance_id]) == "InvalidParameterValue"  # nothing boots it
    data = ec2.get_launch_template_data(InstanceId=instance_id)["LaunchTemplateData"]
    root = ec2.describe_images(ImageIds=[image_id])["Images"][0]["RootDeviceName"]
    assert data["BlockDeviceMappings"] == [{"DeviceName": root, "NoDevice": ""}]
    assert "AssociatePublicIpAddress" not in data["NetworkInterfaces"][0]
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    for volume in volumes:
        ec2.delete_volume(VolumeId=volume["VolumeId"])
