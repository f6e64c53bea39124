"""Round trips over the whole models: what botocore writes we read equal, what we write botocore reads
equal. The models of services that are not served here, but speak a protocol that is, are held to it too.
"""

import pytest

from bakehouse.api.models import Shape, get_operation_model, operation_names, service_model
from bakehouse.api.services import PROTOCOLS, SERVICES
from bakehouse.errors import ApiError
from tests.framework import wire

NOT_SERVED = ("dlm", "imagebuilder")
KNOWN = (*SERVICES, *NOT_SERVED)


def test_every_protocol_has_a_service_here() -> None:
    assert {service_model(service).metadata["protocol"] for service in SERVICES} == set(PROTOCOLS)


@pytest.mark.parametrize("service", KNOWN)
@pytest.mark.parametrize("fill", [wire.fill, wire.fill_least])
def test_every_request_botocore_writes_is_read_back_equal(service: str, fill: object) -> None:
    assert callable(fill)
    for operation in sorted(operation_names(service)):
        parameters = fill(get_operation_model(service, operation).input_shape)
        request = wire.write_request(service, operation, parameters)
        assert wire.read_request(service, request) == (operation, parameters)


@pytest.mark.parametrize("service", KNOWN)
@pytest.mark.parametrize("fill", [wire.fill, wire.fill_least])
def test_every_reply_we_write_is_read_back_equal_by_botocore(service: str, fill: object) -> None:
    assert callable(fill)
    for operation in sorted(operation_names(service)):
        reply = fill(get_operation_model(service, operation).output_shape)
        written = wire.codec(service).serialize(operation, reply, "some-request-id")
        parsed = wire.read(service, operation, written)
        assert parsed.pop("ResponseMetadata")["RequestId"] == "some-request-id", operation
        assert parsed == reply, operation


@pytest.mark.parametrize("service", KNOWN)
def test_an_empty_list_in_a_reply_stays_an_empty_list(service: str) -> None:
    for operation in sorted(operation_names(service)):
        shape = get_operation_model(service, operation).output_shape
        members = shape.members if shape else {}
        empty: dict[str, object] = {name: [] for name, one in members.items() if one.type_name == "list"}
        if shape is None or "payload" in shape.serialization:
            continue
        parsed = wire.read(service, operation, wire.codec(service).serialize(operation, empty, "r"))
        assert {name: parsed[name] for name in empty} == empty


@pytest.mark.parametrize("service", KNOWN)
@pytest.mark.parametrize("status", [400, 412, 500])
def test_botocore_reads_our_error_documents(service: str, status: int) -> None:
    operation = sorted(operation_names(service))[0]
    written = wire.codec(service).serialize_error(ApiError("Some.Code", wire.AWKWARD_TEXT, status=status), "rid")
    parsed = wire.read(service, operation, written)
    assert parsed["Error"]["Code"] == "Some.Code"
    assert parsed["Error"]["Message"] == wire.AWKWARD_TEXT
    assert parsed["ResponseMetadata"]["RequestId"] == "rid"


def test_members_in_headers_and_bodies_that_are_one_member_go_there_and_back() -> None:
    parameters = {
        "SnapshotId": "snap/1 é",
        "BlockIndex": 7,
        "BlockData": b"\x00\xff",
        "DataLength": 2,
        "Progress": 5,
        "Checksum": "c",
        "ChecksumAlgorithm": "SHA256",
    }
    request = wire.write_request("ebs", "PutSnapshotBlock", parameters)
    assert b"snap%2F1%20%C3%A9" in request.raw_path
    assert wire.read_request("ebs", request) == ("PutSnapshotBlock", parameters)
    reply = {"DataLength": 4, "BlockData": b"text", "Checksum": "c", "ChecksumAlgorithm": "SHA256"}
    parsed = wire.read("ebs", "GetSnapshotBlock", wire.codec("ebs").serialize("GetSnapshotBlock", reply, "r"))
    del parsed["ResponseMetadata"]
    assert {**parsed, "BlockData": parsed["BlockData"].encode()} == reply


@pytest.mark.parametrize("service", ["ec2", "sts", "iam"])
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
