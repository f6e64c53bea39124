"""What one account cannot do to another, generated from the models: a new operation is covered at once.

Every parameter that names a resource is tried with another account's; the answer must be the one for a resource
that does not exist, and nothing of the other account may change or be seen.
"""

from typing import Any

import pytest

from bakehouse.api.models import get_operation_model, input_members
from bakehouse.api.registry import Operation
from tests.framework.belongings import Belongings, lasting
from tests.framework.caller import Answer, Caller
from tests.framework.naming import EC2, NAMINGS, NOT_WITH_OWN, UNKNOWN_IDS, Naming, request_for

# What a listing must be asked for, to list all that it can.
ASKS: dict[str, dict[str, Any]] = {"DescribeLaunchTemplateVersions": {"Versions": ["$Latest", "$Default"]}}


def everything(caller: Caller) -> dict[str, Any]:
    """All that an account is shown without being asked for anything in particular."""
    shown = {each.name: caller.call(each.name, ASKS.get(each.name)) for each in EC2 if is_listing(each)}
    return {name: strip(answer) for name, answer in shown.items()}


def is_listing(operation: Operation) -> bool:
    model = get_operation_model("ec2", operation.name)
    required = model.input_shape.required_members if model.input_shape else []
    return operation.name.startswith("Describe") and not required


def strip(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {name: value for name, value in lasting(answer.parsed).items() if name != "ResponseMetadata"}


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
    before = everything(administrator), everything(other)
    wrong = [verdict for naming in NAMINGS if (verdict := judge(naming, other, belongings, others_belongings))]
    assert not wrong, "\n".join(wrong)
    assert (everything(administrator), everything(other)) == before


def judge(naming: Naming, other: Caller, belongings: Belongings, own: Belongings) -> str:
    """What is wrong about the answers to one parameter, or nothing."""
    foreign, unknown = getattr(belongings, naming.kind), UNKNOWN_IDS[naming.kind]
    for_none = other.call(naming.operation, request_for(naming, unknown, own))
    for_foreign = other.call(naming.operation, request_for(naming, foreign, own))
    if said(for_foreign, foreign) != said(for_none, unknown):
        return f"{naming}: {for_foreign.body!r} but for none {for_none.body!r}"
    if for_none.status == 200 or (naming.operation, naming.path) in NOT_WITH_OWN:
        return ""  # a key pair may be deleted twice
    if "DryRun" not in input_members(get_operation_model("ec2", naming.operation)):
        return ""  # it would be done
    # The refusal was for the resource: with the caller's own another answer comes.
    members = input_members(get_operation_model("ec2", naming.operation))
    # A few have no DryRun; what they are asked for here changes nothing.
    dry_run = {"DryRun": True} if "DryRun" in members else {}
    with_own = other.call(naming.operation, {**request_for(naming, getattr(own, naming.kind), own), **dry_run})
    return f"{naming}: refused for another reason: {with_own.body!r}" if with_own.code == for_none.code else ""


@pytest.mark.programs
def test_no_listing_shows_anything_of_another_account_whatever_the_filter(
    other: Caller, belongings: Belongings, others_belongings: Belongings
) -> None:
    words = [word.encode() for word in belongings.words()]
    for operation in EC2:
        if not is_listing(operation):
            continue
        asks = ASKS.get(operation.name, {})
        requests: list[dict[str, Any]] = [asks]
        if operation.filters is not None:
            tag_names = [f"tag:{belongings.key_pair_name}", "tag-key", "tag-value"] if operation.filters.tags else []
            names = [*operation.filters.paths, *operation.filters.outer, *tag_names]
            values = ["*", *belongings.words()]
            requests += [{**asks, "Filters": [{"Name": name, "Values": values}]} for name in names]
        requests += [
            {name: ["all", belongings.account_id]}
            for name in ("ExecutableUsers", "RestorableByUserIds")
            if takes(operation, name)
        ]
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
