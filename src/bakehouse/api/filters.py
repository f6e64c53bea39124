"""Filters, solved once: a table per Describe operation says where in its reply each filter looks.

Invariant: filters see exactly what the client would see, the reply's own items; an unknown filter name is
refused.

A table, and what the gateway does with it::

    IMAGE_FILTERS = FilterTable(
        item="Images[]",
        paths={
            "image-id": "ImageId",
            "state": "State",
            "is-public": "Public",  # booleans are matched as "true" and "false"
            "block-device-mapping.snapshot-id": "BlockDeviceMappings[].Ebs.SnapshotId",
            "owner-alias": ("ImageOwnerAlias", "OwnerId"),  # either may match
            "name-length": lambda image: [str(len(image["Name"]))],
        },
        tags="Tags",
    )

    reply = {"Images": [{"ImageId": "ami-1", "Name": "web-1"}, {"ImageId": "ami-2", "Name": "db"}]}
    IMAGE_FILTERS.apply([{"Name": "name", "Values": ["web*", "mail?"]}], reply)
    # reply["Images"] now holds ami-1 only

Values of one filter are alternatives, several filters must all match. ``*`` stands for any text and ``?``
for one character; a backslash takes their meaning away. Matching is case-sensitive. Sources: EC2 User
Guide, "List and filter your resources"; limits: the same page (200 values, 255 characters).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bakehouse import errors
from bakehouse.api.models import split_path
from bakehouse.api.protocol.scalars import write_time_ms
from bakehouse.domain.wildcards import Pattern, Wild, Wildcards

Item = Mapping[str, Any]
FilterPath = str | tuple[str, ...] | Callable[[Mapping[str, Any]], Iterable[Any]]
_Values = Callable[[Item], Iterable[Any]]
_Matches = Callable[[str], object]

_MAX_VALUES = 200
_MAX_VALUE_LENGTH = 255
_TOKEN = re.compile(r"\\(.)|(.)", re.DOTALL)
_WILD = {wild.value: wild for wild in Wild}


@dataclass(frozen=True, kw_only=True)
class FilterTable:
    """Where the filters of one Describe operation look in its reply.

    ``item`` names the list that is filtered: ``"Images[]"``, or ``"Reservations[].Instances[]"`` (an emptied
    reservation disappears). ``paths`` maps a filter name to a path inside the item (``"State.Name"``,
    ``"BlockDeviceMappings[].Ebs.VolumeId"``), several paths (either may match), or a function of the item
    that gives the values. ``outer`` is the same for the enclosing item (the reservation's
    ``"ReservationId"``). ``tags`` is the path of the tag list, by which ``tag:KEY``, ``tag-key`` and
    ``tag-value`` work; None when the noun has no tags, empty when an item is itself a tag.
    """

    item: str
    paths: Mapping[str, FilterPath]
    outer: Mapping[str, FilterPath] = field(default_factory=dict)
    tags: str | None = None

    def apply(self, filters: Sequence[Item], reply: dict[str, Any]) -> None:
        """Keep in ``reply`` only what all ``filters`` (botocore's ``Filters``) match.

        Raises InvalidParameterValue for an unknown filter, FilterLimitExceeded for too many values.
        """
        if not filters:
            return
        _check_limits(filters)
        outer_tests: list[_Test] = []
        item_tests: list[_Test] = []
        for each in filters:
            name, matches = str(each["Name"]), _make_matches(each["Values"])
            if name in self.outer:
                outer_tests.append(_Test(_compile(self.outer[name]), matches))
            else:
                item_tests.append(_Test(self._find_values(name), matches))
        self._reduce(reply, outer_tests, item_tests)

    def _find_values(self, name: str) -> _Values:
        if name in self.paths:
            return _compile(self.paths[name])
        if self.tags is not None:
            if name.startswith("tag:"):
                key = name.removeprefix("tag:")
                return lambda item: (tag.get("Value", "") for tag in self._tags(item) if tag["Key"] == key)
            if name == "tag-key":
                return lambda item: (tag["Key"] for tag in self._tags(item))
            if name == "tag-value":
                return lambda item: (tag.get("Value", "") for tag in self._tags(item))
        raise errors.invalid_parameter_value(f"The filter '{name}' is invalid")

    def _tags(self, item: Item) -> Iterator[Any]:
        assert self.tags is not None
        return values_at(item, [*split_path(self.tags), "[]"] if self.tags else [])

    def _reduce(self, reply: dict[str, Any], outer: list["_Test"], inner: list["_Test"]) -> None:
        lists = self.item.split("[]")[:-1]
        if len(lists) == 1:
            reply[lists[0]] = [item for item in reply.get(lists[0], ()) if _passes(item, inner)]
            return
        outer_name, inner_name = lists[0], lists[1].removeprefix(".")
        kept = []
        for group in reply.get(outer_name, ()):
            if not _passes(group, outer):
                continue
            members = [item for item in group.get(inner_name, ()) if _passes(item, inner)]
            if members or not inner:
                kept.append({**group, inner_name: members})
        reply[outer_name] = kept


def paths_under(name: str, path: str, members: Mapping[str, str]) -> dict[str, str]:
    """The filters on members of one part of an item: ``{"name.code": "State.Code"}``."""
    return {f"{name}.{each}": f"{path}.{member}" for each, member in members.items()}


@dataclass(frozen=True)
class _Test:
    values: _Values
    matches: _Matches


def _passes(item: Item, tests: list[_Test]) -> bool:
    return all(any(test.matches(_as_text(value)) for value in test.values(item) if value is not None) for test in tests)


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return write_time_ms(value) if isinstance(value, datetime) else str(value)


def values_at(item: Any, steps: Sequence[str]) -> Iterator[Any]:
    """Give every value that a split path reaches in an item; absent members give none."""
    if item is None:
        return
    if not steps:
        yield item
    elif steps[0] == "[]":
        for element in item:
            yield from values_at(element, steps[1:])
    else:
        yield from values_at(item.get(steps[0]), steps[1:])


def _compile(path: FilterPath) -> _Values:
    if callable(path):
        return path
    paths = [list(split_path(each)) for each in ((path,) if isinstance(path, str) else path)]
    return lambda item: (value for steps in paths for value in values_at(item, steps))


def _make_matches(values: Sequence[str]) -> _Matches:
    """One test for all the values of a filter."""
    patterns = [_read_pattern(value) for value in values]
    literal = frozenset("".join(map(str, pattern)) for pattern in patterns if not _is_wild(pattern))
    if not any(map(_is_wild, patterns)):
        return literal.__contains__
    wildcards = Wildcards(pattern for pattern in patterns if _is_wild(pattern))
    return lambda text: text in literal or wildcards.match(text)


def _is_wild(pattern: Pattern) -> bool:
    return Wild.ANY_TEXT in pattern or Wild.ANY_CHARACTER in pattern


def _read_pattern(value: str) -> Pattern:
    """A backslash makes what follows it a character like any other; the last one of a value is itself."""
    return [escaped or _WILD.get(other, other) for escaped, other in _TOKEN.findall(value)]


def _check_limits(filters: Sequence[Item]) -> None:
    for number, each in enumerate(filters, 1):
        if "Name" not in each:
            raise errors.missing_parameter(f"Filter.{number}.Name")
        if not each.get("Values"):
            raise errors.missing_parameter(f"Filter.{number}.Value")
    values = [value for each in filters for value in each["Values"]]
    if len(values) > _MAX_VALUES or any(len(value) > _MAX_VALUE_LENGTH for value in values):
        raise errors.filter_limit_exceeded()
