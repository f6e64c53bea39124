"""The filters, on reply items as operations make them."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakehouse.api.filters import FilterTable
from bakehouse.errors import ApiError

TABLE = FilterTable(
    item="Images[]",
    paths={
        "name": "Name",
        "is-public": "Public",
        "size": "BlockDeviceMappings[].Ebs.VolumeSize",
        "created": "Created",
        "owner": ("OwnerAlias", "OwnerId"),
        "initial": lambda image: [image["Name"][:1]],
    },
    tags="Tags",
)
WEB: dict[str, Any] = {
    "Name": "web-1",
    "Public": True,
    "OwnerAlias": "amazon",
    "OwnerId": "111111111111",
    "BlockDeviceMappings": [
        {"DeviceName": "/dev/sda"},
        {"Ebs": {"VolumeSize": 8}},
        {"Ebs": {"VolumeSize": 30}},
    ],
    "Created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "Tags": [{"Key": "Stage", "Value": "prod"}, {"Key": "Empty", "Value": ""}],
}
DB: dict[str, Any] = {"Name": "db*2", "Public": False, "OwnerId": "222222222222"}


def names(*filters: tuple[str, list[str]], table: FilterTable = TABLE) -> list[str]:
    reply = {"Images": [WEB, DB]}
    table.apply([{"Name": name, "Values": values} for name, values in filters], reply)
    return [image["Name"] for image in reply["Images"]]


@pytest.mark.parametrize(
    ("name", "values", "kept"),
    [
        ("name", ["web-1"], ["web-1"]),
        ("name", ["WEB-1"], []),
        ("name", ["nothing", "db*2"], ["db*2"]),
        ("name", ["*"], ["web-1", "db*2"]),
        ("name", ["web-?"], ["web-1"]),
        ("name", ["?"], []),
        ("name", ["db\\*2"], ["db*2"]),
        ("name", ["web\\*1"], []),
        ("name", ["we[b]-1"], []),
        ("name", ["w**-*1"], ["web-1"]),
        ("is-public", ["true"], ["web-1"]),
        ("is-public", ["false"], ["db*2"]),
        ("is-public", ["True"], []),
        ("size", ["30"], ["web-1"]),
        ("size", ["31"], []),
        ("created", ["2026-01-02T03:04:05.000Z"], ["web-1"]),
        ("created", ["2026-01-02*"], ["web-1"]),
        ("owner", ["amazon"], ["web-1"]),
        ("owner", ["*1*", "2*"], ["web-1", "db*2"]),
        ("initial", ["d"], ["db*2"]),
        ("tag:Stage", ["prod"], ["web-1"]),
        ("tag:Stage", ["pro?"], ["web-1"]),
        ("tag:Stage", ["test"], []),
        ("tag:stage", ["prod"], []),
        ("tag:Empty", [""], ["web-1"]),
        ("tag-key", ["Sta*"], ["web-1"]),
        ("tag-value", ["prod"], ["web-1"]),
    ],
)
def test_a_filter_keeps_the_items_it_matches(name: str, values: list[str], kept: list[str]) -> None:
    assert names((name, values)) == kept


def test_several_filters_must_all_match() -> None:
    assert names(("name", ["*"]), ("is-public", ["true"])) == ["web-1"]
    assert names(("name", ["db*"]), ("is-public", ["true"])) == []


@pytest.mark.parametrize("name", ["unheard-of", "tag", "tags", "Name", ""])
def test_an_unknown_filter_is_refused_by_name(name: str) -> None:
    with pytest.raises(ApiError) as refused:
        names((name, ["x"]))
    assert (refused.value.code, refused.value.message) == (
        "InvalidParameterValue",
        f"The filter '{name}' is invalid",
    )


def test_tag_filters_are_unknown_where_there_are_no_tags() -> None:
    with pytest.raises(ApiError, match="tag:Stage"):
        names(("tag:Stage", ["x"]), table=FilterTable(item="Images[]", paths={"name": "Name"}))


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ([{"Values": ["x"]}], "MissingParameter"),
        ([{"Name": "name"}], "MissingParameter"),
        ([{"Name": "name", "Values": ["x"] * 201}], "FilterLimitExceeded"),
        (
            [{"Name": "name", "Values": ["x"] * 101}, {"Name": "size", "Values": ["x"] * 100}],
            "FilterLimitExceeded",
        ),
        ([{"Name": "name", "Values": ["x" * 256]}], "FilterLimitExceeded"),
    ],
)
def test_malformed_and_oversized_filters_are_refused(filters: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(ApiError) as refused:
        TABLE.apply(filters, {"Images": []})
    assert refused.value.code == code


NESTED = FilterTable(
    item="Reservations[].Instances[]",
    paths={"state": "State.Name"},
    outer={"reservation-id": "ReservationId"},
)


def reservations() -> dict[str, Any]:
    return {
        "Reservations": [
            {
                "ReservationId": "r-1",
                "Instances": [{"State": {"Name": "running"}}, {"State": {"Name": "stopped"}}],
            },
            {"ReservationId": "r-2", "Instances": [{"State": {"Name": "running"}}]},
        ]
    }


def test_instances_are_filtered_inside_their_reservations_and_empty_ones_disappear() -> None:
    reply = reservations()
    NESTED.apply([{"Name": "state", "Values": ["stopped"]}], reply)
    assert reply == {"Reservations": [{"ReservationId": "r-1", "Instances": [{"State": {"Name": "stopped"}}]}]}


def test_outer_and_inner_filters_combine() -> None:
    reply = reservations()
    filters = [{"Name": "state", "Values": ["running"]}, {"Name": "reservation-id", "Values": ["r-2"]}]
    NESTED.apply(filters, reply)
    assert [one["ReservationId"] for one in reply["Reservations"]] == ["r-2"]


def test_hostile_wildcards_are_matched_in_little_time() -> None:
    reply: dict[str, Any] = {"Images": [{"Name": "a" * 255}] * 20}
    TABLE.apply([{"Name": "name", "Values": ["*" * 254 + "b", "*a" * 20 + "b"]}], reply)
    assert reply["Images"] == []


def is_of(pattern: str, text: str) -> bool:
    """The meaning of a value, as simply as it can be said."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(is_of(pattern[1:], text[end:]) for end in range(len(text) + 1))
    if pattern[0] == "\\" and len(pattern) > 1:
        return text[:1] == pattern[1] and is_of(pattern[2:], text[1:])
    return bool(text) and pattern[0] in ("?", text[0]) and is_of(pattern[1:], text[1:])


@given(
    values=st.lists(st.text("ab*?\\\nß", max_size=7), min_size=1, max_size=4),
    text=st.text("ab*?\\\nß", max_size=8),
)
def test_a_value_means_what_its_characters_say_one_after_the_other(values: list[str], text: str) -> None:
    kept = {"Images": [{"Name": text}]}
    TABLE.apply([{"Name": "name", "Values": values}], kept)
    assert bool(kept["Images"]) == any(is_of(value, text) for value in values)


def test_as_many_and_as_long_values_as_there_may_be_are_matched() -> None:
    values = ["?" * 127 + "*" + f"{number:03}" + "*" * 124 for number in range(200)]
    reply = {"Images": [{"Name": "x" * 127 + end} for end in ("199", "x000", "00", "200")]}
    TABLE.apply([{"Name": "name", "Values": values}], reply)
    assert [image["Name"][127:] for image in reply["Images"]] == ["199", "x000"]


def test_values_with_wildcards_leave_no_patterns_behind() -> None:
    re.purge()
    for number in range(300):
        names(("name", [f"*{number}?"]))
    assert len(re._cache) < 10  # type: ignore[attr-defined]  # where patterns are kept that were compiled
