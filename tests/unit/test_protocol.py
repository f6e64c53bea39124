"""Reading and writing the wire: the corners that round trips do not reach."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from bakehouse.api.protocol.form import grow_tree, parse_pairs
from bakehouse.api.protocol.scalars import escape, write_time_ms
from bakehouse.errors import ApiError
from tests.framework import wire


def parse(operation: str, service: str = "ec2", **pairs: str) -> dict[str, Any]:
    return wire.codec(service).parse(operation, {name.replace("__", "."): value for name, value in pairs.items()})


def code_of(operation: str, service: str = "ec2", **pairs: str) -> tuple[str, str]:
    with pytest.raises(ApiError) as refused:
        parse(operation, service, **pairs)
    return refused.value.code, refused.value.message


def test_lists_may_have_gaps_and_come_in_any_order() -> None:
    parsed = parse("DescribeImages", ImageId__10="c", ImageId__2="b", ImageId__1="a")
    assert parsed == {"ImageIds": ["a", "b", "c"]}


def test_empty_strings_survive_parsing_and_empty_numbers_are_absent() -> None:
    assert parse("RunInstances", SubnetId="", MinCount="", EbsOptimized="", Placement__AvailabilityZone="") == {
        "SubnetId": "",
        "Placement": {"AvailabilityZone": ""},
    }


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"Colour": "x"}, "The parameter Colour is not recognized"),
        ({"imageId": "x"}, "The parameter imageId is not recognized"),
        ({"Placement__Colour": "x"}, "The parameter Placement.Colour is not recognized"),
        ({"Placement__Tenancy__1": "x"}, "The parameter Placement.Tenancy.1 is not recognized"),
        ({"SecurityGroupId__0": "x"}, "The parameter SecurityGroupId.0 is not recognized"),
        ({"SecurityGroupId__01": "x"}, "The parameter SecurityGroupId.01 is not recognized"),
        ({"SecurityGroupId__9999999": "x"}, "The parameter SecurityGroupId.9999999 is not recognized"),
        ({"SecurityGroupId__member__1": "x"}, "The parameter SecurityGroupId.member is not recognized"),
        ({"SecurityGroupId__\u0661": "x"}, "The parameter SecurityGroupId.\u0661 is not recognized"),
    ],
)
def test_parameters_the_model_does_not_have_are_named(pairs: dict[str, str], message: str) -> None:
    assert code_of("RunInstances", **pairs) == ("UnknownParameter", message)


@pytest.mark.parametrize(
    "pairs",
    [
        {"MinCount": "one"},
        {"MinCount": "1.5"},
        {"MinCount": "2147483648"},
        {"MinCount": "9" * 5000},
        {"MinCount": "\uff11"},
        {"EbsOptimized": "yes"},
        {"SecurityGroupId": "sg-1"},
        {"Placement": "here"},
        {"InstanceMarketOptions__SpotOptions__ValidUntil": "tomorrow"},
        {"InstanceMarketOptions__SpotOptions__ValidUntil": "2026-02-30T00:00:00Z"},
    ],
)
def test_values_of_the_wrong_type_are_invalid(pairs: dict[str, str]) -> None:
    assert code_of("RunInstances", **pairs)[0] == "InvalidParameterValue"


@pytest.mark.parametrize("text", ["a\x00b", "\x1b", "\ufffe", "\x0b"])
def test_characters_no_reply_could_carry_are_refused(text: str) -> None:
    assert code_of("RunInstances", KeyName=text)[0] == "InvalidCharacter"


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z", "2026-01-31T13:00:00+01:00", "1769860800"]
)
def test_times_are_read_in_every_usual_form(text: str) -> None:
    parsed = parse("RunInstances", InstanceMarketOptions__SpotOptions__ValidUntil=text)
    moment = parsed["InstanceMarketOptions"]["SpotOptions"]["ValidUntil"]
    assert moment == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_blobs_are_base64() -> None:
    assert parse("ImportKeyPair", KeyName="k", PublicKeyMaterial="aGVs\nbG8=")["PublicKeyMaterial"] == b"hello"
    assert code_of("ImportKeyPair", KeyName="k", PublicKeyMaterial="not base64!")[0] == "InvalidParameterValue"


def test_an_operation_without_parameters_takes_none() -> None:
    assert parse("GetCallerIdentity", "sts") == {}
    assert code_of("GetCallerIdentity", "sts", X="1")[0] == "UnknownParameter"


def test_the_query_protocol_has_member_in_its_lists() -> None:
    arns = {"PolicyArns__member__1__arn": "a", "RoleArn": "r", "RoleSessionName": "s"}
    assert parse("AssumeRole", "sts", **arns)["PolicyArns"] == [{"arn": "a"}]
    assert code_of("AssumeRole", "sts", PolicyArns__1__arn="a")[0] == "UnknownParameter"


@pytest.mark.parametrize(
    "encoded",
    [
        b"a=1&a=2",
        b"a=%ff",
        b"a=\xff",
        b"&".join(b"a%d=" % number for number in range(10_001)),
    ],
)
def test_hostile_forms_are_malformed(encoded: bytes) -> None:
    with pytest.raises(ApiError, match="MalformedQueryString"):
        parse_pairs(encoded)


@pytest.mark.parametrize("name", [".", "a..b", ".a", "a.", "a" * 1025, ".".join("a" * 21)])
def test_hostile_names_are_malformed(name: str) -> None:
    with pytest.raises(ApiError, match="MalformedQueryString"):
        grow_tree({name: "x"})


def test_plus_and_percent_are_decoded() -> None:
    assert parse_pairs(b"a=1+2%2B3&&b&c=%C3%A9=x") == {"a": "1 2+3", "b": "", "c": "é=x"}


def test_text_is_escaped_and_what_xml_cannot_carry_is_dropped() -> None:
    assert escape('<a href="x">&\r\n\x00\x1b\uffff\ud800</a>') == "&lt;a href=&quot;x&quot;&gt;&amp;&#13;\n&lt;/a&gt;"


def test_times_are_written_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    assert write_time_ms(moment) == "2026-01-31T11:00:00.123Z"
    assert write_time_ms(datetime(2026, 1, 31, 12)) == "2026-01-31T12:00:00.000Z"  # noqa: DTZ001


def test_ec2_replies_look_as_ec2_writes_them() -> None:
    body = wire.codec("ec2").serialize("DescribeRegions", {"Regions": [{"RegionName": "a"}, {}]}, "rid").body
    assert body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>rid</requestId>'
        "<regionInfo><item><regionName>a</regionName></item><item></item></regionInfo></DescribeRegionsResponse>"
    )


def test_ec2_errors_look_as_ec2_writes_them() -> None:
    body = wire.codec("ec2").serialize_error(ApiError("AuthFailure", "No <way>"), "rid").body
    assert body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Response><Errors><Error><Code>AuthFailure</Code><Message>No &lt;way&gt;</Message></Error></Errors>"
        "<RequestID>rid</RequestID></Response>"
    )


def test_none_is_absent_and_an_unheard_of_member_is_a_bug() -> None:
    codec = wire.codec("ec2")
    assert b"nextToken" not in codec.serialize("DescribeImages", {"NextToken": None}, "rid").body
    with pytest.raises(KeyError):
        codec.serialize("DescribeImages", {"Pictures": []}, "rid")
