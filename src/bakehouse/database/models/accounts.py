"""Accounts, their keys, and what the service keeps for itself."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from bakehouse.database.models.base import Row, now


class Account(Row):
    """A 12-digit account. ``alias`` is what clients may use as an owner (``amazon`` for base images)."""

    __tablename__ = "accounts"
    account_id: Mapped[str] = mapped_column(String(12), primary_key=True)
    alias: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class OrganizationMembership(Row):
    """Where an account is: the ARN of its organization, and of each organizational unit it is in."""

    __tablename__ = "organization_memberships"
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), primary_key=True)
    arn: Mapped[str] = mapped_column(primary_key=True)


class AccessKey(Row):
    """A key that signs requests. The secret must be kept readable: SigV4 is an HMAC with it."""

    __tablename__ = "access_keys"
    access_key_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.account_id"), index=True)
    # Null for the keys of the account's root.
    user_id: Mapped[str | None] = mapped_column(ForeignKey("iam_users.user_id"), index=True)
    secret_access_key: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class ServiceSecret(Row):
    """Keys the service makes for itself, e.g. the one that authenticates page tokens."""

    __tablename__ = "service_secrets"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class ClientToken(Row):
    """A remembered idempotency token: the digest of the request it came with and the response it got.

    ``runs_since``: when its time began to run; ``domain/client_tokens.py`` says for how long.
    """

    __tablename__ = "client_tokens"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    # Empty once the token has expired.
    response: Mapped[bytes] = mapped_column(LargeBinary)
    runs_since: Mapped[datetime] = mapped_column("created_at", default=now)
