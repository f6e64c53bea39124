"""The condition keys this service knows, and their values in one request.

Invariant: a key is known only if its value is known wherever EC2 has one; ``find`` says None for every other key, and
whatever asks for it fails safe.
Source: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference, "Amazon EC2".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bakehouse.domain.iam.principals import Principal, PrincipalKind

Values = Mapping[str, tuple[str, ...]]

_TAGS_OF_RESOURCE = ("aws:resourcetag/", "ec2:resourcetag/", "iam:resourcetag/", "ssm:resourcetag/")
_TAGS_OF_REQUEST = ("aws:requesttag/",)
_TAGS_OF_PRINCIPAL = "aws:principaltag/"
_TAGS = (*_TAGS_OF_RESOURCE, *_TAGS_OF_REQUEST, _TAGS_OF_PRINCIPAL)
# Known of the resources that have them.
_OF_RESOURCE = frozenset(
    {
        "aws:resourceaccount",
        "ec2:availabilityzone",
        "ec2:instanceprofile",
        "ec2:instancetype",
        "ec2:owner",
        "ec2:public",
        "ec2:rootdevicetype",
        "ec2:subnet",
        "ec2:volumesize",
        "ec2:volumetype",
        "ec2:vpc",
    }
)
# Known of the requests that have them.
_OF_REQUEST = frozenset(
    {
        "aws:multifactorauthage",
        "aws:multifactorauthpresent",
        "aws:tagkeys",
        "aws:useragent",
        "aws:username",
        "ec2:createaction",
        "iam:passedtoservice",
        "iam:policyarn",
        "sts:externalid",
        "sts:rolesessionname",
    }
)


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is the same for all resources of a request."""

    region: str
    source_ip: str
    user_agent: str
    is_secure: bool
    moment: datetime


class RequestFacts:
    """The values of keys for one resource. ``load`` reads the resource's own, when somebody asks for one of them."""

    def __init__(
        self, values: Values, *, load: Callable[[], Values], load_principal_tags: Callable[[], Values]
    ) -> None:
        self._values = values
        self._load = load
        self._load_principal_tags = load_principal_tags
        self._loaded: Values | None = None

    def find(self, key: str) -> tuple[str, ...] | None:
        """The values of a key (lower case); empty when it has none here, None when no such key is known.

        Of tags whose keys differ in case only, nobody can tell which one is meant.
        """
        found = self._values.get(key)
        if found is None:
            found = self._read(key)
        return None if found is not None and len(found) > 1 and key.startswith(_TAGS) else found

    def _read(self, key: str) -> tuple[str, ...] | None:
        if key in _OF_RESOURCE or key.startswith(_TAGS_OF_RESOURCE):
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded.get(key, ())
        if key.startswith(_TAGS_OF_PRINCIPAL):
            return self._load_principal_tags().get(key, ())
        return () if key in _OF_REQUEST or key.startswith(_TAGS_OF_REQUEST) else None


def values_of(principal: Principal, about: Circumstances) -> dict[str, tuple[str, ...]]:
    """The keys every request has."""
    values = {
        "aws:currenttime": about.moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:epochtime": str(int(about.moment.timestamp())),
        "aws:principalaccount": principal.account_id,
        "aws:principalarn": principal.policy_arn,
        "aws:principalisawsservice": "false",
        "aws:principaltype": principal.kind.value,
        "aws:requestedregion": about.region,
        "aws:securetransport": str(about.is_secure).lower(),
        "aws:sourceip": about.source_ip,
        "aws:userid": principal.user_id,
        "aws:viaawsservice": "false",
        "ec2:region": about.region,
    }
    if about.user_agent:
        values["aws:useragent"] = about.user_agent
    if principal.user_name is not None:
        values["aws:username"] = principal.user_name
    if principal.is_temporary and principal.kind is not PrincipalKind.ROOT:
        # Nobody here has shown a second factor. Long-lived keys have no such key at all.
        values["aws:multifactorauthpresent"] = "false"
    return {name: (value,) for name, value in values.items()}


def request_tag_values(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The keys of the tags that a request would write."""
    if not tags:
        return {}
    return {"aws:tagkeys": tuple(tags), **tag_values("aws:requesttag/", tags.items())}


def tag_values(prefix: str, tags: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Tags as condition keys, whose names are not distinguished by case."""
    found: dict[str, tuple[str, ...]] = {}
    for key, value in tags:
        name = f"{prefix}{key}".lower()
        found[name] = (*found.get(name, ()), value)
    return found
