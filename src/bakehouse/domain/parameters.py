"""Systems Manager parameters: their names, versions and labels, and what they stand for.

Invariant: a SecureString's value is at rest only as AES-GCM made it with a key of this service, bound to its
parameter and version. Limits and rules: AWS Systems Manager User Guide, "Parameter Store"; PutParameter.
"""

import base64
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Parameter, ParameterVersion, ServiceSecret
from bakehouse.database.session import region_of
from bakehouse.domain import images, public_parameters
from bakehouse.errors import ApiError
from bakehouse.errors import parameters as parameter_errors
from bakehouse.ids import Prefix, is_well_formed

STRING, STRING_LIST, SECURE = "String", "StringList", "SecureString"
STANDARD, ADVANCED, INTELLIGENT = "Standard", "Advanced", "Intelligent-Tiering"
TEXT, IMAGE = "text", "aws:ec2:image"
DEFAULT_KEY = "alias/aws/ssm"

_MAX_BYTES = {STANDARD: 4096, ADVANCED: 8192}
_MAX_PARAMETERS = 10_000
_MAX_VERSIONS = 100
_MAX_LEVELS = 15
_MAX_NAME = 1011
_MAX_LABELS = 10
_MAX_TAGS = 50
_NAME = re.compile(r"[A-Za-z0-9_.\-/]+")
_LABEL = re.compile(r"(?!aws|ssm|[0-9])[A-Za-z0-9_.\-]{1,100}", re.IGNORECASE)
_ARN = re.compile(r"arn:aws:ssm:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}|):parameter(?P<name>/[^:]+)(?P<rest>:.*)?")
_KEY = "parameter-key"
_NONCE_BYTES = 12


@dataclass(frozen=True, kw_only=True)
class Found:
    """One version of a parameter as it is read. ``value`` is what SecureStrings are at rest unless decrypted."""

    name: str
    parameter_type: str
    value: str
    version: int
    data_type: str
    modified_at: datetime
    # The version or label it was asked for by, with its colon.
    selector: str | None = None
    is_public: bool = False


def visible(session: Session, account_id: str, names: Iterable[str] | None = None) -> list[Parameter]:
    """The blessed select: the account's own parameters, by name."""
    query = sa.select(Parameter).where(Parameter.account_id == account_id).order_by(Parameter.name)
    return list(session.scalars(query if names is None else query.where(Parameter.name.in_(list(names)))))


def get_own(session: Session, account_id: str, name: str) -> Parameter:
    """Return the account's parameter of this name or ARN; ParameterNotFound."""
    name, _ = _split(session, account_id, name)
    found = visible(session, account_id, [name])
    if not found:
        raise parameter_errors.not_found(name)
    return found[0]


def resolve(session: Session, account_id: str, reference: str) -> str:
    """Return what ``NAME``, ``NAME:VERSION`` or ``NAME:LABEL`` stands for, as ``resolve:ssm:`` means it.

    InvalidParameterValue, in EC2's words, for a parameter that does not exist or is a secret.
    """
    try:
        found = get(session, account_id, reference, decrypted=False)
    except ApiError as error:
        raise errors.invalid_value_for("resolve:ssm", reference[:200], error.message) from None
    if found.parameter_type == SECURE:
        raise errors.invalid_value_for("resolve:ssm", reference[:200], "The parameter is a SecureString.")
    return found.value


def get(session: Session, account_id: str, reference: str, *, decrypted: bool) -> Found:
    """Return a parameter's newest version, or the one the reference selects; the account's own, else a public one."""
    name, selector = _split(session, account_id, reference)
    own = visible(session, account_id, [name])
    if own:
        version = _select(own[0], selector)
        return read(session, own[0], version, decrypted=decrypted, selector=f":{selector}" if selector else None)
    public = public_parameters.find(session, name)
    if public is None:
        raise parameter_errors.not_found(name)
    if selector is not None and selector != str(public.version):
        raise parameter_errors.version_not_found(name, selector)
    return read_public(public, selector=f":{selector}" if selector else None)


def read(
    session: Session,
    parameter: Parameter,
    version: ParameterVersion,
    *,
    decrypted: bool,
    selector: str | None = None,
) -> Found:
    """Return one version as it is read."""
    value = version.value
    if parameter.parameter_type != SECURE:
        text = value.decode()
    elif decrypted:
        text = _decrypt(session, parameter.parameter_id, version.version, value).decode()
    else:
        text = base64.b64encode(value).decode()
    return Found(
        name=parameter.name,
        parameter_type=parameter.parameter_type,
        value=text,
        version=version.version,
        data_type=version.data_type,
        modified_at=version.modified_at,
        selector=selector,
    )


def read_public(public: public_parameters.PublicParameter, *, selector: str | None = None) -> Found:
    """Return a public parameter as it is read."""
    return Found(
        name=public.name,
        parameter_type=STRING,
        value=public.value,
        version=public.version,
        data_type=IMAGE,
        modified_at=public.modified_at,
        selector=selector,
        is_public=True,
    )


