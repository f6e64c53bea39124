"""How long a client token is good for, and what it is worth after that.

Invariant: that follows from rows and the clock alone. ``forget_expired`` only gives room back: whether it has run
makes no difference to any answer.

A token is valid for a day. One of RunInstances is for as long as an instance lives that it launched, and for a day
after the last one ended. An expired token's digest is kept, so that another request under it is still told from the
same one. Source: EC2 Developer Guide, "Ensuring idempotency in Amazon EC2 API requests".
"""

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import ClientToken, Instance, now

_LAUNCH = "ec2.RunInstances"
_VALID = timedelta(hours=24)
# The rows of all tokens of so many days are a few hundred bytes each.
_REMEMBERED = timedelta(days=30)

# Account, region and operation, token: a row's key.
Key = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a token. ``response`` is None once it has expired."""

    request_digest: str
    response: bytes | None
    # It launched instances, and none of them lives.
    is_launch_over: bool


def key_of(account_id: str, region: str, operation: str, token: str) -> Key:
    """The key of a token's row; ``operation`` begins with its service."""
    return account_id, f"{region}/{operation}", token


def find(session: Session, key: Key) -> Known | None:
    """What is known of a token; the transaction belongs to the token's region."""
    row = session.get(ClientToken, key)
    if row is None:
        return None
    is_launch, since = key[1].endswith(f"/{_LAUNCH}"), row.runs_since
    if is_launch:
        launched = sa.select(Instance.terminated_at).where(
            Instance.account_id == key[0], Instance.client_token == key[2]
        )
        ends = session.scalars(launched).all()
        if None in ends:
            return Known(request_digest=row.request_digest, response=row.response, is_launch_over=False)
        since = max([since, *(end for end in ends if end is not None)])
    age = now() - since
    if age > _REMEMBERED:
        return None
    response = row.response if age <= _VALID else None
    return Known(request_digest=row.request_digest, response=response, is_launch_over=is_launch)


def remember(session: Session, key: Key, request_digest: str, response: bytes) -> None:
    """Remember the response to a request under a token that is new or has expired."""
    row = session.get(ClientToken, key)
    if row is None:
        row = ClientToken(account_id=key[0], operation=key[1], token=key[2])
        session.add(row)
    row.request_digest, row.response, row.runs_since = request_digest, response, now()


def note_end(session: Session, instance: Instance) -> None:
    """Keep when an instance ended that is about to be forgotten."""
    if instance.client_token is None or instance.terminated_at is None:
        return
    row = session.get(ClientToken, _key_of_launch(instance.account_id, instance.region, instance.client_token))
    if row is not None:
        row.runs_since = max(row.runs_since, instance.terminated_at)


def forget_expired(session: Session) -> None:
    """Drop the responses of expired tokens, and the tokens themselves a long time after."""
    moment = now()
    launched = sa.select(Instance.account_id, Instance.region, Instance.client_token)
    of_instances = {
        _key_of_launch(account_id, region, token)
        for account_id, region, token in session.execute(launched.where(Instance.client_token.is_not(None)))
    }
    is_over = ClientToken.runs_since < moment - _REMEMBERED
    expired = sa.select(ClientToken.account_id, ClientToken.operation, ClientToken.token, is_over).where(
        ClientToken.runs_since < moment - _VALID, sa.or_(is_over, ClientToken.response != b"")
    )
    for account_id, operation, token, is_forgotten in session.execute(expired).all():
        if (account_id, operation, token) in of_instances:
            continue
        row = session.get_one(ClientToken, (account_id, operation, token))
        if is_forgotten:
            session.delete(row)
        else:
            row.response = b""


def _key_of_launch(account_id: str, region: str, token: str | None) -> Key:
    return key_of(account_id, region, _LAUNCH, str(token))
