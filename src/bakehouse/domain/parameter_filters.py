"""ParameterFilters: which parameters GetParametersByPath and DescribeParameters list.

Source: AWS Systems Manager API Reference, ParameterStringFilter. The name ``tag:KEY`` filters by a tag.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bakehouse.errors import parameters as parameter_errors

_TEXTS: Mapping[str, Callable[[str, str], bool]] = {
    "Equals": str.__eq__,
    "BeginsWith": str.startswith,
    "Contains": str.__contains__,
}
_RECURSIVE, _ONE_LEVEL = "Recursive", "OneLevel"
# What each name takes; the first is meant when none is given.
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "Name": ("Equals", "BeginsWith", "Contains"),
    "Path": (_ONE_LEVEL, _RECURSIVE),
}
_USUAL_OPTIONS = ("Equals", "BeginsWith")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a parameter is filtered by."""

    name: str
    facts: Mapping[str, str | None]
    labels: Collection[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


Test = Callable[[Facts], bool]


def is_below(name: str, path: str, *, recursive: bool) -> bool:
    """Say whether a name stands under a path; not recursive: directly under it."""
    prefix = path.rstrip("/") + "/"
    if not name.startswith(prefix):
        # A name without a slash stands under the root.
        return path == "/" and "/" not in name
    return recursive or "/" not in name[len(prefix) :]


def compile_filters(filters: Sequence[Mapping[str, Any]], *, allowed: Collection[str]) -> Test:
    """Return one test for all filters; InvalidFilterKey, InvalidFilterOption or InvalidFilterValue."""
    keys = [each["Key"] for each in filters]
    if len(set(keys)) < len(keys):
        raise parameter_errors.invalid_filter_key("a key is given more than once")
    tests = [_compile(each, allowed) for each in filters]
    return lambda facts: all(test(facts) for test in tests)


def _compile(each: Mapping[str, Any], allowed: Collection[str]) -> Test:
    key, values = each["Key"], each.get("Values", ())
    is_tag = key.startswith("tag:")
    if ("tag" if is_tag else key) not in allowed:
        raise parameter_errors.invalid_filter_key(key)
    options = _OPTIONS.get(key, _USUAL_OPTIONS)
    option = each.get("Option", options[0])
    if option not in options:
        raise parameter_errors.invalid_filter_option(option)
    if not values:
        if is_tag:
            return lambda facts: key.removeprefix("tag:") in facts.tags
        raise parameter_errors.invalid_filter_value(f"The filter {key} needs values.")
    if key == "Path":
        if bad := next((path for path in values if not path.startswith("/")), None):
            raise parameter_errors.invalid_filter_value(f"The path {bad} must begin with a slash.")
        return lambda facts: any(is_below(facts.name, path, recursive=option == _RECURSIVE) for path in values)
    matches = _TEXTS[option]
    return lambda facts: any(matches(have, value) for have in _values(facts, key) for value in values)


def _values(facts: Facts, key: str) -> Iterable[str]:
    if key.startswith("tag:"):
        value = facts.tags.get(key.removeprefix("tag:"))
        return () if value is None else (value,)
    if key == "Label":
        return facts.labels
    value = facts.name if key == "Name" else facts.facts.get(key)
    return () if value is None else (value,)
