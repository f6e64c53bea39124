"""Single values between text and Python, as the query protocols write them."""

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bakehouse import errors

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_EPOCH = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_ISO = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?")
# What XML 1.0 cannot carry: such text could be stored but never be shown again.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

ReadScalar = Callable[[str, str], object]


def _read_string(text: str, name: str) -> str:
    if _NOT_XML.search(text):
        raise errors.invalid_character(name)
    return text


def _read_bounded(bits: int) -> ReadScalar:
    limit = 1 << (bits - 1)

    def read(text: str, name: str) -> int:
        if not _INTEGER.fullmatch(text) or not -limit <= int(text) < limit:
            raise errors.invalid_value_for(name, text[:100], "Expected an integer.")
        return int(text)

    return read


def _read_float(text: str, name: str) -> float:
    if not _FLOAT.fullmatch(text) or not math.isfinite(float(text)):
        raise errors.invalid_value_for(name, text[:100], "Expected a number.")
    return float(text)


def _read_boolean(text: str, name: str) -> bool:
    word = text.lower()
    if word not in ("true", "false"):
        raise errors.invalid_value_for(name, text[:100], "Expected true or false.")
    return word == "true"


def _read_timestamp(text: str, name: str) -> datetime:
    try:
        if _EPOCH.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        if _ISO.fullmatch(text):
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise errors.invalid_value_for(name, text[:100], "Expected an ISO 8601 time.")


def _read_blob(text: str, name: str) -> bytes:
    try:
        # Clients may wrap lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise errors.invalid_parameter_value(f"The parameter {name} is not valid base64") from None


READERS: dict[str, ReadScalar] = {
    "string": _read_string,
    "character": _read_string,
    "integer": _read_bounded(32),
    "long": _read_bounded(64),
    "float": _read_float,
    "double": _read_float,
    "boolean": _read_boolean,
    "timestamp": _read_timestamp,
    "blob": _read_blob,
}

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}
_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')


def escape(text: str) -> str:
    """Make text safe inside an XML element; characters that XML 1.0 cannot carry are dropped."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda match: _ESCAPES.get(match[0], ""), text)


def write_time_ms(moment: datetime) -> str:
    """``2026-01-31T12:00:00.000Z``, as EC2 writes times; a time without zone is taken as UTC."""
    if moment.tzinfo is not None and moment.utcoffset() != timedelta(0):
        moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def write_time_s(moment: datetime) -> str:
    """``2026-01-31T12:00:00Z``, as STS writes times."""
    return write_time_ms(moment)[:-5] + "Z"


def write_boolean(value: object) -> str:
    """``true`` or ``false``."""
    return "true" if value else "false"


def write_blob(value: bytes) -> str:
    """Base64."""
    return base64.b64encode(value).decode("ascii")
