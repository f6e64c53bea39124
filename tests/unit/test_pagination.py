"""Pages: complete, bound to their request, and impossible to forge."""

import base64
from typing import Any

import pytest

from bakehouse.api.pagination import Paged, Pages
from bakehouse.errors import ApiError

PAGED = Paged(result="Images", key="ImageId", ids=("ImageIds",))
SCOPE = ("111122223333", "ec2", "DescribeImages")


def images(*numbers: int) -> list[dict[str, Any]]:
    return [{"ImageId": f"ami-{number}"} for number in numbers]


def cut(
    items: list[dict[str, Any]],
    *,
    pages: Pages | None = None,
    paged: Paged = PAGED,
    scope: tuple[str, ...] = SCOPE,
    **parameters: Any,
) -> tuple[list[int], str | None]:
    reply: dict[str, Any] = {"Images": items}
    (pages or Pages(b"k" * 32)).cut(paged, scope, parameters, reply)
    return [int(one["ImageId"][4:]) for one in reply["Images"]], reply.get("NextToken")


def test_without_maxresults_everything_comes_at_once() -> None:
    assert cut(images(*range(1200))) == (list(range(1200)), None)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 10, 11])
def test_pages_together_are_the_whole_list(count: int) -> None:
    seen: list[int] = []
    page, token = cut(images(*range(count)), MaxResults=5)
    while True:
        assert len(page) <= 5
        seen += page
        if token is None:
            break
        page, token = cut(images(*range(count)), MaxResults=5, NextToken=token)
    assert seen == list(range(count))


def test_nothing_is_skipped_or_repeated_when_items_before_the_page_come_and_go() -> None:
    _, token = cut(images(*range(20)), MaxResults=5)
    assert cut(images(*range(3, 20)), MaxResults=5, NextToken=token)[0] == [5, 6, 7, 8, 9]
    assert cut(images(100, 101, *range(20)), MaxResults=5, NextToken=token)[0] == [5, 6, 7, 8, 9]


def test_a_page_whose_last_item_is_gone_goes_on_by_count() -> None:
    _, token = cut(images(*range(20)), MaxResults=5)
    assert cut(images(0, 1, 2, 3, 5, 6, 7, 8), MaxResults=5, NextToken=token)[0][0] in (5, 6)
    assert cut([], MaxResults=5, NextToken=token) == ([], None)


def test_texts_tell_themselves_apart() -> None:
    pages, paged = Pages(b"k" * 32), Paged(result="PolicyNames")
    reply: dict[str, Any] = {"PolicyNames": list("abcdef")}
    pages.cut(paged, SCOPE, {"MaxResults": 3}, reply)
    rest: dict[str, Any] = {"PolicyNames": list("bcdef")}
    pages.cut(paged, SCOPE, {"MaxResults": 3, "NextToken": reply["NextToken"]}, rest)
    assert rest == {"PolicyNames": list("def")}


def test_several_lists_are_cut_as_if_they_were_one() -> None:
    pages, paged = Pages(b"k" * 32), Paged(result=("Users", "Roles"), key=("UserId", "RoleId"), minimum=1)
    whole = {"Users": [{"UserId": "u1"}, {"UserId": "u2"}], "Roles": [{"RoleId": "r1"}, {"RoleId": "r2"}]}
    seen, asked = [], {"MaxResults": 3}
    for _ in range(2):
        reply: dict[str, Any] = dict(whole)
        pages.cut(paged, SCOPE, asked, reply)
        asked["NextToken"] = reply.pop("NextToken", None)
        seen.append(reply)
    assert seen == [
        {"Users": whole["Users"], "Roles": whole["Roles"][:1]},
        {"Users": [], "Roles": whole["Roles"][1:]},
    ]


def test_a_token_works_only_for_the_request_it_was_made_for() -> None:
    _, token = cut(images(*range(20)), MaxResults=5, Owners=["self"])
    assert cut(images(*range(20)), MaxResults=7, NextToken=token, Owners=["self"])[0] == [
        5,
        6,
        7,
        8,
        9,
        10,
        11,
    ]
    others: list[dict[str, Any]] = [
        {"Owners": ["amazon"]},
        {},
        {"Owners": ["self"], "scope": ("999999999999", "ec2", "DescribeImages")},
        {"Owners": ["self"], "scope": ("111122223333", "ec2", "DescribeTags")},
        {"Owners": ["self"], "pages": Pages(b"x" * 32)},
    ]
    for other in others:
        with pytest.raises(ApiError, match="InvalidPaginationToken"):
            cut(images(*range(20)), MaxResults=5, NextToken=token, **other)


@pytest.mark.parametrize("token", ["", "x", "é", "A" * 22, "A" * 10_000, "AAAA====", "\x00"])
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(ApiError, match="InvalidPaginationToken"):
        cut(images(*range(20)), MaxResults=5, NextToken=token)


def test_every_changed_byte_of_a_token_is_noticed() -> None:
    _, token = cut(images(*range(20)), MaxResults=5)
    assert token is not None
    raw = base64.urlsafe_b64decode(token)
    for index in range(len(raw)):
        forged = base64.urlsafe_b64encode(raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]).decode()
        with pytest.raises(ApiError, match="InvalidPaginationToken"):
            cut(images(*range(20)), MaxResults=5, NextToken=forged)


@pytest.mark.parametrize("size", [-1, 0, 4, 1001, 2**31 - 1])
def test_maxresults_out_of_bounds_is_refused(size: int) -> None:
    with pytest.raises(ApiError, match="InvalidParameterValue"):
        PAGED.check({"MaxResults": size})


def test_a_list_that_clamps_lowers_a_great_maxresults() -> None:
    paged = Paged(result="Images", maximum=10, clamps=True)
    paged.check({"MaxResults": 5000})
    assert len(cut(images(*range(20)), paged=paged, MaxResults=5000)[0]) == 10


def test_ids_and_maxresults_exclude_each_other() -> None:
    with pytest.raises(ApiError, match="InvalidParameterCombination"):
        PAGED.check({"MaxResults": 5, "ImageIds": ["ami-1"]})
    PAGED.check({"ImageIds": ["ami-1"]})
