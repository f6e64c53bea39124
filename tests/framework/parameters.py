"""Requests made from the models and from what operations declare."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from bakehouse.api.models import Shape, get_operation_model, split_path
from bakehouse.api.registry import Operation
from bakehouse.api.validation import declared_rules

# A value for the parameter at a path, or None for any that fits its type.
Choose = Callable[[str, Shape], Any]

_VALUES: dict[str, Any] = {"string": "text", "integer": 1, "long": 1, "double": 1.0, "float": 1.0, "boolean": False}


def leaves(shape: Shape | None, path: str = "") -> Iterator[tuple[str, Shape]]:
    """Every scalar parameter by its path (``"A[].B"``)."""
    if shape is None:
        return
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    elif shape.type_name == "list":
        yield from leaves(shape.member, f"{path}[]")
    else:
        yield path, shape


def honoured_leaves(operation: Operation) -> Iterator[tuple[str, Shape]]:
    """Every scalar parameter an operation takes."""
    rules = declared_rules(operation)
    for path, shape in leaves(get_operation_model(operation.service, operation.name).input_shape):
        rule = rules
        for step in split_path(path):
            rule = rule.below(step)
        if rule.is_honoured:
            yield path, shape


def least_request(service: str, operation: str, choose: Choose) -> dict[str, Any]:
    """A request with the required parameters only."""
    shape = get_operation_model(service, operation).input_shape
    return {} if shape is None else {name: _least(shape.members[name], name, choose) for name in shape.required_members}


def _least(shape: Shape, path: str, choose: Choose) -> Any:
    if shape.type_name == "structure":
        return {name: _least(shape.members[name], f"{path}.{name}", choose) for name in shape.required_members}
    if shape.type_name == "list":
        return [_least(shape.member, f"{path}[]", choose)]
    chosen = choose(path, shape)
    if chosen is not None:
        return chosen
    return shape.enum[0] if getattr(shape, "enum", ()) else _VALUES.get(shape.type_name, b"bytes")


def put(request: dict[str, Any], path: str, value: Any) -> None:
    """Set one parameter; the lists on its way hold one element."""
    steps = list(split_path(path))
    last = steps[-1]
    node: Any = request
    for step, following in pairwise(steps):
        empty: Any = [] if following == "[]" else {}
        if step == "[]":
            node[:] = node[:1] or [empty]
            node = node[0]
        else:
            node = node.setdefault(step, empty)
    if last == "[]":
        node[:] = [value]
    else:
        node[last] = value
