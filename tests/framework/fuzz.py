"""Requests that are mostly right: each parameter plausible, hostile or missing, by a seed.

Together with ``wire.hostile_pairs``, which is mostly wrong, they reach what lies behind the parameters' checks.
"""

import base64
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import Shape, get_operation_model, service_model
from bakehouse.api.registry import Operation
from tests.framework import wire
from tests.framework.naming import KINDS, TAGGABLE, UNKNOWN_IDS, last_member
from tests.framework.parameters import honoured_leaves, put

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
    "/a/path",
    "resolve:ssm:/a/path",
    "all",
    "self",
    "$Latest",
    "arn:aws:iam::123456789012:role/a",
    "arn:aws:organizations::123456789012:organization/o-abcdefghij",
    "2031-01-01T00:00:00Z",
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}',
)
_NUMBERS = (-1, 0, 1, 2, 3, 5, 8, 22, 80, 125, 1000, 3000, 65535, 16384, 2**31 - 1)
_MOMENT_TEXTS = (
    "2030-01-01T00:00:00Z",
    "2031-02-28T23:59:59.999+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "1893456000",
    "-1e300",
)
_MOMENTS = tuple(datetime(year, 2, 28, tzinfo=UTC) for year in (1, 1970, 2026, 2031, 9999))
_ATTRIBUTES = ("description", "launchPermission", "instanceType", "userData", "disableApiStop", "groupSet", "nonsense")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request: as form pairs, or, for a service that speaks JSON, unsigned as it is."""

    operation: Operation
    pairs: dict[str, str] | None = None
    request: HttpRequest | None = None

    @property
    def sent(self) -> str:
        """Everything that was said in it."""
        if self.pairs is not None:
            return "\n".join(self.pairs.values())
        assert self.request is not None
        return f"{self.request.raw_path!r} {self.request.query!r} {self.request.body.decode(errors='replace')}"

    def __str__(self) -> str:
        what = self.pairs if self.pairs is not None else self.sent
        return f"{self.operation.service} {self.operation.name} {what}"


class Fuzzer:
    """Makes requests that name the caller's things (``own``) and another account's (``foreign``)."""

    def __init__(self, operations: Sequence[Operation], *, own: Any, foreign: Any, seed: int) -> None:
        self._operations = operations
        self._ids = {
            kind: (getattr(own, kind), getattr(own, kind), getattr(foreign, kind), UNKNOWN_IDS[kind])
            for kind in UNKNOWN_IDS
        }
        self._rng = random.Random(seed)
        self._hostile = {_key(each): _hostile_attempts(each, seed) for each in operations}

    def attempts(self, count: int) -> Iterator[Attempt]:
        """``count`` requests; the same for the same seed and the same ids."""
        for _ in range(count):
            operation = self._rng.choice(self._operations)
            if self._rng.random() < 0.3:
                yield next(self._hostile[_key(operation)])
            elif _is_form(operation):
                yield Attempt(operation=operation, pairs=self._plausible_pairs(operation))
            else:
                yield Attempt(operation=operation, request=self._plausible_request(operation))

    def _plausible_pairs(self, operation: Operation) -> dict[str, str]:
        pairs: dict[str, str] = {"Action": operation.name}
        for path, shape in self._chosen(operation):
            is_moment = shape.type_name == "timestamp" and self._rng.random() < 0.8
            value = self._rng.choice(_MOMENT_TEXTS) if is_moment else self._value(path, shape, operation)
            pairs[wire_path(operation, path, shape)] = _as_text(value)
        if self._rng.random() < 0.1:
            pairs[self._rng.choice(list(pairs))] = self._rng.choice(wire.NASTY_TEXTS)
            pairs["Action"] = operation.name
        return pairs

    def _plausible_request(self, operation: Operation) -> HttpRequest:
        model = get_operation_model(operation.service, operation.name)
        parameters: dict[str, Any] = wire.fill_least(model.input_shape)
        for path, shape in self._chosen(operation):
            put(parameters, path, self._value(path, shape, operation))
        return wire.write_request(operation.service, operation.name, parameters)

    def _chosen(self, operation: Operation) -> Iterator[tuple[str, Shape]]:
        """All that is required, and a part of what is not. Maps have no paths; they are in the hostile ones."""
        model = get_operation_model(operation.service, operation.name)
        required = set(model.input_shape.required_members) if model.input_shape else set()
        keeps = self._rng.choice((0.0, 0.2, 0.6))
        for path, shape in honoured_leaves(operation):
            top = path.partition("[")[0].partition(".")[0]
            if shape.type_name != "map" and (top in required or self._rng.random() < keeps):
                yield path, shape

    def _value(self, path: str, shape: Shape, operation: Operation) -> Any:
        rng, name = self._rng, last_member(path)
        if shape.type_name == "timestamp":
            return rng.choice(_MOMENTS)
        if shape.type_name == "boolean":
            return rng.random() < 0.5
        if shape.type_name in ("integer", "long", "double", "float"):
            return rng.choice(_NUMBERS)
        if getattr(shape, "enum", ()):
            return str(rng.choice(shape.enum))
        if shape.type_name == "blob":
            return rng.choice((b"", b"bytes", b"#!/bin/sh\n"))
        return self._text(path, name, operation)

    def _text(self, path: str, name: str, operation: Operation) -> str:
        rng = self._rng
        if operation.service == "ec2" and (name in KINDS or name in ("Resources", "ResourceId")):
            return str(rng.choice(self._ids[KINDS.get(name) or rng.choice(TAGGABLE)]))
        if path == "Filters[].Name" and operation.filters is not None:
            return rng.choice([*operation.filters.paths, *operation.filters.outer, "tag:a", "tag-key", "no-filter"])
        if name == "Attribute":
            return rng.choice(_ATTRIBUTES)
        return rng.choice(wire.NASTY_TEXTS if rng.random() < 0.2 else _TEXTS)


def _key(operation: Operation) -> tuple[str, str]:
    return operation.service, operation.name


def _is_form(operation: Operation) -> bool:
    return service_model(operation.service).metadata["protocol"] in ("ec2", "query")


def _hostile_attempts(operation: Operation, seed: int) -> Iterator[Attempt]:
    how: dict[str, Any] = {"seed": seed, "count": 1 << 30}
    if _is_form(operation):
        for pairs in wire.hostile_pairs(operation.service, operation.name, **how):
            yield Attempt(operation=operation, pairs=pairs)
    else:
        for request in wire.hostile_requests(operation.service, operation.name, **how):
            yield Attempt(operation=operation, request=request)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def wire_path(operation: Operation, path: str, shape: Shape) -> str:
    """A parameter's name on the wire, its lists at their first element."""
    value: Any = wire.SCALARS[shape.type_name]
    for step in reversed(path.replace("[]", ".[]").split(".")):
        value = [value] if step == "[]" else {step: value}
    pairs: Mapping[str, str] = wire.write_parameters(operation.service, operation.name, value)
    return next(name for name in pairs if name not in ("Action", "Version"))
