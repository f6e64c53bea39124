"""Signatures made by botocore, whole and tampered with; and the specification's own example."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from urllib.parse import urlencode

import pytest

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.protocol.form import split_pairs
from bakehouse.api.sigv4 import Claim, Secret, Verifier, canonical_request, read_claim, sign
from bakehouse.domain.iam import principals
from bakehouse.errors import ApiError
from tests.framework import wire

SECRET = Secret(
    access_key_id="AKIDEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    principal=principals.root("111122223333"),
)
PAIRS = {"Action": "DescribeImages", "Version": "2016-11-15", "Filter.1.Value.1": "a b+c/é~*"}


def signed(**changes: Any) -> HttpRequest:
    key = {"access_key_id": SECRET.access_key_id, "secret_access_key": SECRET.secret_access_key}
    return wire.sign(PAIRS, **{**key, **changes})


def verify(request: HttpRequest, *, service: str = "ec2", secret: Secret = SECRET, late_s: float = 0) -> Secret:
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=late_s)

    verifier = Verifier(credentials={secret.access_key_id: secret}.get, regions=("us-east-1",), now=now)
    return verifier.verify(request, read_claim(request), service)


def code_of(request: HttpRequest, **how: Any) -> tuple[str, int]:
    with pytest.raises(ApiError) as refused:
        verify(request, **how)
    return refused.value.code, refused.value.status


def with_header(request: HttpRequest, name: str, value: str | None) -> HttpRequest:
    rest = tuple((found, text) for found, text in request.headers if found != name)
    return replace(request, headers=rest if value is None else (*rest, (name, value)))


def resigned(request: HttpRequest, **changes: str) -> HttpRequest:
    """The request with a signature that is right for what it is now."""
    before = read_claim(request)
    assert before is not None
    claim = replace(before, **changes)  # type: ignore[arg-type]  # texts for fields that are texts
    signature = sign(SECRET.secret_access_key, claim, canonical_request(request, claim.signed_headers))
    header = (
        f"AWS4-HMAC-SHA256 Credential={claim.access_key_id}/{claim.scope}, "
        f"SignedHeaders={';'.join(claim.signed_headers)}, Signature={signature}"
    )
    return with_header(request, "authorization", header)


def test_the_example_of_the_specification_gives_its_published_signature() -> None:
    request = HttpRequest(
        method="GET",
        raw_path=b"/",
        query=b"Action=ListUsers&Version=2010-05-08",
        headers=(
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ),
        body=b"",
    )
    claim = Claim(
        access_key_id="AKIDEXAMPLE",
        date="20150830",
        region="us-east-1",
        service="iam",
        signed_headers=("content-type", "host", "x-amz-date"),
        signature="",
        moment=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
        expires_s=None,
        token=None,
    )
    expected = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    assert sign(SECRET.secret_access_key, claim, canonical_request(request, claim.signed_headers)) == expected


@pytest.mark.parametrize("service", ["ec2", "sts"])
def test_what_botocore_signs_is_accepted(service: str) -> None:
    assert verify(signed(service=service), service=service) == SECRET
    assert verify(signed(service=service, presigned_for_s=60), service=service) == SECRET


def test_a_query_with_repeated_and_escaped_names_is_canonicalised_as_botocore_does() -> None:
    request = HttpRequest(method="GET", raw_path=b"/a//b/../c%20d", query=b"b=2&a=%7e&a=1&c", headers=(), body=b"")
    assert canonical_request(request, ()).split("\n")[:3] == ["GET", "/a/c%2520d", "a=1&a=~&b=2&c="]


@pytest.mark.parametrize("other", [b"+", b"%20", b"%2b", b"%2B%20", b"%252B", b"=", b"", b"%zz", b"%25zz", b"%C3%A9"])
def test_requests_with_one_signature_mean_one_thing(other: bytes) -> None:
    presigned = signed(presigned_for_s=60)
    assert b"b%2Bc" in presigned.query
    changed = replace(presigned, query=presigned.query.replace(b"b%2Bc", b"b" + other + b"c"))
    if split_pairs(changed.query) == split_pairs(presigned.query):
        assert verify(changed) == SECRET
    else:
        assert code_of(changed) == ("AuthFailure", 401)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("between", [",", ", ", " ,\t"])
def test_the_fields_of_the_header_may_come_in_any_order(order: tuple[int, ...], between: str) -> None:
    request = signed()
    header = request.find_header("authorization")
    assert header is not None
    algorithm, _, rest = header.partition(" ")
    fields = rest.split(", ")
    changed = f"{algorithm}  {between.join(fields[place] for place in order)} "
    assert verify(with_header(request, "authorization", changed)) == SECRET


def test_an_unsigned_request_is_refused_in_the_words_of_its_service() -> None:
    request = HttpRequest(method="POST", raw_path=b"/", query=b"", headers=(("host", "x"),), body=b"Action=X")
    assert code_of(request) == ("MissingParameter", 400)
    assert code_of(request, service="sts") == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize("presigned_for_s", [None, 60])
def test_a_wrong_secret_is_refused(presigned_for_s: int | None) -> None:
    request = signed(secret_access_key="another", presigned_for_s=presigned_for_s)
    assert code_of(request) == ("AuthFailure", 401)
    request = signed(secret_access_key="another", presigned_for_s=presigned_for_s, service="sts")
    assert code_of(request, service="sts") == ("SignatureDoesNotMatch", 403)


def test_an_unknown_key_is_refused() -> None:
    assert code_of(signed(access_key_id="AKIDNOBODY")) == ("AuthFailure", 401)
    assert code_of(signed(access_key_id="AKIDNOBODY", service="sts"), service="sts") == (
        "InvalidClientTokenId",
        403,
    )


def test_whatever_is_changed_after_signing_is_noticed() -> None:
    request = signed()
    changed = [
        replace(request, body=request.body + b"&MaxResults=5"),
        replace(request, method="GET"),
        replace(request, query=b"MaxResults=5"),
        replace(request, raw_path=b"/elsewhere"),
        with_header(request, "host", "elsewhere"),
        with_header(request, "content-type", "text/plain"),
        with_header(request, "x-amz-security-token", "sneaked in"),
        with_header(request, "x-amz-target", "sneaked in"),
    ]
    assert [code_of(one) for one in changed] == [("AuthFailure", 401)] * len(changed)
    presigned = signed(presigned_for_s=60)
    assert code_of(replace(presigned, query=presigned.query + b"&MaxResults=5")) == ("AuthFailure", 401)
    assert code_of(replace(presigned, query=presigned.query.replace(b"Expires=60", b"Expires=99"))) == (
        "AuthFailure",
        401,
    )


def test_a_stated_payload_hash_must_be_that_of_the_body() -> None:
    body = urlencode(PAIRS).encode()
    right = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    assert verify(signed(more_headers=right)) == SECRET
    wrong = with_header(signed(more_headers=right), "x-amz-content-sha256", "0" * 64)
    assert code_of(resigned(wrong)) == ("AuthFailure", 401)


def test_the_date_of_the_scope_must_be_that_of_the_request() -> None:
    assert verify(resigned(signed())) == SECRET
    assert code_of(resigned(signed(), date="20200101")) == ("AuthFailure", 401)


@pytest.mark.parametrize(
    ("late_s", "code"),
    [(290, None), (-290, None), (310, "AuthFailure"), (-310, "AuthFailure"), (1000, "RequestExpired")],
)
def test_a_date_may_be_five_minutes_off_but_no_more(late_s: float, code: str | None) -> None:
    if code is None:
        assert verify(signed(), late_s=late_s) == SECRET
    else:
        assert code_of(signed(), late_s=late_s)[0] == code


def test_a_presigned_request_lives_as_long_as_it_says() -> None:
    assert verify(signed(presigned_for_s=3600), late_s=3500) == SECRET
    assert code_of(signed(presigned_for_s=3600), late_s=3700) == ("RequestExpired", 400)


@pytest.mark.parametrize("change", [{"region": "eu-west-1"}, {"service": "s3"}])
def test_a_signature_for_another_region_or_service_is_refused(change: dict[str, str]) -> None:
    assert code_of(signed(**change)) == ("AuthFailure", 401)


def test_the_token_of_temporary_credentials_must_be_the_right_one() -> None:
    temporary = replace(SECRET, session_token="token")
    assert verify(signed(token="token"), secret=temporary) == temporary
    assert verify(signed(token="token", presigned_for_s=60), secret=temporary) == temporary
    assert code_of(signed(token="other"), secret=temporary)[0] == "AuthFailure"
    assert code_of(signed(), secret=temporary)[0] == "AuthFailure"
    assert code_of(signed(token="unasked"))[0] == "AuthFailure"


AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/ec2/aws4_request, "
    f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer x",
        "AWS AKID:signature",
        AUTHORIZATION.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        AUTHORIZATION.replace("host;", ""),
        AUTHORIZATION.replace("/aws4_request", ""),
        AUTHORIZATION.replace("AK/", "/"),
        AUTHORIZATION.replace("0" * 64, "0" * 63),
        AUTHORIZATION.replace("0" * 64, "Z" * 64),
        AUTHORIZATION + ", " + AUTHORIZATION,
        AUTHORIZATION + ",",
        AUTHORIZATION + ", SignedHeaders=host",
        AUTHORIZATION + ", Version=4",
        AUTHORIZATION.replace("SignedHeaders=host;x-amz-date, ", ""),
        AUTHORIZATION.replace("host;", "host ;"),
        AUTHORIZATION.replace("Signature=", "signature="),
        "AWS4-HMAC-SHA256 " + "x" * 10_000,
    ],
)
def test_a_malformed_authorization_header_is_an_incomplete_signature(header: str) -> None:
    headers = (("host", "x"), ("x-amz-date", "20260101T000000Z"), ("authorization", header))
    request = HttpRequest(method="POST", raw_path=b"/", query=b"", headers=headers, body=b"")
    assert code_of(request) == ("IncompleteSignature", 400)


@pytest.mark.parametrize("date", [None, "", "yesterday", "20261301T000000Z", "2026-01-01T00:00:00Z"])
def test_a_missing_or_malformed_date_is_an_incomplete_signature(date: str | None) -> None:
    assert code_of(with_header(signed(), "x-amz-date", date)) == ("IncompleteSignature", 400)


@pytest.mark.parametrize(
    "query",
    [
        b"X-Amz-Algorithm=AWS4-HMAC-SHA256",
        b"X-Amz-Algorithm=x&X-Amz-Credential=a/b/c/d/e&X-Amz-Date=x&X-Amz-Expires=1&X-Amz-SignedHeaders=host",
        b"X-Amz-Algorithm=%ff",
    ],
)
def test_a_malformed_presigned_query_is_an_incomplete_signature(query: bytes) -> None:
    request = HttpRequest(method="GET", raw_path=b"/", query=query, headers=(("host", "x"),), body=b"")
    assert code_of(request) == ("IncompleteSignature", 400)


@pytest.mark.parametrize("expires", [b"0", b"-1", b"604801", b"1e3", b"x"])
def test_a_presigned_request_must_expire_within_a_week(expires: bytes) -> None:
    request = signed(presigned_for_s=60)
    request = replace(request, query=request.query.replace(b"Expires=60", b"Expires=" + expires))
    assert code_of(request) == ("IncompleteSignature", 400)


def test_a_secret_never_shows_itself() -> None:
    assert "wJalr" not in repr(SECRET)
