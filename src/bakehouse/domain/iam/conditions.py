"""Conditions of policies: operators over the values of keys.

Invariant: a condition whose key this service does not know is neither true nor false: ``holds`` says None, and the
statement then fails safe (see evaluation.py).
Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".
"""

import base64
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol, TypeVar

from bakehouse.domain.iam import globs
from bakehouse.domain.iam.globs import Variables


class Facts(Protocol):
    """The values of condition keys in one request, about one resource."""

    def find(self, key: str) -> tuple[str, ...] | None:
        """The values of a key (lower case); empty when it has none here, None when no such key is known."""
        ...


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator as it is written: ``ForAllValues:StringNotLikeIfExists``."""

    test: "_Test"
    # Whether a policy's value is of the operator's type.
    takes: Callable[[str], bool]
    is_negated: bool = False
    if_exists: bool = False
    # "all" and "any" of the request's values; "" for keys of one value.
    quantifier: str = ""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One key of one operator; true when any of its values is."""

    operator: Operator
    key: str
    values: tuple[str, ...]


# (the request's value, the policy's value, variables) -> whether they go together.
_Test = Callable[[str, str, Variables | None], bool]
_Value = TypeVar("_Value")
_Read = TypeVar("_Read")

_QUANTIFIERS = {"": "", "forallvalues:": "all", "foranyvalue:": "any"}


def read_operator(name: str) -> Operator | None:
    """Return the operator of this name, or None for one that does not exist."""
    lowered = name.lower()
    prefix = next((one for one in _QUANTIFIERS if one and lowered.startswith(one)), "")
    lowered = lowered.removeprefix(prefix)
    if_exists = lowered.endswith("ifexists")
    lowered = lowered.removesuffix("ifexists")
    if lowered == "null" and not if_exists:
        return Operator(test=_is_null, takes=_is_truth)
    found = _TESTS.get(lowered)
    if found is None:
        return None
    test, takes, is_negated = found
    return Operator(test=test, takes=takes, is_negated=is_negated, if_exists=if_exists, quantifier=_QUANTIFIERS[prefix])


def holds(condition: Condition, facts: Facts, variables: Variables | None) -> bool | None:
    """Whether a condition is true; None when that cannot be told."""
    found = facts.find(condition.key)
    if found is None:
        return None
    operator = condition.operator
    if operator.test is _is_null:
        return any(value.lower() == ("false" if found else "true") for value in condition.values)
    if not found:
        return _of_absent(operator)
    verdicts = [_fits(condition, value, variables) for value in found]
    if operator.quantifier == "all" or (operator.is_negated and not operator.quantifier):
        return every(verdicts)
    return some(verdicts)


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all are true, where some may not be known."""
    seen = set(verdicts)
    return False if False in seen else None if None in seen else True


def some(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether one is true, where some may not be known."""
    seen = set(verdicts)
    return True if True in seen else None if None in seen else False


def _of_absent(operator: Operator) -> bool:
    """A key that is not there goes with no value: so the negated operators are true."""
    if operator.if_exists or operator.quantifier == "all":
        return True
    return operator.is_negated and operator.quantifier != "any"


def _fits(condition: Condition, value: str, variables: Variables | None) -> bool | None:
    """Whether one value of the request goes with one of the policy's, or, negated, with none."""
    goes = some(_goes(condition.operator.test, value, wanted, variables) for wanted in condition.values)
    return None if goes is None else goes is not condition.operator.is_negated


def _goes(test: _Test, value: str, wanted: str, variables: Variables | None) -> bool | None:
    try:
        return test(value, wanted, variables)
    except globs.UnknownVariable:
        return None


# --- the tests; a value that is not of the operator's type goes with nothing ---


def _is_null(_value: str, _wanted: str, _variables: Variables | None) -> bool:
    raise AssertionError("asks whether there is a value, not which")


def _equals(value: str, wanted: str, variables: Variables | None) -> bool:
    return value == globs.replaced(wanted, variables)


def _equals_ignoring_case(value: str, wanted: str, variables: Variables | None) -> bool:
    return value.casefold() == globs.replaced(wanted, variables).casefold()


