"""IAM's names, ids and ARNs."""

import re
import secrets
from enum import StrEnum

from bakehouse.errors import iam

_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ID_LENGTH = 17
_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[\x21-\x7e]+/")
_MAX_PATH = 512


class Kind(StrEnum):
    """What has a unique id; the value is its prefix. Source: IAM User Guide, "IAM identifiers"."""

    USER = "AIDA"
    ROLE = "AROA"
    INSTANCE_PROFILE = "AIPA"
    POLICY = "ANPA"


_MAX_NAME = {Kind.USER: 64, Kind.ROLE: 64, Kind.INSTANCE_PROFILE: 128, Kind.POLICY: 128}
_ARN_TYPES = {
    Kind.USER: "user",
    Kind.ROLE: "role",
    Kind.INSTANCE_PROFILE: "instance-profile",
    Kind.POLICY: "policy",
}


def new_id(kind: Kind) -> str:
    """A fresh unique id, e.g. ``AIDA`` and 17 letters and digits."""
    return kind + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def arn(kind: Kind, account_id: str, path: str, name: str) -> str:
    """The ARN of a user, role, instance profile or policy."""
    return f"arn:aws:iam::{account_id}:{_ARN_TYPES[kind]}{path}{name}"


def root_arn(account_id: str) -> str:
    """The ARN of an account itself."""
    return f"arn:aws:iam::{account_id}:root"


def check_name(kind: Kind, member: str, name: str) -> str:
    """Return a new name, or ValidationError."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME[kind]:
        raise iam.validation_error(
            f"The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the "
            f"following: +=,.@_- and have at most {_MAX_NAME[kind]} characters"
        )
    return name


def check_path(path: str | None) -> str:
    """Return a new path, "/" without one; ValidationError."""
    if path is None:
        return "/"
    if len(path) > _MAX_PATH or not _PATH.fullmatch(path):
        raise iam.validation_error(
            "The specified value for path is invalid. It must begin and end with / and contain only "
            "printable ASCII characters"
        )
    return path
