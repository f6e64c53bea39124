"""A gateway with a few made-up operations and everything around it in memory, to test the gateway itself."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.api.client_tokens import Remembered, TokenKey
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.gateway import Gateway
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import Registry, operation
from bakehouse.api.sigv4 import Secret
from bakehouse.domain.iam import principals
from bakehouse.domain.iam.principals import NOBODY
from tests.framework import wire

ALICE = Secret(
    access_key_id="AKIAALICE",
    secret_access_key="alice's secret",
    principal=principals.root("111111111111"),
)
BOB = Secret(
    access_key_id="AKIABOB",
    secret_access_key="bob's secret",
    principal=principals.root("222222222222"),
)
# A user of Alice's account, whose rights nobody but an operation asks for here.
CAROL = replace(
    ALICE, access_key_id="AKIACAROL", principal=replace(NOBODY, account_id="111111111111", owner_id="AIDACAROL")
)


@dataclass
class Kitchen:
    """What the made-up operations did, and what happened to their transactions."""

    done: list[str] = field(default_factory=list)
    committed: list[bool] = field(default_factory=list)
    rolled_back: list[bool] = field(default_factory=list)
    remembered: dict[TokenKey, Remembered] = field(default_factory=dict)

    @contextmanager
    def transaction(self, *, mutates: bool, region: str) -> Iterator[Session]:
        before, done = dict(self.remembered), list(self.done)
        try:
            yield cast("Session", self)
        except BaseException:
            self.remembered, self.done = before, done
            self.rolled_back.append(mutates)
            raise
        self.committed.append(mutates)

    def find(self, session: Session, key: TokenKey) -> Remembered | None:
        assert cast("object", session) is self
        return self.remembered.get(key)

    def remember(self, session: Session, key: TokenKey, remembered: Remembered) -> None:
        assert cast("object", session) is self
        self.remembered[key] = remembered


@operation("ec2", "RunInstances", mutates=True, honours=("ImageId", "MinCount", "MaxCount", "KeyName"))
def run_instances(context: RequestContext, request: Parameters) -> Reply:
    """Succeed, refuse or break, as the image id says."""
    if request.get("ImageId") == "ami-unknown":
        raise errors.image_not_found("ami-unknown")
    if request.get("ImageId") == "ami-bug":
        raise RuntimeError("the operation is broken")
    if request.get("ImageId") == "ami-unheard-of-reply":
        return {"Nonsense": 1}
    context.host.done.append(context.request_id)
    return {"ReservationId": f"r-{len(context.host.done)}", "OwnerId": context.account_id, "Instances": []}


@operation(
    "ec2",
    "DescribeKeyPairs",
    mutates=False,
    honours=("KeyNames",),
    filters=FilterTable(item="KeyPairs[]", paths={"key-name": "KeyName"}),
)
def describe_key_pairs(_context: RequestContext, _request: Parameters) -> Reply:
    """Twenty key pairs."""
    return {"KeyPairs": [{"KeyName": f"key-{number}"} for number in range(20)]}


@operation(
    "ec2",
    "DescribeVolumes",
    mutates=False,
    honours=("VolumeIds",),
    paged=Paged(result="Volumes", key="VolumeId"),
    filters=FilterTable(item="Volumes[]", paths={"volume-id": "VolumeId"}),
)
def describe_volumes(_context: RequestContext, _request: Parameters) -> Reply:
    """Twenty volumes."""
    return {"Volumes": [{"VolumeId": f"vol-{number}"} for number in range(20)]}


@operation("sts", "GetCallerIdentity", mutates=False)
def get_caller_identity(context: RequestContext, _request: Parameters) -> Reply:
    """Tell who asks."""
    return {"Account": context.account_id, "Arn": context.principal.arn, "UserId": context.access_key_id}


def open_kitchen(*others: Secret) -> tuple[Gateway, Kitchen]:
    """A fresh gateway that knows Alice, Bob, Carol and others, and what can be seen of its inside."""
    kitchen = Kitchen()
    secrets = {secret.access_key_id: secret for secret in (ALICE, BOB, CAROL, *others)}
    gateway = Gateway(
        registry=Registry([run_instances, describe_key_pairs, describe_volumes, get_caller_identity]),
        regions=("us-east-1",),
        credentials=secrets.get,
        transaction=kitchen.transaction,
        tokens=kitchen,
        page_key=b"k" * 32,
        host=kitchen,
    )
    logging.getLogger("bakehouse.requests").setLevel(logging.INFO)
    return gateway, kitchen


def sign_for(secret: Secret, pairs: Mapping[str, str], **how: Any) -> HttpRequest:
    """A request with these pairs, signed with this key."""
    return wire.sign(pairs, access_key_id=secret.access_key_id, secret_access_key=secret.secret_access_key, **how)


def make_request(action: str, *, by: Secret = ALICE, service: str = "ec2", **pairs: Any) -> HttpRequest:
    """A signed request; ``__`` in a name stands for a dot."""
    version = {"ec2": "2016-11-15", "sts": "2011-06-15"}[service]
    named = {name.replace("__", "."): str(value) for name, value in pairs.items()}
    return sign_for(by, {"Action": action, "Version": version, **named}, service=service)