def _is_like(value: str, wanted: str, variables: Variables | None) -> bool:
    return globs.matches(wanted, value, variables)


def _is_arn_like(value: str, wanted: str, variables: Variables | None) -> bool:
    return globs.arn_matches(wanted, value, variables)


# Variables stand in texts and ARNs only; values of these types are what they are.


def _reading(read: Callable[[str], object]) -> Callable[[str], bool]:
    """Whether a value can be read."""

    def takes(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return takes


def _any_text(_text: str) -> bool:
    return True


def _is_arn_pattern(text: str) -> bool:
    return text == "*" or globs.is_arn(text)


def _is_truth(text: str) -> bool:
    return text.lower() in {"true", "false"}


def _is_bool(value: str, wanted: str, _variables: Variables | None) -> bool:
    return value.lower() == wanted.lower()


def _binary(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _network(text: str) -> IPv4Network | IPv6Network:
    if not _NETWORK.fullmatch(text):
        raise ValueError(text)
    return ip_network(text, strict=False)


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address; IPv4 in IPv6's clothes, as a socket for both sees it, is IPv4."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_YEAR_OR_MONTH = re.compile(r"[0-9]{4}(-[0-9]{2})?")


def _number(text: str) -> float:
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _moment(text: str) -> float:
    """ISO 8601 down from the year, or seconds since 1970."""
    if _YEAR_OR_MONTH.fullmatch(text):
        text = f"{text}-01-01"[:10]
    if text.isascii() and text.isdigit():
        return _number(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _comparing(read: Callable[[str], _Read], compare: Callable[[_Read, _Read], bool]) -> _Test:
    return _relating(read, read, compare)


def _relating(
    read_value: Callable[[str], _Value], read_wanted: Callable[[str], _Read], goes: Callable[[_Value, _Read], bool]
) -> _Test:
    def test(value: str, wanted: str, _variables: Variables | None) -> bool:
        try:
            return goes(read_value(value), read_wanted(wanted))
        except ValueError:
            return False

    return test


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "equals": lambda value, wanted: value == wanted,
    "lessthan": lambda value, wanted: value < wanted,
    "lessthanequals": lambda value, wanted: value <= wanted,
    "greaterthan": lambda value, wanted: value > wanted,
    "greaterthanequals": lambda value, wanted: value >= wanted,
}

_is_same_binary = _comparing(_binary, lambda value, wanted: value == wanted)
_is_in_network = _relating(_address, _network, lambda value, wanted: value in wanted)

# Lower-case name -> (test, what values it takes, whether it is the negated form).
_TESTS: dict[str, tuple[_Test, Callable[[str], bool], bool]] = {
    "stringequals": (_equals, _any_text, False),
    "stringnotequals": (_equals, _any_text, True),
    "stringequalsignorecase": (_equals_ignoring_case, _any_text, False),
    "stringnotequalsignorecase": (_equals_ignoring_case, _any_text, True),
    "stringlike": (_is_like, _any_text, False),
    "stringnotlike": (_is_like, _any_text, True),
    "arnequals": (_is_arn_like, _is_arn_pattern, False),
    "arnlike": (_is_arn_like, _is_arn_pattern, False),
    "arnnotequals": (_is_arn_like, _is_arn_pattern, True),
    "arnnotlike": (_is_arn_like, _is_arn_pattern, True),
    "bool": (_is_bool, _is_truth, False),
    "binaryequals": (_is_same_binary, _reading(_binary), False),
    "ipaddress": (_is_in_network, _reading(_network), False),
    "notipaddress": (_is_in_network, _reading(_network), True),
    **{
        f"{kind}{name}": (_comparing(read, compare), _reading(read), False)
        for kind, read in (("numeric", _number), ("date", _moment))
        for name, compare in _COMPARISONS.items()
    },
    "numericnotequals": (_comparing(_number, _COMPARISONS["equals"]), _reading(_number), True),
    "datenotequals": (_comparing(_moment, _COMPARISONS["equals"]), _reading(_moment), True),
}
