"""EC2 resource ids: a prefix and 17 lower-case hexadecimal digits, as EC2's long ids are."""

import re
import secrets
from enum import StrEnum


class Prefix(StrEnum):
    """The prefixes in use; a new noun adds its own here."""

    ADDRESS_ALLOCATION = "eipalloc"
    ADDRESS_ASSOCIATION = "eipassoc"
    DHCP_OPTIONS = "dopt"
    IAM_INSTANCE_PROFILE_ASSOCIATION = "iip-assoc"
    IMAGE = "ami"
    INSTANCE = "i"
    INTERNET_GATEWAY = "igw"
    KEY_PAIR = "key"
    LAUNCH_TEMPLATE = "lt"
    NETWORK_ACL = "acl"
    NETWORK_INTERFACE = "eni"
    NETWORK_INTERFACE_ATTACHMENT = "eni-attach"
    REPLACE_ROOT_VOLUME_TASK = "replacevol"
    RESERVATION = "r"
    ROUTE_TABLE = "rtb"
    SECURITY_GROUP = "sg"
    SECURITY_GROUP_RULE = "sgr"
    SNAPSHOT = "snap"
    SUBNET = "subnet"
    VOLUME = "vol"
    VPC = "vpc"


# EC2 accepts its old 8-digit ids and today's 17-digit ones.
_PATTERN = re.compile(r"(?P<prefix>[a-z]+(?:-[a-z]+)?)-(?:[0-9a-f]{8}|[0-9a-f]{17})")


def new_id(prefix: Prefix) -> str:
    """Return a fresh random id, e.g. ``i-0123456789abcdef0``."""
    return f"{prefix}-0{secrets.token_hex(8)}"


def is_well_formed(prefix: Prefix, value: str) -> bool:
    """Tell whether ``value`` has the form of an id of this prefix; says nothing about existence."""
    match = _PATTERN.fullmatch(value)
    return match is not None and match["prefix"] == prefix
