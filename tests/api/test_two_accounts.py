"""What one account cannot do to another, generated from the models: a new operation is covered at once.

Every parameter that names a resource is tried with another account's; the answer must be the one for a resource
that does not exist, and nothing of the other account may change or be seen.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bakehouse.api.models import Shape, get_operation_model, input_members, split_path
from bakehouse.api.registry import Operation, discover
from tests.framework.belongings import Belongings
from tests.framework.caller import Answer, Caller
from tests.framework.parameters import honoured_leaves, least_request, put
from tests.framework.service import Keys, Service

EC2 = [each for each in discover() if each.service == "ec2"]

# What a parameter of this name (its last member) names; by operation where that is something else.
KINDS = {
    "GroupId": "security_group",
    "GroupIds": "security_group",
    "GroupName": "security_group_name",
    "GroupNames": "security_group_name",
    "Groups": "security_group",
    "ImageId": "image",
    "ImageIds": "image",
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "KeyName": "key_pair_name",
    "KeyNames": "key_pair_name",
    "KeyPairId": "key_pair",
    "KeyPairIds": "key_pair",
    "SecurityGroupIds": "security_group",
    "SecurityGroupRuleIds": "security_group_rule",
    "SecurityGroups": "security_group_name",
    "SnapshotId": "snapshot",
    "SnapshotIds": "snapshot",
    "SourceSecurityGroupName": "security_group_name",
    "SubnetId": "subnet",
    "SubnetIds": "subnet",
    "VolumeId": "volume",
    "VolumeIds": "volume",
    "VpcId": "vpc",
    "VpcIds": "vpc",
}
TAGGABLE = [
    "image",
    "instance",
    "key_pair",
    "network_interface",
    "security_group",
    "security_group_rule",
    "snapshot",
    "subnet",
    "volume",
    "vpc",
]
# Parameters that look as if they named a resource of an account, and do not.
NO_RESOURCE = {
    "AttributeNames",
    "DeviceName",
    "Group",
    "Name",
    "OwnerIds",
    "RegionNames",
    "RootDeviceName",
    "UserGroups",
    "UserId",
    "UserIds",
    "VirtualName",
    "ZoneIds",
    "ZoneNames",
}
# Parameters that give a new resource its name.
NEW_NAMES = {("CreateKeyPair", "KeyName"), ("CreateSecurityGroup", "GroupName"), ("ImportKeyPair", "KeyName")}
# Not even the own one is found here: it is for ingress.
NOT_WITH_OWN = {("RevokeSecurityGroupEgress", "SecurityGroupRuleIds[]")}
LOOKS_LIKE_ONE = re.compile(r"(Ids?|Arns?|Names?|Groups?|Resources?)$")
# What else a request needs before the service looks at the resource: path and value, an own resource by its kind.
MORE: dict[str, dict[str, Any]] = {
    "AttachVolume": {"Device": "/dev/sdf"},
    "CreateTags": {"Tags": [{"Key": "k", "Value": "v"}]},
    "CreateVolume": {"AvailabilityZone": "us-east-1a"},
    "RegisterImage": {"RootDeviceName": "/dev/sdf"},
    "RunInstances": {"InstanceType": "t3.nano"},
}
BESIDE = {
    "BlockDeviceMappings": ("BlockDeviceMappings[].DeviceName", "/dev/sdf"),
    "IpPermissions": ("IpPermissions[].IpProtocol", "-1"),
}
UNKNOWN_IDS = {
    "image": "ami-00000000000000001",
    "instance": "i-00000000000000001",
    "key_pair": "key-00000000000000001",
    "network_interface": "eni-00000000000000001",
    "security_group": "sg-00000000000000001",
    "security_group_rule": "sgr-00000000000000001",
    "snapshot": "snap-00000000000000001",
    "subnet": "subnet-00000000000000001",
    "volume": "vol-00000000000000001",
    "vpc": "vpc-00000000000000001",
    "key_pair_name": "a-name-nobody-uses",
    "security_group_name": "a-name-nobody-uses",
}


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A parameter of an operation, and the kind of what it names."""

    operation: str
    path: str
    kind: str

    def __str__(self) -> str:
        return f"{self.operation} {self.path} {self.kind}"


def last_member(path: str) -> str:
    return [step for step in split_path(path) if step != "[]"][-1]


def namings_of(operation: Operation) -> Iterator[Naming]:
    for path, shape in honoured_leaves(operation):
        name = last_member(path)
        is_text = shape.type_name == "string" and not getattr(shape, "enum", ())
        if not is_text or name in NO_RESOURCE or (operation.name, path) in NEW_NAMES:
            continue
        kinds = TAGGABLE if name == "Resources" else [KINDS[name]] if name in KINDS else []
        assert kinds or not LOOKS_LIKE_ONE.search(name), (
            f"what does {path} of {operation.name} name? (KINDS, NO_RESOURCE)"
        )
        for kind in kinds:
            yield Naming(operation=operation.name, path=path, kind=kind)


NAMINGS = [naming for operation in EC2 for naming in namings_of(operation)]


