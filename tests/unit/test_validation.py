"""What an operation declares decides which parameters reach it."""

from typing import Any

import pytest

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import Operation, operation
from bakehouse.api.validation import Validator
from bakehouse.errors import ApiError
from tests.framework import wire


def _declare(name: str, **declared: Any) -> Operation:
    def function(_context: RequestContext, _request: Parameters) -> Reply:
        return {}

    from bakehouse.api.models import xform_name

    function.__name__ = xform_name(name)
    return operation("ec2", name, mutates=True, **declared)(function)


RUN = _declare(
    "RunInstances",
    honours=(
        "ImageId",
        "InstanceType",
        "MinCount",
        "MaxCount",
        "SecurityGroupIds",
        "TagSpecifications",
        "Placement.AvailabilityZone",
        "BlockDeviceMappings[].DeviceName",
        "BlockDeviceMappings[].Ebs.VolumeSize",
        "NetworkInterfaces",
    ),
    harmless={"EbsOptimized": (False,), "Monitoring.Enabled": (False,), "Placement.Tenancy": ("default",)},
    keeps_empty=("ImageId",),
)
IMAGES = _declare(
    "DescribeImages",
    honours=("ImageIds",),
    filters=FilterTable(item="Images[]", paths={"name": "Name"}),
    paged=Paged(result="Images", ids=("ImageIds",)),
)
LEAST = {"MinCount": 1, "MaxCount": 1}


def validate(declared: Operation, parameters: dict[str, Any]) -> dict[str, Any]:
    return Validator(declared, wire.codec("ec2")).validate(parameters)


def error_of(declared: Operation, parameters: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ApiError) as refused:
        validate(declared, parameters)
    return refused.value.code, refused.value.message


def test_honoured_parameters_pass_with_all_that_is_beneath_them() -> None:
    parameters = {
        **LEAST,
        "Placement": {"AvailabilityZone": "us-east-1a"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8}}],
        "NetworkInterfaces": [{"DeviceIndex": 0, "PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.9"}]}],
        "DryRun": True,
        "ClientToken": "token",
    }
    assert validate(RUN, parameters) == parameters


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"KeyName": "k"}, "KeyName"),
        ({"Placement": {"HostId": "h"}}, "Placement.HostId"),
        (
            {"BlockDeviceMappings": [{"DeviceName": "a"}, {"Ebs": {"Iops": 3}}]},
            "BlockDeviceMapping.2.Ebs.Iops",
        ),
        ({"EbsOptimized": True}, "EbsOptimized"),
        ({"Monitoring": {"Enabled": True}}, "Monitoring.Enabled"),
        ({"Placement": {"Tenancy": "host"}}, "Placement.Tenancy"),
    ],
)
def test_a_parameter_that_is_not_honoured_is_refused_by_its_name_on_the_wire(
    parameters: dict[str, Any], name: str
) -> None:
    message = f"The parameter {name} is not supported by this service"
    assert error_of(RUN, {**LEAST, **parameters}) == ("InvalidParameter", message)


def test_harmless_values_are_accepted_and_not_passed_on() -> None:
    parameters = {
        "EbsOptimized": False,
        "Monitoring": {"Enabled": False},
        "Placement": {"Tenancy": "default"},
    }
    assert validate(RUN, {**LEAST, **parameters}) == LEAST


def test_empty_strings_count_as_absent_even_where_nothing_is_honoured() -> None:
    parameters = {
        "KeyName": "",
        "IamInstanceProfile": {"Name": ""},
        "SecurityGroupIds": [""],
        "InstanceType": "",
    }
    assert validate(RUN, {**LEAST, **parameters}) == LEAST


def test_an_empty_string_that_means_something_is_kept() -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": ""}]}]
    parameters = {**LEAST, "ImageId": "", "TagSpecifications": tags}
    assert validate(RUN, parameters) == parameters
    filters = {"Filters": [{"Name": "name", "Values": ["", "x"]}]}
    assert validate(IMAGES, filters) == filters


def test_an_empty_blob_is_a_value_only_where_that_is_said() -> None:
    for keeps_empty in ((), ("UserData.Value",)):
        modify = _declare("ModifyInstanceAttribute", honours=("InstanceId", "UserData"), keeps_empty=keeps_empty)
        request = wire.write_request("ec2", modify.name, {"InstanceId": "i-1", "UserData": {"Value": b""}})
        cleared = {"UserData": {"Value": b""}} if keeps_empty else {}
        assert validate(modify, wire.read_request("ec2", request)[1]) == {"InstanceId": "i-1", **cleared}


def test_a_missing_or_empty_required_parameter_is_named() -> None:
    assert error_of(RUN, {"MinCount": 1}) == (
        "MissingParameter",
        "The request must contain the parameter MaxCount",
    )


def test_words_of_an_enum_are_matched_in_any_case_and_given_in_the_models() -> None:
    assert validate(RUN, {**LEAST, "InstanceType": "T3.Micro"})["InstanceType"] == "t3.micro"
    assert error_of(RUN, {**LEAST, "InstanceType": "t3.enormous"}) == (
        "InvalidParameterValue",
        "Value (t3.enormous) for parameter InstanceType is invalid.",
    )


def test_bounds_of_the_model_and_of_the_pages_are_kept() -> None:
    assert error_of(IMAGES, {"MaxResults": 4})[0] == "InvalidParameterValue"
    assert error_of(IMAGES, {"MaxResults": 5, "ImageIds": ["ami-1"]})[0] == "InvalidParameterCombination"


def test_filters_and_pages_are_refused_where_they_are_not_declared() -> None:
    bare = _declare("DescribeImages")
    assert error_of(bare, {"Filters": [{"Name": "name", "Values": ["x"]}]})[0] == "InvalidParameter"
    assert error_of(bare, {"MaxResults": 5})[0] == "InvalidParameter"


@pytest.mark.parametrize(
    "declared",
    [
        {"honours": ("ImageIdd",)},
        {"honours": ("Placement[].Tenancy",)},
        {"honours": ("BlockDeviceMappings.Ebs",)},
        {"honours": ("",)},
        {"harmless": {"Nothing": (False,)}},
        {"harmless": {"Placement": ({},)}},
        {"keeps_empty": ("Nothing",)},
        {"filters": FilterTable(item="Reservations[]", paths={})},
    ],
)
def test_a_path_the_model_does_not_have_fails_when_the_validator_is_made(declared: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"path|harmless"):
        Validator(_declare("RunInstances", **declared), wire.codec("ec2"))


def test_a_function_of_another_name_cannot_implement_an_operation() -> None:
    with pytest.raises(TypeError, match="run_instances"):

        @operation("ec2", "RunInstances", mutates=True)
        def start(_context: RequestContext, _request: Parameters) -> Reply:
            return {}