@dataclass(frozen=True, kw_only=True)
class Written:
    """What PutParameter is asked to write; None is what was not said."""

    name: str
    value: str
    parameter_type: str | None = None
    description: str | None = None
    key_id: str | None = None
    tier: str | None = None
    data_type: str | None = None
    tags: Sequence[Mapping[str, str]] = ()


def put(session: Session, account_id: str, written: Written, *, overwrites: bool, modified_by: str) -> ParameterVersion:
    """Write a parameter, or a new version of one that is there."""
    name, selector = _split(session, account_id, written.name)
    if selector is not None:
        raise parameter_errors.validation("Parameter name can't have a version or a label.")
    check_name(name)
    found = next(iter(visible(session, account_id, [name])), None)
    if found is not None and not overwrites:
        raise parameter_errors.already_exists(name)
    if written.tags and overwrites:
        message = "Tags and overwrite can't be used together. To add tags, use AddTagsToResource."
        raise parameter_errors.validation(message)
    parameter = _create(session, account_id, name, written) if found is None else found
    if written.parameter_type not in (None, parameter.parameter_type):
        raise parameter_errors.type_mismatch()
    return _add_version(session, account_id, parameter, written, modified_by)


def check_name(name: str) -> None:
    """Refuse a name no parameter of an account can have."""
    if not _NAME.fullmatch(name):
        raise parameter_errors.validation(
            "Parameter name must only use letters, numbers and the following symbols: . - _ /"
        )
    if len(name) > _MAX_NAME:
        raise parameter_errors.validation(f"Parameter name can have at most {_MAX_NAME} characters.")
    levels = name.removeprefix("/").split("/")
    if "/" in name and not name.startswith("/"):
        raise parameter_errors.validation("Parameter name must be a fully qualified name.")
    if not all(levels):
        raise parameter_errors.validation("Parameter name can't have empty levels or end with a slash.")
    if len(levels) > _MAX_LEVELS:
        raise parameter_errors.too_many_levels(_MAX_LEVELS)
    if levels[0].lower() in ("aws", "ssm") and "/" in name:
        raise parameter_errors.access_denied(name)
    if levels[0].lower().startswith(("aws", "ssm")):
        raise parameter_errors.validation('Parameter name can\'t be prefixed with "aws" or "ssm" (case-insensitive).')


def delete(session: Session, account_id: str, name: str) -> bool:
    """Delete the account's parameter of this name or ARN; say whether there was one."""
    try:
        parameter = get_own(session, account_id, name)
    except ApiError:
        return False
    session.delete(parameter)
    session.flush()
    return True


def label(parameter: Parameter, version: int | None, labels: Sequence[str]) -> tuple[int, list[str]]:
    """Move labels to a version (the newest unless said); return it and the labels that are out of form."""
    target = _select(parameter, None if version is None else str(version))
    invalid = [one for one in labels if not _LABEL.fullmatch(one)]
    wanted = [one for one in dict.fromkeys(labels) if one not in invalid]
    if len({*target.labels, *wanted}) > _MAX_LABELS:
        raise parameter_errors.label_limit_exceeded(_MAX_LABELS)
    for one in parameter.versions:
        one.labels = [name for name in one.labels if name not in wanted]
    target.labels = [*target.labels, *wanted]
    return target.version, invalid


