"""Users and their keys.

Invariant: an account's root always keeps an active key: there is no other way in.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import AccessKey, IamUser, KeySession
from bakehouse.domain import accounts
from bakehouse.domain.iam import identity_tags, names, policies
from bakehouse.domain.iam.names import Kind
from bakehouse.domain.tags import ApiTag
from bakehouse.errors import iam

# IAM's quotas.
MAX_USERS = 5000
MAX_KEYS = 2


def arn_of(user: IamUser) -> str:
    """The user's ARN."""
    return names.arn(Kind.USER, user.account_id, user.path, user.user_name)


def visible(session: Session, account_id: str, path_prefix: str = "/") -> list[IamUser]:
    """The blessed select: the account's users below a path, by name."""
    query = sa.select(IamUser).where(IamUser.account_id == account_id).order_by(IamUser.user_name)
    return [user for user in session.scalars(query) if user.path.startswith(path_prefix)]


def find(session: Session, account_id: str, name: str) -> IamUser | None:
    """Return the account's user of this name."""
    query = sa.select(IamUser).where(IamUser.account_id == account_id, IamUser.user_name == name)
    return session.scalars(query).first()


def get(session: Session, account_id: str, name: str) -> IamUser:
    """Return the account's user of this name; NoSuchEntity."""
    user = find(session, account_id, name)
    if user is None:
        raise iam.no_such_entity(f"The user with name {name[:128]} cannot be found.")
    return user


def create(session: Session, account_id: str, name: str, *, path: str | None, tags: Sequence[ApiTag]) -> IamUser:
    """Make a user."""
    names.check_name(Kind.USER, "userName", name)
    _check_free(session, account_id, name)
    if len(visible(session, account_id)) >= MAX_USERS:
        raise iam.limit_exceeded(f"Cannot exceed quota for UsersPerAccount: {MAX_USERS}")
    user = IamUser(user_id=names.new_id(Kind.USER), account_id=account_id, user_name=name, path=names.check_path(path))
    session.add(user)
    session.flush()
    identity_tags.put(session, user.user_id, tags)
    return user


def update(session: Session, user: IamUser, *, new_name: str | None, new_path: str | None) -> None:
    """Rename or move a user; its policies and keys stay its own."""
    if new_name is not None and new_name != user.user_name:
        names.check_name(Kind.USER, "newUserName", new_name)
        if new_name.lower() != user.user_name.lower():
            _check_free(session, user.account_id, new_name)
        user.user_name = new_name
    if new_path is not None:
        user.path = names.check_path(new_path)
    session.flush()


def delete(session: Session, user: IamUser) -> None:
    """Delete a user that has nothing left; DeleteConflict."""
    if keys_of(session, user.account_id, user):
        raise iam.delete_conflict("Cannot delete entity, must delete access keys first.")
    policies.check_none_left(session, user.user_id)
    identity_tags.delete_all(session, user.user_id)
    session.execute(sa.delete(KeySession).where(KeySession.user_id == user.user_id))
    session.delete(user)
    session.flush()


def _check_free(session: Session, account_id: str, name: str) -> None:
    query = sa.select(IamUser.user_id).where(
        IamUser.account_id == account_id, sa.func.lower(IamUser.user_name) == name.lower()
    )
    if session.scalars(query).first() is not None:
        raise iam.entity_already_exists(f"User with name {name} already exists.")


# --- access keys; without a user they are the root's ---


def keys_of(session: Session, account_id: str, user: IamUser | None) -> list[AccessKey]:
    """The blessed select of keys: a user's or the root's, oldest first."""
    query = sa.select(AccessKey).where(
        AccessKey.account_id == account_id, AccessKey.user_id == (user.user_id if user else None)
    )
    return list(session.scalars(query.order_by(AccessKey.created_at, AccessKey.access_key_id)))


def create_key(session: Session, account_id: str, user: IamUser | None) -> AccessKey:
    """Make a key; its secret can be read from the row now and is shown never again."""
    if len(keys_of(session, account_id, user)) >= MAX_KEYS:
        raise iam.limit_exceeded(f"Cannot exceed quota for AccessKeysPerUser: {MAX_KEYS}")
    return accounts.create_access_key(session, account_id, user_id=user.user_id if user else None)


def update_key(session: Session, account_id: str, user: IamUser | None, access_key_id: str, *, is_active: bool) -> None:
    """Switch a key on or off."""
    key = _get_key(session, account_id, user, access_key_id)
    if not is_active:
        _check_not_last(session, key)
    key.is_active = is_active


def delete_key(session: Session, account_id: str, user: IamUser | None, access_key_id: str) -> None:
    """Delete a key."""
    key = _get_key(session, account_id, user, access_key_id)
    _check_not_last(session, key)
    session.delete(key)
    session.flush()


def _get_key(session: Session, account_id: str, user: IamUser | None, access_key_id: str) -> AccessKey:
    for key in keys_of(session, account_id, user):
        if key.access_key_id == access_key_id:
            return key
    raise iam.no_such_entity(f"The Access Key with id {access_key_id[:128]} cannot be found.")


def _check_not_last(session: Session, key: AccessKey) -> None:
    if key.user_id is not None:
        return
    others = [one for one in keys_of(session, key.account_id, None) if one.is_active and one is not key]
    if not others:
        raise iam.delete_conflict("This is the last active access key of the account's root; make another one first.")
