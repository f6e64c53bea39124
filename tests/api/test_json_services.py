"""The services that speak JSON under hostile requests: whatever comes, the answer is theirs and no 5xx."""

import pytest

from bakehouse.api.registry import Operation, discover
from tests.framework import wire
from tests.framework.caller import Caller

OPERATIONS = [pytest.param(each, id=each.name) for each in discover() if each.service in ("rbin", "ssm")]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_hostile_request_is_a_bug(other: Caller, operation: Operation) -> None:
    for request in wire.hostile_requests(operation.service, operation.name, seed=3, count=25):
        answer = other.call_request(request, operation.name, service=operation.service)
        assert answer.status < 500, (request, answer.body)
        assert answer.status < 300 or answer.code != "-"
