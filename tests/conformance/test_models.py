"""Round trips over the whole models: what botocore writes we read equal, what we write botocore reads
equal.
"""

import pytest

from bakehouse.api.models import Shape, get_operation_model, operation_names
from bakehouse.errors import ApiError
from tests.framework import wire

SERVICES = ("ec2", "sts")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fill", [wire.fill, wire.fill_least])
def test_every_request_botocore_writes_is_read_back_equal(service: str, fill: object) -> None:
    assert callable(fill)
    for operation in sorted(operation_names(service)):
        parameters = fill(get_operation_model(service, operation).input_shape)
        pairs = wire.write_parameters(service, operation, parameters)
        del pairs["Action"], pairs["Version"]
        assert wire.codec(service).parse(operation, pairs) == parameters, operation


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fill", [wire.fill, wire.fill_least])
def test_every_reply_we_write_is_read_back_equal_by_botocore(service: str, fill: object) -> None:
    assert callable(fill)
    for operation in sorted(operation_names(service)):
        reply = fill(get_operation_model(service, operation).output_shape)
        body = wire.codec(service).serialize(operation, reply, "some-request-id")
        parsed = wire.read_reply(service, operation, body)
        assert parsed.pop("ResponseMetadata")["RequestId"] == "some-request-id", operation
        assert parsed == reply, operation


@pytest.mark.parametrize("service", SERVICES)
def test_an_empty_list_in_a_reply_stays_an_empty_list(service: str) -> None:
    for operation in sorted(operation_names(service)):
        shape = get_operation_model(service, operation).output_shape
        members = shape.members if shape else {}
        empty: dict[str, object] = {name: [] for name, one in members.items() if one.type_name == "list"}
        body = wire.codec(service).serialize(operation, empty, "r")
        parsed = wire.read_reply(service, operation, body)
        assert {name: parsed[name] for name in empty} == empty


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("status", [400, 412, 500])
def test_botocore_reads_our_error_documents(service: str, status: int) -> None:
    operation = sorted(operation_names(service))[0]
    body = wire.codec(service).serialize_error(ApiError("Some.Code", wire.AWKWARD_TEXT, status=status), "rid")
    parsed = wire.read_reply(service, operation, body, status)
    assert parsed["Error"]["Code"] == "Some.Code"
    assert parsed["Error"]["Message"] == wire.AWKWARD_TEXT
    assert parsed["ResponseMetadata"]["RequestId"] == "rid"


@pytest.mark.parametrize("service", SERVICES)
def test_input_shapes_are_not_recursive_and_their_names_on_the_wire_are_unique(service: str) -> None:
    def check(shape: Shape, above: tuple[str, ...]) -> None:
        if shape.type_name not in ("structure", "list"):
            return
        assert shape.name not in above
        if shape.type_name == "list":
            check(shape.member, (*above, shape.name))
            return
        names = [wire.codec(service).wire_name(name, member) for name, member in shape.members.items()]
        assert len(set(names)) == len(names), shape.name
        for member in shape.members.values():
            check(member, (*above, shape.name))

    for operation in operation_names(service):
        if shape := get_operation_model(service, operation).input_shape:
            check(shape, ())
