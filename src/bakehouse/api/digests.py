"""Replies and parameters as stable bytes: for client tokens and page tokens.

Invariant: equal values give equal bytes, whatever the order of their members, and JSON can carry all of them.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_TIME = "$time"
_BYTES = "$bytes"


def _encode(value: object) -> dict[str, str]:
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} is no value of a request or reply")


def _decode(members: dict[str, Any]) -> Any:
    if members.keys() == {_TIME}:
        return datetime.fromisoformat(members[_TIME])
    if members.keys() == {_BYTES}:
        return base64.b64decode(members[_BYTES])
    return members


def dump(value: Mapping[str, Any]) -> bytes:
    """Return parameters or a reply as JSON bytes, from which ``load`` makes an equal value."""
    return json.dumps(value, default=_encode, sort_keys=True, separators=(",", ":")).encode()


def load(dumped: bytes) -> dict[str, Any]:
    """Return what ``dump`` was given."""
    loaded = json.loads(dumped, object_hook=_decode)
    assert isinstance(loaded, dict)
    return loaded


def digest_parameters(parameters: Mapping[str, Any]) -> str:
    """Return a SHA-256 over the parameters, in hexadecimal."""
    return hashlib.sha256(dump(parameters)).hexdigest()
