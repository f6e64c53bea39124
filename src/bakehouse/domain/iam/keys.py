"""From an access key id to whom it stands for.

Invariant: a key whose user, role or account is gone is as unknown as one that never was.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from bakehouse.database.models import AccessKey, IamRole, IamUser, KeySession
from bakehouse.domain.iam import principals, roles, sessions, users
from bakehouse.domain.iam.principals import Principal, PrincipalKind


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    """A key that can sign. Temporary ones have a token and an end."""

    secret_access_key: str = field(repr=False)
    principal: Principal
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


def find_key(session: Session, access_key_id: str) -> KnownKey | None:
    """Return an active key."""
    key = session.get(AccessKey, access_key_id)
    if key is not None:
        principal = _of_key(session, key) if key.is_active else None
        return KnownKey(secret_access_key=key.secret_access_key, principal=principal) if principal else None
    temporary = session.get(KeySession, access_key_id)
    if temporary is None:
        return None
    principal = _of_session(session, temporary)
    if principal is None:
        return None
    return KnownKey(
        secret_access_key=temporary.secret_access_key,
        principal=principal,
        session_token=temporary.session_token,
        expires_at=temporary.expires_at,
    )


def _of_key(session: Session, key: AccessKey) -> Principal | None:
    if key.user_id is None:
        return principals.root(key.account_id)
    user = session.get(IamUser, key.user_id)
    return of_user(user) if user is not None else None


def of_user(user: IamUser, *, is_temporary: bool = False) -> Principal:
    """A user as a principal."""
    arn = users.arn_of(user)
    return Principal(
        kind=PrincipalKind.USER,
        account_id=user.account_id,
        arn=arn,
        user_id=user.user_id,
        policy_arn=arn,
        owner_id=user.user_id,
        user_name=user.user_name,
        is_temporary=is_temporary,
    )


def _of_session(session: Session, temporary: KeySession) -> Principal | None:
    if temporary.user_id == temporary.account_id:
        return principals.root(temporary.account_id, is_temporary=True)
    if temporary.user_id is not None:
        user = session.get(IamUser, temporary.user_id)
        return of_user(user, is_temporary=True) if user is not None else None
    role = session.get(IamRole, temporary.role_id)
    if role is None:
        return None
    return Principal(
        kind=PrincipalKind.ASSUMED_ROLE,
        account_id=role.account_id,
        arn=sessions.assumed_arn(role, temporary.session_name),
        user_id=f"{role.role_id}:{temporary.session_name}",
        policy_arn=roles.arn_of(role),
        owner_id=role.role_id,
        is_temporary=True,
        session_policies=tuple(temporary.policies),
    )
