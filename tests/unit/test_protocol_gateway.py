"""The gateway's steps, on made-up operations: what is refused, what is committed, what is logged."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import StatementError

from bakehouse.api.gateway import Gateway
from bakehouse.api.protocol.form import MAX_BODY_BYTES
from bakehouse.api.sigv4 import Secret
from bakehouse.domain.iam.principals import PrincipalKind
from tests.framework import wire
from tests.framework.kitchen import ALICE, BOB, CAROL, Kitchen, make_request, open_kitchen, sign_for


@pytest.fixture(name="kitchen")
def _kitchen() -> tuple[Gateway, Kitchen]:
    return open_kitchen()


def ask(gateway: Gateway, action: str, **how: Any) -> dict[str, Any]:
    reply = gateway.answer(make_request(action, **how))
    parsed = wire.read_reply(how.get("service", "ec2"), action, reply.body, reply.status)
    assert parsed["ResponseMetadata"]["RequestId"] == reply.request_id
    return {**parsed, "status": reply.status}


def run(gateway: Gateway, image_id: str = "ami-1", **more: Any) -> dict[str, Any]:
    return ask(gateway, "RunInstances", ImageId=image_id, MinCount=1, MaxCount=1, **more)


def code_of(parsed: dict[str, Any]) -> tuple[str, int]:
    return parsed["Error"]["Code"], parsed["status"]


def test_a_request_is_answered_and_committed(kitchen: tuple[Gateway, Kitchen]) -> None:
    gateway, inside = kitchen
    reply = run(gateway)
    assert (reply["status"], reply["OwnerId"]) == (200, "111111111111")
    assert (inside.committed, inside.rolled_back) == ([True], [])


def test_both_services_answer_at_the_same_address(kitchen: tuple[Gateway, Kitchen]) -> None:
    reply = ask(kitchen[0], "GetCallerIdentity", service="sts", by=BOB)
    assert (reply["Account"], reply["Arn"]) == ("222222222222", BOB.principal.arn)


def test_operations_of_the_model_that_are_missing_here_are_told_from_those_that_are_not_in_it(
    kitchen: tuple[Gateway, Kitchen],
) -> None:
    assert code_of(ask(kitchen[0], "DescribeFleets")) == ("UnsupportedOperation", 400)
    pairs = {"Action": "MakeCoffee", "Version": "2016-11-15"}
    assert b"<Code>InvalidAction</Code>" in kitchen[0].answer(sign_for(ALICE, pairs)).body
    assert b"<Code>MissingAction</Code>" in kitchen[0].answer(sign_for(ALICE, {"Version": "1"})).body
    # An action of one service is none of the other's.
    assert b"<Code>InvalidAction</Code>" in kitchen[0].answer(sign_for(ALICE, pairs, service="sts")).body


def test_errors_of_operations_reach_the_client_and_roll_back(kitchen: tuple[Gateway, Kitchen]) -> None:
    assert code_of(run(kitchen[0], "ami-unknown")) == ("InvalidAMIID.NotFound", 400)
    assert (kitchen[1].committed, kitchen[1].rolled_back) == ([], [True])


@pytest.mark.parametrize("image_id", ["ami-bug", "ami-unheard-of-reply"])
def test_a_bug_is_an_internal_error_whose_traceback_is_logged_under_the_request_id(
    kitchen: tuple[Gateway, Kitchen], caplog: pytest.LogCaptureFixture, image_id: str
) -> None:
    parsed = run(kitchen[0], image_id)
    assert code_of(parsed) == ("InternalError", 500)
    assert "broken" not in str(parsed)
    assert (kitchen[1].committed, kitchen[1].rolled_back) == ([], [True])
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [parsed["ResponseMetadata"]["RequestId"] in record.getMessage() for record in errors] == [True]
    assert errors[0].exc_info is not None


def test_the_statements_parameters_of_a_database_error_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    password = "".join(("hun", "ter2"))

    def broken(**_: object) -> Any:
        raise StatementError("cannot", "INSERT INTO keys VALUES (?)", (password,), ValueError("x"))

    gateway, _ = open_kitchen()
    gateway._transaction = broken
    assert code_of(run(gateway)) == ("InternalError", 500)
    assert "INSERT INTO keys" in caplog.text
    assert password not in caplog.text


def test_each_request_is_logged_with_facts_and_without_parameters(
    kitchen: tuple[Gateway, Kitchen], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bakehouse.requests")
    run(kitchen[0], KeyName="my-private-words")
    run(kitchen[0], "ami-unknown")
    facts = [record.__dict__["request"] for record in caplog.records]
    assert [(one["action"], one["status"], one["code"], one["account"]) for one in facts] == [
        ("RunInstances", 200, "-", "111111111111"),
        ("RunInstances", 400, "InvalidAMIID.NotFound", "111111111111"),
    ]
    assert "my-private-words" not in caplog.text
    assert "secret" not in caplog.text


def test_a_dry_run_is_checked_but_does_nothing(kitchen: tuple[Gateway, Kitchen]) -> None:
    assert code_of(run(kitchen[0], DryRun="true")) == ("DryRunOperation", 412)
    assert code_of(ask(kitchen[0], "RunInstances", MinCount=1, DryRun="true")) == ("MissingParameter", 400)
    assert code_of(run(kitchen[0], "ami-unknown", DryRun="true")) == ("InvalidAMIID.NotFound", 400)
    assert code_of(ask(kitchen[0], "DescribeVolumes", DryRun="true", Filter__1__Name="x", Filter__1__Value__1="y")) == (
        "InvalidParameterValue",
        400,
    )
    assert (kitchen[1].done, kitchen[1].committed) == ([], [])
    assert run(kitchen[0], DryRun="false")["status"] == 200


def test_the_same_client_token_does_the_work_once(kitchen: tuple[Gateway, Kitchen]) -> None:
    gateway, inside = kitchen
    first, second = (run(gateway, ClientToken="t")["ReservationId"] for _ in range(2))
    assert first == second
    assert len(inside.done) == 1
    assert run(gateway, ClientToken="u")["ReservationId"] != first


def test_a_client_token_with_other_parameters_is_a_mismatch(kitchen: tuple[Gateway, Kitchen]) -> None:
    run(kitchen[0], ClientToken="t")
    assert code_of(run(kitchen[0], "ami-2", ClientToken="t")) == ("IdempotentParameterMismatch", 400)


def test_client_tokens_of_accounts_do_not_meet(kitchen: tuple[Gateway, Kitchen]) -> None:
    alices = run(kitchen[0], ClientToken="t")["ReservationId"]
    assert run(kitchen[0], by=BOB, ClientToken="t")["ReservationId"] != alices


def test_a_launch_is_repeated_by_who_asked_for_it_alone(kitchen: tuple[Gateway, Kitchen]) -> None:
    first = run(kitchen[0], by=CAROL, ClientToken="t")["ReservationId"]
    assert run(kitchen[0], by=CAROL, ClientToken="t")["ReservationId"] == first
    # Nobody has asked yet whether Alice may launch.
    assert code_of(run(kitchen[0], ClientToken="t")) == ("IdempotentParameterMismatch", 400)


def a_user_of_alices(key_id: str, user_id: str, *session_policies: str) -> Secret:
    principal = replace(ALICE.principal, kind=PrincipalKind.USER, owner_id=user_id, session_policies=session_policies)
    return replace(ALICE, access_key_id=key_id, principal=principal)


def test_a_client_token_replays_nothing_to_those_with_other_rights() -> None:
    erin, again = a_user_of_alices("AKIAERIN", "AIDA1"), a_user_of_alices("AKIAAGAIN", "AIDA1")
    narrow, dave = a_user_of_alices("ASIAERIN", "AIDA1", "{}"), a_user_of_alices("AKIADAVE", "AIDA2")
    gateway, inside = open_kitchen(erin, again, narrow, dave)
    replies = [run(gateway, by=by, ClientToken="t") for by in (erin, again)]
    assert replies[0]["ReservationId"] == replies[1]["ReservationId"]
    for by in (ALICE, narrow, dave):
        assert code_of(run(gateway, by=by, ClientToken="t")) == ("IdempotentParameterMismatch", 400)
    assert len(inside.done) == 1


def test_an_expired_client_token_is_run_anew_with_the_same_parameters_only(kitchen: tuple[Gateway, Kitchen]) -> None:
    gateway, inside = kitchen
    first = run(gateway, ClientToken="t")["ReservationId"]
    ((key, remembered),) = inside.remembered.items()
    inside.remembered[key] = replace(remembered, response=None, is_launch_over=True)
    assert code_of(run(gateway, "ami-2", ClientToken="t")) == ("IdempotentParameterMismatch", 400)
    second = run(gateway, ClientToken="t")["ReservationId"]
    assert second != first
    assert run(gateway, ClientToken="t")["ReservationId"] == second


def test_a_launch_is_not_replayed_when_nothing_is_left_of_it(kitchen: tuple[Gateway, Kitchen]) -> None:
    gateway, inside = kitchen
    run(gateway, ClientToken="t")
    ((key, remembered),) = inside.remembered.items()
    inside.remembered[key] = replace(remembered, is_launch_over=True)
    assert code_of(run(gateway, ClientToken="t")) == ("IdempotentInstanceTerminated", 400)
    assert code_of(run(gateway, "ami-2", ClientToken="t")) == ("IdempotentParameterMismatch", 400)


def test_a_failed_request_leaves_its_client_token_free(kitchen: tuple[Gateway, Kitchen]) -> None:
    assert code_of(run(kitchen[0], "ami-unknown", ClientToken="t"))[0] == "InvalidAMIID.NotFound"
    assert run(kitchen[0], ClientToken="t")["status"] == 200


@pytest.mark.parametrize("token", ["é", "a" * 129, "a b"])
def test_a_client_token_out_of_form_is_refused(kitchen: tuple[Gateway, Kitchen], token: str) -> None:
    assert code_of(run(kitchen[0], ClientToken=token)) == ("InvalidParameterValue", 400)


def test_filters_and_pages_work_together(kitchen: tuple[Gateway, Kitchen]) -> None:
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        filters = {"Filter__1__Name": "volume-id", "Filter__1__Value__1": "vol-1*"}
        reply = ask(kitchen[0], "DescribeVolumes", MaxResults=5, **filters, **more)
        found += [volume["VolumeId"] for volume in reply["Volumes"]]
        if "NextToken" not in reply:
            break
        more = {"NextToken": reply["NextToken"]}
    assert found == ["vol-1", *(f"vol-{number}" for number in range(10, 20))]


def test_a_page_token_of_one_account_is_no_good_for_another(kitchen: tuple[Gateway, Kitchen]) -> None:
    token = ask(kitchen[0], "DescribeVolumes", MaxResults=5)["NextToken"]
    reply = ask(kitchen[0], "DescribeVolumes", by=BOB, MaxResults=5, NextToken=token)
    assert code_of(reply) == ("InvalidPaginationToken", 400)


def test_a_presigned_request_is_answered(kitchen: tuple[Gateway, Kitchen]) -> None:
    request = sign_for(ALICE, {"Action": "DescribeKeyPairs", "Version": "2016-11-15"}, presigned_for_s=60)
    assert kitchen[0].answer(request).status == 200


def test_nothing_is_told_to_those_who_did_not_sign(kitchen: tuple[Gateway, Kitchen]) -> None:
    for action in ("RunInstances", "DescribeFleets", "MakeCoffee"):
        request = replace(make_request(action), headers=(("host", "127.0.0.1:4566"),))
        assert b"AWSAccessKeyId" in kitchen[0].answer(request).body
    assert kitchen[1].done == []


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"a" * (MAX_BODY_BYTES + 1),
        b"&&&",
        b"=",
        b"Action=RunInstances&Action=X",
        b"%",
        b"a.b=1&a=2",
    ],
)
def test_garbage_is_a_4xx(kitchen: tuple[Gateway, Kitchen], body: bytes) -> None:
    request = replace(make_request("RunInstances"), body=body)
    assert 400 <= kitchen[0].answer(request).status < 500


@pytest.mark.parametrize("action", ["RunInstances", "DescribeKeyPairs", "DescribeVolumes"])
def test_no_hostile_request_of_the_generator_is_a_bug(kitchen: tuple[Gateway, Kitchen], action: str) -> None:
    for pairs in wire.hostile_pairs("ec2", action, seed=7, count=300):
        reply = kitchen[0].answer(sign_for(ALICE, pairs))
        assert reply.status < 500, pairs
        wire.read_reply("ec2", action, reply.body, reply.status)