def request_for(naming: Naming, resource: str, own: Belongings) -> dict[str, Any]:
    """A request that is right but for the resource in question; every other one it needs is the caller's."""

    def value(path: str, _shape: Shape) -> Any:
        kind = KINDS.get(last_member(path))
        return getattr(own, kind) if kind else None

    request = least_request("ec2", naming.operation, value)
    top = naming.path.partition("[")[0]
    if naming.operation == "RunInstances":
        request["ImageId"] = own.image
    if (naming.operation, top) == ("DetachVolume", "InstanceId"):
        request["VolumeId"] = own.attached_volume
    if top not in ("GroupId", "GroupName") and naming.operation.startswith(("Authorize", "Revoke")):
        request["GroupId"] = own.security_group
    for path, more in (*MORE.get(naming.operation, {}).items(), *([BESIDE[top]] if top in BESIDE else [])):
        put(request, path, more)
    put(request, naming.path, resource)
    return request


@pytest.fixture(scope="module")
def other(service: Service, other_keys: Keys) -> Iterator[Caller]:
    """The second account, which tries."""
    caller = Caller(service, other_keys)
    yield caller
    caller.close()


@pytest.fixture(scope="module")
def administrator(service: Service) -> Iterator[Caller]:
    """The first account, whose things are tried."""
    caller = Caller(service, service.administrator)
    yield caller
    caller.close()


def everything(caller: Caller) -> dict[str, Any]:
    """All that an account is shown without being asked for anything in particular."""
    shown = {each.name: caller.call(each.name) for each in EC2 if is_listing(each)}
    return {name: strip(answer) for name, answer in shown.items()}


def is_listing(operation: Operation) -> bool:
    model = get_operation_model("ec2", operation.name)
    required = model.input_shape.required_members if model.input_shape else []
    return operation.name.startswith("Describe") and not required


def strip(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {name: value for name, value in answer.parsed.items() if name != "ResponseMetadata"}


def said(answer: Answer, resource: str) -> tuple[int, str, str]:
    """What an answer says, apart from the name of what it was asked about."""
    return answer.status, answer.code, answer.message.replace(resource, "THIS")


def test_every_operation_that_could_name_anothers_resource_is_tried() -> None:
    assert len({naming.operation for naming in NAMINGS}) > 35
    assert {naming.kind for naming in NAMINGS} == set(UNKNOWN_IDS)


@pytest.mark.programs
def test_anothers_resources_answer_as_if_they_did_not_exist_and_stay_as_they_are(
    administrator: Caller, other: Caller, belongings: Belongings, others_belongings: Belongings
) -> None:
    before = everything(administrator)
    wrong = [verdict for naming in NAMINGS if (verdict := judge(naming, other, belongings, others_belongings))]
    assert not wrong, "\n".join(wrong)
    assert everything(administrator) == before


def judge(naming: Naming, other: Caller, belongings: Belongings, own: Belongings) -> str:
    """What is wrong about the answers to one parameter, or nothing."""
    foreign, unknown = getattr(belongings, naming.kind), UNKNOWN_IDS[naming.kind]
    for_none = other.call(naming.operation, request_for(naming, unknown, own))
    for_foreign = other.call(naming.operation, request_for(naming, foreign, own))
    if said(for_foreign, foreign) != said(for_none, unknown):
        return f"{naming}: {for_foreign.body!r} but for none {for_none.body!r}"
    if for_none.status == 200 or (naming.operation, naming.path) in NOT_WITH_OWN:
        return ""  # a key pair may be deleted twice
    # The refusal was for the resource: with the caller's own another answer comes.
    with_own = other.call(naming.operation, {**request_for(naming, getattr(own, naming.kind), own), "DryRun": True})
    return f"{naming}: refused for another reason: {with_own.body!r}" if with_own.code == for_none.code else ""


@pytest.mark.programs
def test_no_listing_shows_anything_of_another_account_whatever_the_filter(
    other: Caller, belongings: Belongings, others_belongings: Belongings
) -> None:
    words = [word.encode() for word in belongings.words()]
    for operation in EC2:
        if not is_listing(operation):
            continue
        requests: list[dict[str, Any]] = [{}]
        if operation.filters is not None:
            tag_names = [f"tag:{belongings.key_pair_name}", "tag-key", "tag-value"] if operation.filters.tags else []
            names = [*operation.filters.paths, *operation.filters.outer, *tag_names]
            values = ["*", *belongings.words()]
            requests += [{"Filters": [{"Name": name, "Values": values}]} for name in names]
        requests += [{name: ["all", belongings.account_id]} for name in ("ExecutableUsers",) if takes(operation, name)]
        requests += [{name: [belongings.account_id]} for name in ("Owners", "OwnerIds") if takes(operation, name)]
        for request in requests:
            answer = other.call(operation.name, request)
            assert answer.status == 200, (operation.name, request, answer.body)
            assert not [word for word in words if word in answer.body], (operation.name, request)


def test_names_of_another_account_are_free(other: Caller, belongings: Belongings) -> None:
    name = belongings.key_pair_name
    made = other.call("CreateSecurityGroup", {"GroupName": name, "Description": "d"})
    assert other.call("CreateKeyPair", {"KeyName": name, "KeyType": "ed25519"}).status == 200
    assert other.call("DeleteKeyPair", {"KeyName": name}).status == 200
    assert other.call("DeleteSecurityGroup", {"GroupId": made.parsed["GroupId"]}).status == 200


def takes(operation: Operation, name: str) -> bool:
    return name in input_members(get_operation_model("ec2", operation.name))