def unlabel(parameter: Parameter, version: int, labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take labels off a version; return those that were there, and those that were not."""
    target = _select(parameter, str(version))
    removed = [one for one in dict.fromkeys(labels) if one in target.labels]
    target.labels = [one for one in target.labels if one not in removed]
    return removed, [one for one in dict.fromkeys(labels) if one not in removed]


def put_tags(parameter: Parameter, tags: Sequence[Mapping[str, str]]) -> None:
    """Write tags over those of the same key."""
    for tag in tags:
        if tag["Key"].lower().startswith("aws:"):
            raise parameter_errors.validation("Tag keys starting with 'aws:' are reserved.")
    merged = {**parameter.tags, **{tag["Key"]: tag["Value"] for tag in tags}}
    if len(merged) > _MAX_TAGS:
        raise parameter_errors.too_many_tags(_MAX_TAGS)
    parameter.tags = merged


def resource_name(reference: str) -> str:
    """What follows ``parameter/`` in the ARN of what a name, an ARN, or either with a version or label refers to."""
    match = _ARN.fullmatch(reference)
    return (match["name"] if match else reference.partition(":")[0]).lstrip("/")


def _split(session: Session, account_id: str, reference: str) -> tuple[str, str | None]:
    """A reference's name, and its version or label; the ARN of what is here counts as its name."""
    if match := _ARN.fullmatch(reference):
        if match["region"] != region_of(session) or match["account"] not in ("", account_id):
            raise parameter_errors.not_found(reference)
        # /x and x have the same ARN.
        names = (match["name"], match["name"].removeprefix("/"))
        there = {one.name for one in visible(session, account_id, names)}
        reference = next((name for name in names if name in there), match["name"]) + (match["rest"] or "")
    name, colon, selector = reference.partition(":")
    if colon and not selector:
        raise parameter_errors.validation(f"The parameter reference {reference[:200]} names no version or label.")
    return name, selector or None


def _select(parameter: Parameter, selector: str | None) -> ParameterVersion:
    if selector is None:
        return parameter.versions[-1]
    for version in parameter.versions:
        if selector in (str(version.version), *version.labels):
            return version
    raise parameter_errors.version_not_found(parameter.name, selector)


def _create(session: Session, account_id: str, name: str, written: Written) -> Parameter:
    count = sa.select(sa.func.count()).select_from(Parameter).where(Parameter.account_id == account_id)
    if (session.scalar(count) or 0) >= _MAX_PARAMETERS:
        raise parameter_errors.limit_exceeded(_MAX_PARAMETERS)
    if written.parameter_type is None:
        raise parameter_errors.validation("A parameter type is required when you create a parameter.")
    parameter = Parameter(
        parameter_id=secrets.token_hex(16),
        account_id=account_id,
        name=name,
        parameter_type=written.parameter_type,
        tags={},
        versions=[],
    )
    put_tags(parameter, written.tags)
    session.add(parameter)
    session.flush()
    return parameter


def _add_version(
    session: Session, account_id: str, parameter: Parameter, written: Written, modified_by: str
) -> ParameterVersion:
    newest = parameter.versions[-1] if parameter.versions else None
    data_type = written.data_type or (newest.data_type if newest else TEXT)
    _check_value(session, account_id, parameter.parameter_type, data_type, written.value)
    if written.key_id not in (None, DEFAULT_KEY) or (written.key_id and parameter.parameter_type != SECURE):
        raise parameter_errors.invalid_key_id(written.key_id or "")
    if len(parameter.versions) >= _MAX_VERSIONS:
        if parameter.versions[0].labels:
            raise parameter_errors.max_version_limit_exceeded(parameter.name)
        parameter.versions.pop(0)
    number = newest.version + 1 if newest else 1
    raw = written.value.encode()
    is_secret = parameter.parameter_type == SECURE
    version = ParameterVersion(
        version=number,
        value=_encrypt(session, parameter.parameter_id, number, raw) if is_secret else raw,
        data_type=data_type,
        tier=_choose_tier(written, newest),
        description=written.description if written.description is not None else newest and newest.description,
        key_id=DEFAULT_KEY if is_secret else None,
        labels=[],
        modified_by=modified_by,
    )
    parameter.versions.append(version)
    session.flush()
    return version


def _choose_tier(written: Written, newest: ParameterVersion | None) -> str:
    """Standard unless asked or needed otherwise; what is advanced stays so."""
    size = len(written.value.encode())
    was_advanced = newest is not None and newest.tier == ADVANCED
    tier = written.tier or (ADVANCED if was_advanced else STANDARD)
    if tier == INTELLIGENT:
        tier = ADVANCED if was_advanced or size > _MAX_BYTES[STANDARD] else STANDARD
    if was_advanced and tier == STANDARD:
        raise parameter_errors.validation("This parameter uses the advanced tier. You can't downgrade it to standard.")
    if size > _MAX_BYTES[tier]:
        message = f"{tier} tier parameters support a maximum parameter value of {_MAX_BYTES[tier]} characters."
        raise parameter_errors.validation(message)
    return tier


def _check_value(session: Session, account_id: str, parameter_type: str, data_type: str, value: str) -> None:
    if not value:
        raise parameter_errors.validation("Parameter value can't be empty.")
    if data_type not in (TEXT, IMAGE):
        raise parameter_errors.validation(f"The data type {data_type[:100]} is not supported: use {TEXT} or {IMAGE}.")
    if data_type == TEXT:
        return
    if parameter_type != STRING:
        raise parameter_errors.validation(f"The data type {IMAGE} is for parameters of type String.")
    if not is_well_formed(Prefix.IMAGE, value):
        raise parameter_errors.validation(f"The value {value[:100]} is not the ID of an image.")
    try:
        images.get_visible(session, account_id, value)
    except ApiError as error:
        raise parameter_errors.validation(error.message) from None


def _cipher(session: Session) -> AESGCM:
    row = session.get(ServiceSecret, _KEY)
    if row is None:
        row = ServiceSecret(name=_KEY, value=AESGCM.generate_key(bit_length=256))
        session.add(row)
        session.flush()
    return AESGCM(row.value)


def _encrypt(session: Session, parameter_id: str, version: int, value: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _cipher(session).encrypt(nonce, value, f"{parameter_id}:{version}".encode())


def _decrypt(session: Session, parameter_id: str, version: int, value: bytes) -> bytes:
    nonce, sealed = value[:_NONCE_BYTES], value[_NONCE_BYTES:]
    return _cipher(session).decrypt(nonce, sealed, f"{parameter_id}:{version}".encode())
