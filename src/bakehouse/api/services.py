"""The services that answer at this address, and which of them a request is for.

Invariant: a service is known here exactly if the gateway speaks its protocol; which operations it has is the
registry's to say. A service is signed for by its name here.
"""

import re
from collections.abc import Callable, Mapping

from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import service_model
from bakehouse.api.protocol.aws_json import AwsJson
from bakehouse.api.protocol.ec2_query import Ec2Query
from bakehouse.api.protocol.interface import Codec
from bakehouse.api.protocol.query import Query
from bakehouse.api.protocol.rest_json import RestJson
from bakehouse.api.sigv4 import Claim

PROTOCOLS: Mapping[str, Callable[[str], Codec]] = {
    "ec2": Ec2Query,
    "json": AwsJson,
    "query": Query,
    "rest-json": RestJson,
}
SERVICES = ("ec2", "iam", "rbin", "ssm", "sts")

_DEFAULT = "ec2"
_VERSION = re.compile(rb"(?:^|&)Version=([0-9-]{10})(?:&|$)")


def make_codec(service: str) -> Codec:
    """Return the codec of a service, of the protocol that its model names."""
    return PROTOCOLS[service_model(service).metadata["protocol"]](service)


class Services:
    """The codecs of all services."""

    def __init__(self) -> None:
        self._codecs = {service: make_codec(service) for service in SERVICES}
        self._by_version = {
            str(service_model(name).metadata["apiVersion"]): name
            for name, codec in self._codecs.items()
            if isinstance(codec, Ec2Query | Query)
        }

    def codec(self, service: str) -> Codec:
        """Return the codec of a service that ``find`` gave."""
        return self._codecs[service]

    def has_path(self, request: HttpRequest) -> bool:
        """Say whether any service could be meant: most have no path, the others have theirs."""
        of_paths = (codec for codec in self._codecs.values() if isinstance(codec, RestJson))
        is_root = not request.raw_path.strip(b"/") and request.method in ("GET", "HEAD", "POST")
        return is_root or any(codec.claims(request) for codec in of_paths)

    def find(self, request: HttpRequest, claim: Claim | None) -> str:
        """Return the service a request is for: the one it is signed for; the one it looks like when it is not signed.

        The latter only decides how the refusal is written.
        """
        if claim is not None and claim.service in self._codecs:
            return claim.service
        for name, codec in self._codecs.items():
            if isinstance(codec, AwsJson | RestJson) and codec.claims(request):
                return name
        for part in (request.query, request.body):
            if match := _VERSION.search(part):
                return self._by_version.get(match[1].decode(), _DEFAULT)
        return _DEFAULT
