"""Which service a request is for, and how each protocol says no; on a gateway with made-up operations."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bakehouse.api import patterns
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import MemberNames, get_operation_model, member_names, operation_names, service_model
from bakehouse.api.pagination import Paged, Pages
from bakehouse.api.protocol.codes import JSON, QUERY, translate
from bakehouse.api.registry import operation
from bakehouse.api.services import SERVICES, Services, make_codec
from bakehouse.api.sigv4 import read_claim
from bakehouse.api.validation import Validator
from bakehouse.errors import ApiError
from tests.framework import wire
from tests.framework.kitchen import ALICE, open_kitchen

KEY = (ALICE.access_key_id, ALICE.secret_access_key)


def request_of(service: str, action: str, parameters: dict[str, Any] | None = None) -> HttpRequest:
    return wire.write_request(service, action, parameters or {})


@pytest.mark.parametrize(
    ("service", "action", "parameters"),
    [
        ("ec2", "DescribeRegions", {}),
        ("iam", "GetUser", {}),
        ("rbin", "GetRule", {"Identifier": "x"}),
        ("rbin", "TagResource", {"ResourceArn": "arn:aws:rbin:us-east-1:1:rule/x", "Tags": []}),
        ("ssm", "GetParameter", {"Name": "x"}),
        ("sts", "GetCallerIdentity", {}),
    ],
)
def test_a_request_is_for_the_service_it_is_signed_for_and_looks_like_it_unsigned(
    service: str, action: str, parameters: dict[str, Any]
) -> None:
    request = request_of(service, action, parameters)
    if service in ("ec2", "iam", "sts"):
        version = service_model(service).metadata["apiVersion"]
        request = replace(request, body=f"Action={action}&Version={version}".encode())
    signed = wire.sign_request(request, KEY, service)
    services = Services()
    assert services.find(request, None) == service
    assert services.find(signed, read_claim(signed)) == service
    assert services.codec(service).read_action(signed)[0] == action


def test_every_service_refuses_the_unsigned_in_its_own_words() -> None:
    gateway, _ = open_kitchen()
    said = {}
    for service, action in {"ssm": "GetParameter", "rbin": "ListRules"}.items():
        reply = gateway.answer(request_of(service, action))
        assert dict(reply.headers)["x-amzn-errortype"] == json.loads(reply.body)["__type"]
        said[service] = json.loads(reply.body)["__type"], reply.status, reply.content_type
    assert said == {
        "ssm": ("MissingAuthenticationTokenException", 403, "application/x-amz-json-1.1"),
        "rbin": ("MissingAuthenticationTokenException", 403, "application/json"),
    }


@pytest.mark.parametrize(
    ("service", "target", "path", "status"),
    [
        ("ssm", "AmazonSSM.MakeCoffee", b"/", 400),
        ("ssm", "AmazonEC2.GetParameter", b"/", 400),
        ("ssm", "", b"/", 400),
        ("ssm", "AmazonSSM.GetParameter", b"/elsewhere", 400),
        ("rbin", "", b"/", 404),
        ("rbin", "", b"/rules/", 404),
        ("rbin", "", b"/rules/a/b/c", 404),
        ("rbin", "", b"//rules", 404),
    ],
)
def test_what_no_service_has_is_an_unknown_operation(service: str, target: str, path: bytes, status: int) -> None:
    gateway, _ = open_kitchen()
    headers = (("x-amz-target", target),) if target else ()
    request = HttpRequest(method="POST", raw_path=path, query=b"", headers=headers, body=b"{}")
    reply = gateway.answer(wire.sign_request(request, KEY, service))
    assert (json.loads(reply.body)["__type"], reply.status) == ("UnknownOperationException", status)


def test_what_is_too_large_or_too_late_is_refused_in_the_words_of_the_service() -> None:
    gateway, _ = open_kitchen()
    reply = gateway.refuse(ApiError("RequestEntityTooLarge", "m", status=413), request_of("ssm", "GetParameter"))
    assert (json.loads(reply.body)["__type"], reply.status) == ("RequestEntityTooLargeException", 413)


def test_codes_are_translated_but_for_those_that_the_model_has() -> None:
    def said(service: str, code: str) -> str:
        return translate(service, QUERY if service in ("iam", "sts") else JSON, ApiError(code, "m")).code

    assert said("ssm", "InvalidPaginationToken") == "InvalidNextToken"
    assert said("imagebuilder", "InvalidPaginationToken") == "InvalidPaginationTokenException"
    assert said("rbin", "InvalidPaginationToken") == "ValidationException"
    assert said("rbin", "InternalError") == "InternalServerException"
    assert said("ssm", "InternalError") == "InternalServerError"
    assert said("ssm", "ParameterNotFound") == "ParameterNotFound"
    assert said("sts", "MissingParameter") == "ValidationError"
    assert make_codec("ec2").translate(ApiError("MissingParameter", "m")).code == "MissingParameter"


def test_what_the_gateway_solves_is_found_in_every_model_whatever_its_letters() -> None:
    assert member_names("ec2", "RunInstances") == MemberNames()
    component = member_names("imagebuilder", "CreateComponent")
    assert (component.client_token, component.dry_run) == ("clientToken", "dryRun")
    listed = member_names("imagebuilder", "ListImages")
    assert (listed.next_token, listed.max_results, listed.is_truncated) == ("nextToken", "maxResults", None)
    users = member_names("iam", "ListUsers")
    assert (users.next_token, users.max_results, users.is_truncated) == ("Marker", "MaxItems", "IsTruncated")


@pytest.mark.parametrize(("service", "action", "result"), [("iam", "ListUsers", "Users"), ("ssm", "", "Parameters")])
def test_pages_are_cut_by_the_members_of_the_model(service: str, action: str, result: str) -> None:
    names = member_names(service, action or "DescribeParameters")
    pages, paged = Pages(b"k" * 32), Paged(result=result, minimum=1, default=2, key="Name")
    found: list[str] = []
    parameters: dict[str, Any] = {}
    for _ in range(3):
        reply: dict[str, Any] = {result: [{"Name": letter} for letter in "abcde"]}
        pages.cut(paged, ["scope"], parameters, reply, names)
        found += [item["Name"] for item in reply[result]]
        parameters = {names.next_token: reply.get(names.next_token)}
        if names.is_truncated:
            assert reply[names.is_truncated] == (names.next_token in reply)
    assert found == list("abcde")
    assert parameters == {names.next_token: None}


@operation("imagebuilder", "CreateComponent", mutates=True, honours=("name", "tags", "platform"))
def create_component(_context: RequestContext, request: Parameters) -> Reply:
    return dict(request)


def test_maps_empty_values_and_patterns_are_checked_in_json() -> None:
    validator = Validator(create_component, make_codec("imagebuilder"))
    good = {"name": "web", "semanticVersion": "1.0.0", "platform": "Linux", "clientToken": "t", "tags": {"k": ""}}
    honoured = {name: value for name, value in good.items() if name != "semanticVersion"}
    wrong: list[tuple[dict[str, Any], str]] = [
        (honoured, "MissingParameter"),
        (good, "InvalidParameter"),
        ({**honoured, "platform": "linux"}, "InvalidParameterValue"),
        ({**honoured, "name": "a,b"}, "InvalidParameterValue"),
        ({**honoured, "name": ""}, "InvalidParameterValue"),
        ({**honoured, "tags": {}}, "InvalidParameterValue"),
        ({**honoured, "tags": {"k": "v" * 257}}, "InvalidParameterValue"),
        ({**honoured, "parameters": []}, "UnknownParameter"),
    ]
    for parameters, code in wrong[:-1]:
        with pytest.raises(ApiError) as refused:
            validator.validate(parameters)
        assert refused.value.code == code, parameters


def test_only_a_few_patterns_of_the_models_cannot_be_written_here() -> None:
    unwritten = set()
    for service in (*SERVICES, "imagebuilder"):
        model = service_model(service)
        for shape in (model.shape_for(name) for name in model.shape_names):
            pattern = shape.metadata.get("pattern")
            if shape.type_name == "string" and pattern and patterns.find_match(shape) is None:
                unwritten.add(f"{service} {shape.name}")
    assert unwritten == {
        "rbin RuleArn",
        "ssm AzureApplicationDisplayName",
        "ssm AzureSubscriptionDisplayName",
        "ssm AzureTenantDisplayName",
        "ssm CloudConnectorDescription",
        "ssm CloudConnectorIamRoleArn",
        "ssm DisplayName",
        "ssm GcpProjectDisplayName",
    }


def test_a_document_nested_without_end_is_refused() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"Aggregators": [deep]}
    codec = make_codec("ssm")
    assert "GetInventory" in operation_names("ssm")
    with pytest.raises(ApiError, match="nested too deeply"):
        codec.parse("GetInventory", json.dumps(deep).encode())
    assert get_operation_model("ssm", "GetInventory") is not None


def test_page_tokens_are_what_every_model_allows() -> None:
    shape = get_operation_model("rbin", "ListRules").input_shape.members["NextToken"]
    allows = patterns.find_match(shape)
    assert allows is not None
    for number in range(50):
        reply: dict[str, Any] = {"Rules": [{"Identifier": str(number)}] * 3}
        Pages(b"k" * 32).cut(Paged(result="Rules", minimum=1, key="Identifier"), [], {"MaxResults": 1}, reply)
        assert allows(reply["NextToken"])
