"""Signature Version 4, recomputed from what arrived: Authorization header and presigned query.

Invariant: a request passes only if its signature, recomputed over the bytes received with the secret we
hold, is equal (in constant time), its date is near ours and its scope names this region and this service.

Sources: IAM User Guide, "Create a signed AWS API request" (algorithm) and "Troubleshoot Signature Version
4" (the order of the checks and their messages). EC2 answers AuthFailure where other services say
SignatureDoesNotMatch or InvalidClientTokenId; EC2 User Guide, "Error codes": AuthFailure, RequestExpired.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote

from bakehouse import errors
from bakehouse.api.http_request import HttpRequest
from bakehouse.domain.iam.principals import Principal
from bakehouse.errors import ApiError, iam

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION_FIELDS = {
    "Credential": re.compile(r"[^,\s]+"),
    "SignedHeaders": re.compile(r"[^,\s]+"),
    "Signature": re.compile(r"[0-9a-f]{64}"),
}
_BASIC_DATE = re.compile(r"\d{8}T\d{6}Z")
_MAX_SKEW = timedelta(minutes=5)
# Beyond this a stale request is called expired, not merely wrong (EC2's RequestExpired).
_EXPIRED_AFTER = timedelta(minutes=15)
_MAX_PRESIGNED_S = 7 * 24 * 3600
_UNRESERVED = "-_.~"
_WITHOUT_REGIONS = ("iam", "sts")
# These take part in what the request means, so they must be signed when they are there.
_MUST_BE_SIGNED = ("x-amz-date", "x-amz-security-token", "x-amz-target", "x-amz-content-sha256")


@dataclass(frozen=True, kw_only=True)
class Secret:
    """An active access key: its secret and whom it stands for."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    principal: Principal
    # Temporary keys only: the token that must come with every request, and when they end.
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    @property
    def account_id(self) -> str:
        """The account of whom it stands for."""
        return self.principal.account_id


