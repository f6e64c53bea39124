"""Requests that are mostly right: each parameter plausible, hostile or missing, by a seed.

Together with ``wire.hostile_pairs``, which is mostly wrong, they reach what lies behind the parameters' checks.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bakehouse.api.models import Shape, get_operation_model
from bakehouse.api.registry import Operation
from tests.framework import wire
from tests.framework.naming import KINDS, TAGGABLE, UNKNOWN_IDS, last_member
from tests.framework.parameters import honoured_leaves

_TEXTS = (
    "a",
    "name",
    "b-é",
    "us-east-1a",
    "/dev/sdf",
    "/dev/sdg",
    "10.0.0.0/8",
    "::/0",
    "tcp",
    "-1",
    "true",
    "172.31.0.9",
)
_NUMBERS = (-1, 0, 1, 2, 3, 5, 8, 22, 80, 125, 1000, 3000, 65535, 16384, 2**31 - 1)
_MOMENTS = (
    "2030-01-01T00:00:00Z",
    "2031-02-28T23:59:59.999+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "1893456000",
    "-1e300",
)
_ATTRIBUTES = ("description", "launchPermission", "instanceType", "userData", "disableApiStop", "groupSet", "nonsense")


class Fuzzer:
    """Makes requests that name the caller's things (``own``) and another account's (``foreign``)."""

    def __init__(self, operations: Sequence[Operation], *, own: Any, foreign: Any, seed: int) -> None:
        self._operations = operations
        self._ids = {
            kind: (getattr(own, kind), getattr(own, kind), getattr(foreign, kind), UNKNOWN_IDS[kind])
            for kind in UNKNOWN_IDS
        }
        self._rng = random.Random(seed)
        self._hostile = {
            each.name: wire.hostile_pairs(each.service, each.name, seed=seed, count=1 << 30) for each in operations
        }

    def requests(self, count: int) -> Iterator[tuple[str, dict[str, str]]]:
        """``count`` requests: the operation's name, and form pairs."""
        for _ in range(count):
            operation = self._rng.choice(self._operations)
            if self._rng.random() < 0.3:
                yield operation.name, next(self._hostile[operation.name])
            else:
                yield operation.name, self._plausible(operation)

    def _plausible(self, operation: Operation) -> dict[str, str]:
        model = get_operation_model(operation.service, operation.name)
        required = set(model.input_shape.required_members) if model.input_shape else set()
        pairs: dict[str, str] = {"Action": operation.name}
        keeps = self._rng.choice((0.0, 0.2, 0.6))
        for path, shape in honoured_leaves(operation):
            top = path.partition("[")[0].partition(".")[0]
            if top in required or self._rng.random() < keeps:
                pairs[wire_path(operation, path, shape)] = self._value(path, shape, operation)
        if self._rng.random() < 0.1:
            pairs[self._rng.choice(list(pairs))] = self._rng.choice(wire.NASTY_TEXTS)
            pairs["Action"] = operation.name
        return pairs

    def _value(self, path: str, shape: Shape, operation: Operation) -> str:
        rng, name = self._rng, last_member(path)
        if name in KINDS or name == "Resources":
            return str(rng.choice(self._ids[KINDS.get(name) or rng.choice(TAGGABLE)]))
        if path == "Filters[].Name" and operation.filters is not None:
            return rng.choice([*operation.filters.paths, *operation.filters.outer, "tag:a", "tag-key", "no-filter"])
        if name == "Attribute" and not getattr(shape, "enum", ()):
            return rng.choice(_ATTRIBUTES)
        if getattr(shape, "enum", ()):
            return str(rng.choice(shape.enum))
        if shape.type_name == "boolean":
            return rng.choice(("true", "false"))
        if shape.type_name in ("integer", "long"):
            return str(rng.choice(_NUMBERS))
        if shape.type_name == "timestamp" and rng.random() < 0.8:
            return rng.choice(_MOMENTS)
        return str(rng.choice(wire.NASTY_TEXTS if rng.random() < 0.2 else _TEXTS))


def wire_path(operation: Operation, path: str, shape: Shape) -> str:
    """A parameter's name on the wire, its lists at their first element."""
    value: Any = wire.SCALARS[shape.type_name]
    for step in reversed(path.replace("[]", ".[]").split(".")):
        value = [value] if step == "[]" else {step: value}
    pairs: Mapping[str, str] = wire.write_parameters(operation.service, operation.name, value)
    return next(name for name in pairs if name not in ("Action", "Version"))
