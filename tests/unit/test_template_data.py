"""How a template's data is kept, inherited and overridden: by the names of its members only."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bakehouse.api.models import get_operation_model, shape_at
from bakehouse.domain import template_data
from bakehouse.errors import ApiError
from tests.framework.parameters import leaves

DATA_SHAPE = shape_at(get_operation_model("ec2", "CreateLaunchTemplate").input_shape, "LaunchTemplateData")
RUN_INSTANCES = get_operation_model("ec2", "RunInstances").input_shape


def test_what_a_request_says_replaces_its_namesake_and_the_rest_stays() -> None:
    template = {"InstanceType": "t3.nano", "KeyName": "old", "SecurityGroupIds": ["sg-1", "sg-2"]}
    request = {"KeyName": "new", "SecurityGroupIds": ["sg-3"], "MinCount": 1}
    assert template_data.override(template, request) == {
        "InstanceType": "t3.nano",
        "KeyName": "new",
        "SecurityGroupIds": ["sg-3"],
        "MinCount": 1,
    }


def test_a_field_that_nobody_knows_yet_is_overridden_as_any_other() -> None:
    template = {"Novelty": {"Depth": {"A": 1, "B": [1]}}, "Other": True}
    merged = template_data.override(template, {"Novelty": {"Depth": {"B": [2, 3]}}, "Third": "x"})
    assert merged == {"Novelty": {"Depth": {"A": 1, "B": [2, 3]}}, "Other": True, "Third": "x"}


def test_members_of_a_structure_override_one_by_one() -> None:
    template = {"MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}}
    merged = template_data.override(template, {"MetadataOptions": {"HttpPutResponseHopLimit": 2}})
    assert merged == {"MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}}


def test_tags_are_added_to_those_of_the_template_by_type_and_key() -> None:
    template = {
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": "Owner", "Value": "A"}, {"Key": "Env", "Value": "x"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "v", "Value": "1"}]},
        ]
    }
    request = {
        "TagSpecifications": [
            {"ResourceType": "network-interface", "Tags": [{"Key": "n", "Value": "1"}]},
            {"ResourceType": "instance", "Tags": [{"Key": "Owner", "Value": "B"}, {"Key": "New", "Value": "y"}]},
        ]
    }
    assert template_data.override(template, request)["TagSpecifications"] == [
        {
            "ResourceType": "instance",
            "Tags": [{"Key": "Owner", "Value": "B"}, {"Key": "Env", "Value": "x"}, {"Key": "New", "Value": "y"}],
        },
        {"ResourceType": "volume", "Tags": [{"Key": "v", "Value": "1"}]},
        {"ResourceType": "network-interface", "Tags": [{"Key": "n", "Value": "1"}]},
    ]


def devices(template: list[Any], request: list[Any]) -> Any:
    merged = template_data.override({"BlockDeviceMappings": template}, {"BlockDeviceMappings": request})
    return merged["BlockDeviceMappings"]


def test_devices_are_merged_by_name() -> None:
    template = [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}},
    ]
    request = [
        {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 2}},
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 9}},
    ]
    assert devices(template, request) == [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 9, "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}},
        {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 2}},
    ]


@pytest.mark.parametrize(
    ("template", "request_", "merged"),
    [
        ({"Ebs": {"VolumeSize": 1}}, {"NoDevice": ""}, {"NoDevice": ""}),
        ({"NoDevice": ""}, {"Ebs": {"VolumeSize": 1}}, {"Ebs": {"VolumeSize": 1}}),
        ({"VirtualName": "ephemeral0"}, {"Ebs": {"VolumeSize": 1}}, {"Ebs": {"VolumeSize": 1}}),
        (
            {"Ebs": {"VolumeType": "gp3", "Iops": 4000, "VolumeSize": 9}},
            {"Ebs": {"VolumeType": "gp2"}},
            {"Ebs": {"VolumeType": "gp2", "VolumeSize": 9}},
        ),
        (
            {"Ebs": {"VolumeType": "gp3", "Iops": 4000}},
            {"Ebs": {"VolumeType": "gp3", "VolumeSize": 9}},
            {"Ebs": {"VolumeType": "gp3", "Iops": 4000, "VolumeSize": 9}},
        ),
    ],
)
def test_a_device_is_one_thing_only(template: Any, request_: Any, merged: Any) -> None:
    name = {"DeviceName": "/dev/sdb"}
    assert devices([{**name, **template}], [{**name, **request_}]) == [{**name, **merged}]


def test_what_is_twice_in_either_list_stays_so_to_be_refused() -> None:
    one, two = (
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}},
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 2}},
    )
    assert devices([], [one, two]) == [one, two]
    assert devices([one], [two, two]) == [two, two]
    assert devices([one, two], []) == [one, two]


def test_interfaces_are_merged_by_device_index_and_the_first_needs_none() -> None:
    template = {"NetworkInterfaces": [{"Groups": ["sg-1"], "SubnetId": "subnet-1"}, {"DeviceIndex": 1}]}
    request = {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "subnet-2", "AssociatePublicIpAddress": True}]}
    assert template_data.override(template, request)["NetworkInterfaces"] == [
        {"DeviceIndex": 0, "Groups": ["sg-1"], "SubnetId": "subnet-2", "AssociatePublicIpAddress": True},
        {"DeviceIndex": 1},
    ]


def test_an_interface_that_exists_replaces_what_the_template_would_have_made() -> None:
    template = {"NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-1"], "SubnetId": "subnet-1"}]}
    request = {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-1"}]}
    merged = template_data.override(template, request)
    assert merged["NetworkInterfaces"] == [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-1"}]


@pytest.mark.parametrize(
    ("template", "request_"),
    [
        ({"SecurityGroups": ["web"]}, {"SecurityGroupIds": ["sg-1"]}),
        ({"SecurityGroupIds": ["sg-1"]}, {"SecurityGroups": ["web"]}),
        ({"IamInstanceProfile": {"Name": "web"}}, {"IamInstanceProfile": {"Arn": "arn:web"}}),
        ({"Placement": {"AvailabilityZoneId": "use1-az1"}}, {"Placement": {"AvailabilityZone": "us-east-1b"}}),
    ],
)
def test_two_words_for_one_thing_replace_each_other(template: Any, request_: Any) -> None:
    assert template_data.override(template, request_) == request_


def test_neither_side_is_changed() -> None:
    template = {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}]}]}
    request = {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "2"}]}]}
    before = json.dumps([template, request])
    template_data.override(template, request)
    template_data.based_on(template, request)
    assert json.dumps([template, request]) == before


def test_a_new_version_inherits_whole_parameters_but_no_snapshots() -> None:
    source = {
        "InstanceType": "t3.nano",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-1", "VolumeSize": 5}},
            {"DeviceName": "/dev/sdc", "Ebs": {"SnapshotId": "snap-2"}},
            {"DeviceName": "/dev/sdd", "NoDevice": ""},
        ],
    }
    assert template_data.based_on(source, {"MetadataOptions": {"HttpTokens": "optional"}}) == {
        "InstanceType": "t3.nano",
        "MetadataOptions": {"HttpTokens": "optional"},
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5}},
            {"DeviceName": "/dev/sdc"},
            {"DeviceName": "/dev/sdd", "NoDevice": ""},
        ],
    }
    explicit = {"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-1"}}]}
    assert template_data.based_on(source, explicit)["BlockDeviceMappings"] == explicit["BlockDeviceMappings"]


def test_what_is_kept_comes_back_as_it_was_given() -> None:
    moment = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    data = {
        "ImageId": "ami-12345678",
        "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.1", "ValidUntil": moment}},
        "InstanceRequirements": {"MemoryGiBPerVCpu": {"Min": 0.5}},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "NoDevice": ""}],
    }
    assert template_data.given(json.loads(json.dumps(template_data.kept(data)))) == data


def test_the_one_time_of_the_model_is_the_one_that_is_given_back_as_a_time() -> None:
    others = [path for path, shape in leaves(DATA_SHAPE) if shape.type_name not in ("string", "boolean", "integer")]
    kinds = {path: shape.type_name for path, shape in leaves(DATA_SHAPE) if path in others}
    assert {path for path, kind in kinds.items() if kind != "double"} == {
        "InstanceMarketOptions.SpotOptions.ValidUntil"
    }


def test_every_parameter_of_a_template_is_one_of_run_instances_or_known_not_to_be() -> None:
    for name, shape in DATA_SHAPE.members.items():
        renamed = next(iter(template_data.as_launch({name: None})))
        if name == "InstanceRequirements":
            assert name not in RUN_INSTANCES.members
            continue
        mine = {path for path, _ in leaves(shape)}
        assert mine <= {path for path, _ in leaves(RUN_INSTANCES.members[renamed])}, name


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed"),
        ({"UserData": "no base64!"}, "InvalidUserData.Malformed"),
        ({"UserData": base64.b64encode(b"x" * 16385).decode()}, "InvalidParameterValue"),
        ({"KeyName": "k" * (template_data.MAX_DATA_BYTES + 1)}, "InvalidParameterValue"),
        ({"TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "a"}]}]}, "InvalidParameterValue"),
        ({"TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "aws:a"}]}]}, "InvalidParameterValue"),
    ],
)
def test_malformed_and_huge_data_is_refused(data: dict[str, Any], code: str) -> None:
    with pytest.raises(ApiError) as refused:
        template_data.check(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "data",
    [
        {"ImageId": "ami-00000000"},
        {"ImageId": "resolve:ssm:/images/web:3"},
        {"UserData": base64.b64encode(b"x" * 16384).decode()},
        {"InstanceRequirements": {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}}, "KernelId": "aki-1"},
    ],
)
def test_what_a_launch_would_refuse_is_no_mistake_yet(data: dict[str, Any]) -> None:
    template_data.check(data)
