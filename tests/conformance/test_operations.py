"""What every implemented operation must hold: found in the registry, so a new one is covered at once."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from bakehouse.api.models import Shape, get_operation_model, operation_names, shape_at
from bakehouse.api.registry import Operation, discover
from bakehouse.api.validation import Validator
from bakehouse.errors import ApiError
from tests.framework import wire
from tests.framework.parameters import honoured_leaves, leaves, put

OPERATIONS = [pytest.param(each, id=f"{each.service}-{each.name}") for each in discover()]
over_all = pytest.mark.parametrize("operation", OPERATIONS)


@over_all
def test_its_name_and_every_path_it_declares_are_in_the_model(operation: Operation) -> None:
    assert operation.name in operation_names(operation.service)
    Validator(operation, wire.codec(operation.service))


@over_all
def test_what_its_filters_look_at_is_in_the_reply_of_the_model(operation: Operation) -> None:
    table = operation.filters
    if table is None:
        return
    output = get_operation_model(operation.service, operation.name).output_shape
    item = shape_at(output, table.item)
    outer = shape_at(output, table.item.partition("[]")[0] + "[]")
    for shape, paths in ((item, table.paths), (outer, table.outer)):
        for path in paths.values():
            for each in (path,) if isinstance(path, str) else path if isinstance(path, tuple) else ():
                shape_at(shape, each)
    if table.tags is not None:
        tag = shape_at(item, table.tags).member if table.tags else item
        assert {"Key", "Value"} <= set(tag.members)


@over_all
def test_its_pages_cut_a_list_of_the_model_by_members_of_the_model(operation: Operation) -> None:
    if operation.paged is None:
        return
    model = get_operation_model(operation.service, operation.name)
    items = [shape_at(model.output_shape, f"{name}[]") for name in operation.paged.results]
    key = operation.paged.key
    names = {key} - {""} if isinstance(key, str) else set(key)
    # Without a key, items that come or go between two calls would be skipped or repeated.
    for item in items:
        assert bool(names.intersection(getattr(item, "members", ()))) == (item.type_name == "structure")
    assert names <= {name for item in items for name in getattr(item, "members", ())}
    assert set(operation.paged.ids) <= set(model.input_shape.members)
    assert {operation.names.next_token, operation.names.max_results} <= set(model.input_shape.members)
    bounds = model.input_shape.members[operation.names.max_results].metadata
    assert operation.paged.minimum == bounds.get("min", operation.paged.minimum)
    assert operation.paged.maximum == bounds.get("max", operation.paged.maximum)


@over_all
def test_every_parameter_it_does_not_declare_is_refused_by_its_name(operation: Operation) -> None:
    validator = Validator(operation, wire.codec(operation.service))
    honoured = {path for path, _ in honoured_leaves(operation)}
    model = get_operation_model(operation.service, operation.name)
    for path, shape in leaves(model.input_shape):
        value = some_value(shape, operation.harmless.get(path, ()))
        if path in honoured or value is None:
            continue
        request: dict[str, Any] = {}
        put(request, path, value)
        with pytest.raises(ApiError) as refused:
            validator.validate(request)
        assert refused.value.code in ("InvalidParameter", "MissingParameter"), path
        if refused.value.code == "MissingParameter":  # another one of the same structure; the request is refused
            continue
        assert re.search(r"The parameter [\w.]+ is not supported by this service", refused.value.message), path


def some_value(shape: Shape, but_not: tuple[Any, ...]) -> Any:
    """A value of the shape that is none of those; None when there is no other."""
    texts = {"integer": 1, "long": 1, "double": 1.0, "float": 1.0, "blob": b"x", "timestamp": datetime.now(UTC)}
    known = [True, False] if shape.type_name == "boolean" else list(getattr(shape, "enum", ()))
    values = known or [texts.get(shape.type_name, "text")]
    return next((value for value in values if value not in but_not), None)


@over_all
def test_a_hostile_request_is_either_accepted_by_the_wire_or_refused_with_a_4xx(operation: Operation) -> None:
    codec = wire.codec(operation.service)
    validator = Validator(operation, codec)
    for request in wire.hostile_requests(operation.service, operation.name, seed=1, count=200):
        try:
            action, unread = codec.read_action(request)
            assert action == operation.name
            validator.validate(codec.parse(action, unread))
        except ApiError as error:
            assert 400 <= codec.translate(error).status < 500
