"""Conditions of policies: operators over the values of keys.

Invariant: a condition whose key this service does not know is neither true nor false: ``holds`` says None, and the
statement then fails safe (see evaluation.py).
Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Protocol

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

_QUANTIFIERS = {"": "", "forallvalues:": "all", "foranyvalue:": "any"}


def read_operator(name: str) -> Operator | None:
    """Return the operator of this name, or None for one that does not exist."""
    lowered = name.lower()
    prefix = next((one for one in _QUANTIFIERS if one and lowered.startswith(one)), "")
    lowered = lowered.removeprefix(prefix)
    if_exists = lowered.endswith("ifexists")
    lowered = lowered.removesuffix("ifexists")
    if lowered == "null" and not if_exists:
        return Operator(test=_is_null)
    found = _TESTS.get(lowered)
    if found is None:
        return None
    test, is_negated = found
    return Operator(test=test, is_negated=is_negated, if_exists=if_exists, quantifier=_QUANTIFIERS[prefix])


def holds(condition: Condition, facts: Facts, variables: Variables | None) -> bool | None:
    """Whether a condition is true; None when that cannot be told."""
    found = facts.find(condition.key)
    if found is None:
        return None
    operator = condition.operator
    try:
        if operator.test is _is_null:
            return any(value.lower() == ("false" if found else "true") for value in condition.values)
        if not found:
            return _of_absent(operator)
        return _of_present(condition, found, variables)
    except globs.UnknownVariable:
        return None


def _of_absent(operator: Operator) -> bool:
    """A key that is not there goes with no value: so the negated operators are true."""
    if operator.if_exists or operator.quantifier == "all":
        return True
    return operator.is_negated and operator.quantifier != "any"


def _of_present(condition: Condition, found: Sequence[str], variables: Variables | None) -> bool:
    operator = condition.operator

    def fits(value: str) -> bool:
        goes = any(operator.test(value, wanted, variables) for wanted in condition.values)
        return goes is not operator.is_negated

    if operator.quantifier == "all":
        return all(fits(value) for value in found)
    if operator.quantifier == "any":
        return any(fits(value) for value in found)
    return all(fits(value) for value in found) if operator.is_negated else any(fits(value) for value in found)


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


def _is_bool(value: str, wanted: str, variables: Variables | None) -> bool:
    return value.lower() == globs.replaced(wanted, variables).lower()


def _is_same_binary(value: str, wanted: str, variables: Variables | None) -> bool:
    del variables
    try:
        return base64.b64decode(value, validate=True) == base64.b64decode(wanted, validate=True)
    except (binascii.Error, ValueError):
        return False


def _is_in_network(value: str, wanted: str, variables: Variables | None) -> bool:
    try:
        return ip_address(value) in ip_network(globs.replaced(wanted, variables), strict=False)
    except ValueError:
        return False


def _number(text: str) -> float:
    return float(text)


def _moment(text: str) -> float:
    """ISO 8601, or seconds since 1970."""
    if text.isascii() and text.isdigit():
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _comparing(read: Callable[[str], float], compare: Callable[[float, float], bool]) -> _Test:
    def test(value: str, wanted: str, variables: Variables | None) -> bool:
        try:
            return compare(read(value), read(globs.replaced(wanted, variables)))
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

# Lower-case name -> (test, whether it is the negated form).
_TESTS: dict[str, tuple[_Test, bool]] = {
    "stringequals": (_equals, False),
    "stringnotequals": (_equals, True),
    "stringequalsignorecase": (_equals_ignoring_case, False),
    "stringnotequalsignorecase": (_equals_ignoring_case, True),
    "stringlike": (_is_like, False),
    "stringnotlike": (_is_like, True),
    "arnequals": (_is_arn_like, False),
    "arnlike": (_is_arn_like, False),
    "arnnotequals": (_is_arn_like, True),
    "arnnotlike": (_is_arn_like, True),
    "bool": (_is_bool, False),
    "binaryequals": (_is_same_binary, False),
    "ipaddress": (_is_in_network, False),
    "notipaddress": (_is_in_network, True),
    **{f"numeric{name}": (_comparing(_number, compare), False) for name, compare in _COMPARISONS.items()},
    **{f"date{name}": (_comparing(_moment, compare), False) for name, compare in _COMPARISONS.items()},
    "numericnotequals": (_comparing(_number, _COMPARISONS["equals"]), True),
    "datenotequals": (_comparing(_moment, _COMPARISONS["equals"]), True),
}
