"""Who is let in: signatures checked by the whole service, over real HTTP."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest

from bakehouse.api.http_request import HttpRequest
from tests.framework import wire
from tests.framework.caller import Caller
from tests.framework.service import Keys, Service

REGIONS = {"Action": "DescribeRegions", "Version": "2016-11-15"}


def signed(keys: Keys, *, presigned_for_s: int | None = None) -> HttpRequest:
    return wire.sign(
        REGIONS,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        presigned_for_s=presigned_for_s,
    )


def with_header(request: HttpRequest, name: str, value: str) -> HttpRequest:
    return replace(request, headers=(*(one for one in request.headers if one[0] != name), (name, value)))


def signed_minutes_ago(keys: Keys, minutes: int) -> HttpRequest:
    moment = datetime.now(UTC) - timedelta(minutes=minutes)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        return signed(keys)


def test_a_signed_and_a_presigned_request_are_answered(administrator: Caller) -> None:
    for request in (signed(administrator.keys), signed(administrator.keys, presigned_for_s=60)):
        assert administrator.send_request(request, "DescribeRegions").status == 200


def test_what_is_not_signed_by_a_key_of_ours_is_refused(administrator: Caller) -> None:
    keys = administrator.keys
    good, presigned = signed(keys), signed(keys, presigned_for_s=60)
    unsigned = replace(good, headers=tuple(one for one in good.headers if one[0] != "authorization"))
    tampered = replace(good, body=good.body.replace(b"DescribeRegions", b"DescribeVolumes"))
    cases = {
        "wrong secret": (signed(replace(keys, secret_access_key="wrong")), "AuthFailure", 401),
        "unknown key": (signed(replace(keys, access_key_id="AKIAUNKNOWN")), "AuthFailure", 401),
        "tampered body": (tampered, "AuthFailure", 401),
        "tampered query": (replace(presigned, query=presigned.query + b"&DryRun=true"), "AuthFailure", 401),
        "tampered date": (with_header(good, "x-amz-date", "20200101T000000Z"), "RequestExpired", 400),
        "stale": (signed_minutes_ago(keys, 20), "RequestExpired", 400),
        "from the future": (signed_minutes_ago(keys, -20), "AuthFailure", 401),
        "presigned for too long": (signed(keys, presigned_for_s=8 * 86400), "IncompleteSignature", 400),
        "unsigned": (unsigned, "MissingParameter", 400),
        "nonsense": (with_header(good, "authorization", "Bearer x"), "IncompleteSignature", 400),
    }
    answers = {name: administrator.send_request(request, "-") for name, (request, _, _) in cases.items()}
    assert {name: (one.code, one.status) for name, one in answers.items()} == {
        name: (code, status) for name, (_, code, status) in cases.items()
    }


@pytest.mark.parametrize("service_name", ["ec2", "sts"])
def test_no_two_accounts_keys_can_be_mixed(service: Service, administrator: Caller, service_name: str) -> None:
    other = service.new_account()
    mixed = replace(administrator.keys, secret_access_key=other.secret_access_key)
    caller = Caller(service, mixed)
    operation = {"ec2": "DescribeRegions", "sts": "GetCallerIdentity"}[service_name]
    assert caller.call(operation, service=service_name).code in ("AuthFailure", "SignatureDoesNotMatch")
    caller.close()