Credentials = Callable[[str], Secret | None]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a request says about its own signature; nothing of it is verified yet."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    moment: datetime
    # Presigned requests only.
    expires_s: int | None
    token: str | None

    @property
    def scope(self) -> str:
        """The credential scope without the access key id."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def read_claim(request: HttpRequest) -> Claim | None:
    """Return the claim in the header or the query; None for an unsigned request; IncompleteSignature if
    malformed.
    """
    query = _split_query(request.query)
    header = request.find_header("authorization")
    if header is not None:
        return _read_header_claim(request, header)
    names = dict(query)
    if names.get("X-Amz-Algorithm") is not None:
        return _read_query_claim(names)
    return None


def _read_header_claim(request: HttpRequest, header: str) -> Claim:
    fields = _split_authorization(header)
    return _make_claim(
        fields["Credential"],
        signed=fields["SignedHeaders"],
        signature=fields["Signature"],
        moment=_read_header_date(request),
        expires_s=None,
        token=request.find_header("x-amz-security-token"),
    )


def _split_authorization(header: str) -> dict[str, str]:
    """The fields of the header, in any order, each once."""
    algorithm, _, rest = header.partition(" ")
    parts = [part.strip().partition("=") for part in rest.split(",")]
    fields = {name: value for name, _, value in parts}
    is_whole = len(parts) == len(fields) and fields.keys() == _AUTHORIZATION_FIELDS.keys()
    is_formed = is_whole and all(form.fullmatch(fields[name]) for name, form in _AUTHORIZATION_FIELDS.items())
    if algorithm != _ALGORITHM or not is_formed:
        raise errors.incomplete_signature(
            f"Authorization header must be: {_ALGORITHM} Credential=..., SignedHeaders=..., Signature=..."
        )
    return fields


def _read_query_claim(query: Mapping[str, str]) -> Claim:
    names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    if missing := [f"X-Amz-{name}" for name in names if not query.get(f"X-Amz-{name}")]:
        raise errors.incomplete_signature(f"AWS query-string parameters must include {', '.join(missing)}.")
    if query["X-Amz-Algorithm"] != _ALGORITHM:
        raise errors.incomplete_signature(f"Unsupported AWS 'algorithm'; must be {_ALGORITHM}.")
    expires = query["X-Amz-Expires"]
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 0 < int(expires) <= _MAX_PRESIGNED_S:
        raise errors.incomplete_signature(f"X-Amz-Expires must be between 1 and {_MAX_PRESIGNED_S} seconds.")
    return _make_claim(
        query["X-Amz-Credential"],
        signed=query["X-Amz-SignedHeaders"],
        signature=query["X-Amz-Signature"],
        moment=_read_basic_date(query["X-Amz-Date"]),
        expires_s=int(expires),
        token=query.get("X-Amz-Security-Token"),
    )


def _make_claim(
    credential: str,
    *,
    signed: str,
    signature: str,
    moment: datetime,
    expires_s: int | None,
    token: str | None,
) -> Claim:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts):
        form = "keyid/date/region/service/aws4_request"
        raise errors.incomplete_signature(f"Credential must have exactly 5 slash-delimited elements: {form}.")
    headers = tuple(signed.lower().split(";"))
    if "host" not in headers:
        raise errors.incomplete_signature("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    return Claim(
        access_key_id=parts[0],
        date=parts[1],
        region=parts[2],
        service=parts[3],
        signed_headers=headers,
        signature=signature,
        moment=moment,
        expires_s=expires_s,
        token=token,
    )


def _read_basic_date(text: str) -> datetime:
    try:
        if _BASIC_DATE.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise errors.incomplete_signature("Date must be in ISO-8601 'basic format', e.g. 20260131T120000Z.")


def _read_header_date(request: HttpRequest) -> datetime:
    if (text := request.find_header("x-amz-date")) is not None:
        return _read_basic_date(text)
    text = request.find_header("date")
    if text is None:
        raise errors.incomplete_signature("Authorization header requires 'X-Amz-Date' or 'Date' header.")
    if _BASIC_DATE.fullmatch(text):
        return _read_basic_date(text)
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise errors.incomplete_signature("The Date header is not a date.") from None


def _split_query(query: bytes) -> list[tuple[str, str]]:
    pairs = (part.partition("=") for part in query.decode("latin-1").split("&") if part)
    return [(_decode(name), _decode(value)) for name, _, value in pairs]


def _decode(text: str, encoding: str = "utf-8") -> str:
    """A plus is a space, as to who reads the parameters: were it none, one signature would have two meanings."""
    return unquote(text.replace("+", " "), encoding=encoding, errors="replace")


def _canonical_query(query: bytes) -> str:
    pairs = (part.partition("=") for part in query.decode("latin-1").split("&") if part)
    # Decoded and encoded again as bytes, so that a client's own choice of what to escape does not matter.
    encoded = [
        (_encode_again(name), _encode_again(value)) for name, _, value in pairs if _decode(name) != "X-Amz-Signature"
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _encode_again(text: str) -> str:
    return quote(_decode(text, "latin-1"), safe=_UNRESERVED, encoding="latin-1")


def _canonical_path(raw_path: bytes) -> str:
    """Dot segments and empty segments go; each segment is encoded once more than it was sent (all but S3
    do).
    """
    path = raw_path.decode("latin-1")
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    joined = "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
    return quote(joined, safe="/" + _UNRESERVED, encoding="latin-1")


def canonical_request(request: HttpRequest, signed_headers: tuple[str, ...]) -> str:
    """Return the canonical request; a signed header that did not arrive counts as empty."""
    lines = [request.method, _canonical_path(request.raw_path), _canonical_query(request.query)]
    lines += [f"{name}:{request.find_header(name) or ''}" for name in signed_headers]
    lines += ["", ";".join(signed_headers), hashlib.sha256(request.body).hexdigest()]
    return "\n".join(lines)


def sign(secret_access_key: str, claim: Claim, canonical: str) -> str:
    """Return the signature, in hexadecimal, that ``claim`` should have."""
    key = b"AWS4" + secret_access_key.encode()
    for part in (claim.date, claim.region, claim.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    stamp = f"{claim.moment:%Y%m%dT%H%M%SZ}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return hmac.digest(key, f"{_ALGORITHM}\n{stamp}\n{claim.scope}\n{digest}".encode(), hashlib.sha256).hex()


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """Verifies signatures for the regions served here, the first of which is named to those who sign for others."""

    credentials: Credentials
    regions: tuple[str, ...]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def verify(self, request: HttpRequest, claim: Claim | None, service: str) -> Secret:
        """Return whose key signed the request, or raise the error the service's clients know."""
        replies = _EC2 if service == "ec2" else _OTHERS
        if claim is None:
            raise replies.unsigned()
        self._check_time(claim, replies)
        self._check_scope(claim, service, replies)
        _check_signed_headers(request, claim, replies)
        secret = self.credentials(claim.access_key_id)
        if secret is None:
            raise replies.unknown_key()
        if not hmac.compare_digest((claim.token or "").encode(), (secret.session_token or "").encode()):
            raise replies.unknown_key()
        expected = sign(secret.secret_access_key, claim, canonical_request(request, claim.signed_headers))
        if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
            raise replies.wrong(None)
        if secret.expires_at is not None and self.now() >= secret.expires_at:
            raise replies.expired()
        return secret

    def _check_time(self, claim: Claim, replies: "_Replies") -> None:
        now = self.now()
        if claim.moment - now > _MAX_SKEW:
            raise replies.wrong(f"Signature not yet current: {claim.moment:%Y%m%dT%H%M%SZ} is still later")
        if claim.expires_s is not None:
            if now > claim.moment + timedelta(seconds=claim.expires_s):
                raise errors.request_expired()
        elif now - claim.moment > _MAX_SKEW:
            if replies.says_expired and now - claim.moment > _EXPIRED_AFTER:
                raise errors.request_expired()
            raise replies.wrong(f"Signature expired: {claim.moment:%Y%m%dT%H%M%SZ} is now earlier")

    def _check_scope(self, claim: Claim, service: str, replies: "_Replies") -> None:
        if claim.date != f"{claim.moment:%Y%m%d}":
            raise replies.wrong("Date in Credential scope does not match YYYYMMDD of the request's date.")
        # Services without regions (and STS's old global endpoint) are signed for us-east-1, whatever the region.
        regions = {*self.regions, "us-east-1"} if service in _WITHOUT_REGIONS else set(self.regions)
        if claim.region not in regions:
            raise replies.wrong(f"Credential should be scoped to a valid region: {self.regions[0]}")
        if claim.service != service:
            raise replies.wrong(f"Credential should be scoped to correct service: '{service}'.")


