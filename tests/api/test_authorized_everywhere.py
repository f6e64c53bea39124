"""Every operation of every service asks the caller's policies: found in the registry, so that a new one is covered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bakehouse.api.models import Shape
from bakehouse.api.registry import Operation, discover
from tests.framework.caller import Answer, Caller
from tests.framework.identities import allow, deny, new_user
from tests.framework.naming import EC2, UNKNOWN_IDS, kind_at
from tests.framework.parameters import least_request
from tests.framework.service import Service

REFUSALS = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
# Whoever has a key may ask these.
FREE = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}
# What a request needs to be one, besides the required parameters with any values.
VALUES = {
    "RoleArn": "arn:aws:iam::111122223333:role/any",
    "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess",
    "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
    "VersionId": "v1",
    "Path": "/any/",
}
# The same for parameters that are not required by the model.
MORE: dict[str, dict[str, Any]] = {
    "AssociateIamInstanceProfile": {"IamInstanceProfile": {"Name": "any"}},
    "CreateLaunchTemplate": {"LaunchTemplateData": {"InstanceType": "t3.nano"}},
    "CreateLaunchTemplateVersion": {"LaunchTemplateData": {"InstanceType": "t3.nano"}},
    "CreateTags": {"Tags": [{"Key": "k", "Value": "v"}]},
    "ReplaceIamInstanceProfileAssociation": {"IamInstanceProfile": {"Name": "any"}},
}


def request_for(operation: Operation, image_id: str) -> dict[str, Any]:
    """A request that is well-formed and names nothing that exists, but for an image that launches."""

    def value(path: str, shape: Shape) -> Any:
        kind = kind_at(operation.name, path) if operation.service == "ec2" else None
        name = path.rpartition(".")[2].removesuffix("[]")
        if shape.type_name == "timestamp":
            return datetime.now(UTC) + timedelta(days=1)
        if shape.type_name != "string" or getattr(shape, "enum", ()):
            return max(shape.metadata.get("min", 1), 1) if shape.type_name in ("integer", "long") else None
        return UNKNOWN_IDS.get(kind or "") or VALUES.get(name) or "a" * max(11, shape.metadata.get("min", 0))

    request = least_request(operation.service, operation.name, value)
    if operation.name == "RunInstances":
        request["ImageId"] = image_id
    return {**request, **MORE.get(operation.name, {})}


def call(caller: Caller, operation: Operation, image_id: str) -> Answer:
    return caller.call(operation.name, request_for(operation, image_id), service=operation.service)


@pytest.mark.programs
def test_a_user_without_rights_is_refused_everything(service: Service, image_id: str) -> None:
    caller = Caller(service, new_user(service))
    wrong = [
        f"{each.service} {each.name}: {answer.status} {answer.code} {answer.message}"
        for each in discover()
        if (each.service, each.name) not in FREE and (answer := call(caller, each, image_id)).code not in REFUSALS
    ]
    caller.close()
    assert not wrong, "\n".join(wrong)


@pytest.mark.programs
def test_a_dry_run_that_is_not_allowed_says_so(service: Service, image_id: str) -> None:
    caller = Caller(service, new_user(service, allow("*"), deny("ec2:*")))
    tried = [each for each in EC2 if each.name in ("StopInstances", "CreateKeyPair", "DescribeImages", "RunInstances")]
    for each in tried:
        answer = caller.call(each.name, {**request_for(each, image_id), "DryRun": True})
        assert (answer.status, answer.code) == (403, "UnauthorizedOperation")
    caller.close()
    assert len(tried) == 4