def _check_signed_headers(request: HttpRequest, claim: Claim, replies: "_Replies") -> None:
    for name in _MUST_BE_SIGNED:
        if name not in claim.signed_headers and request.find_header(name) is not None:
            raise replies.wrong(f"There were headers present in the request which were not signed: {name}")
    stated = request.find_header("x-amz-content-sha256")
    if stated is not None and stated != hashlib.sha256(request.body).hexdigest():
        raise replies.wrong("The provided x-amz-content-sha256 header does not match what was computed.")


@dataclass(frozen=True, kw_only=True)
class _Replies:
    unsigned: Callable[[], ApiError]
    unknown_key: Callable[[], ApiError]
    wrong: Callable[[str | None], ApiError]
    expired: Callable[[], ApiError]
    # EC2 has a code of its own for requests that are very late; the others have not.
    says_expired: bool


def _ec2_wrong(reason: str | None) -> ApiError:
    # EC2 says nothing but the first sentence; the reason helps whoever set a clock or region wrongly.
    standard = "AWS was not able to validate the provided access credentials"
    return errors.auth_failure(f"{standard}. {reason}" if reason else standard)


_EC2 = _Replies(
    unsigned=errors.missing_credentials_ec2,
    unknown_key=errors.auth_failure,
    wrong=_ec2_wrong,
    expired=errors.request_expired,
    says_expired=True,
)
_OTHERS = _Replies(
    unsigned=errors.missing_authentication_token,
    unknown_key=errors.invalid_client_token_id,
    wrong=errors.signature_does_not_match,
    expired=iam.expired_token,
    says_expired=False,
)
