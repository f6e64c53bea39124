"""Accounts and their keys.

Invariant: every account has its default VPC, subnets and security group in every region from its first moment on.
"""

import base64
import re
import secrets
from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import AccessKey, Account, ServiceSecret, Vpc
from bakehouse.domain.vpcs import create_default_vpc
from bakehouse.errors import sharing as refusals

# Owner of the base images: what ``--owners amazon`` finds.
AMAZON_ALIAS = "amazon"
# EC2's own names of owners; every other account is named by its id alone.
OWNER_ALIASES = (AMAZON_ALIAS, "aws-marketplace")
# What a request may say instead of an owner's id; nothing here belongs to the last.
OWNER_WORDS = ("self", *OWNER_ALIASES, "aws-backup-vault")

_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_PAGE_TOKEN_KEY = "page-token-key"  # noqa: S105  the name of a row, not a secret


def create_account(
    session: Session, *, regions: Sequence[str], alias: str | None = None, account_id: str | None = None
) -> Account:
    """Make an account with a default VPC in each region; ValueError when the id or the alias cannot be used.

    Without ``account_id`` a free random one is taken.
    """
    if account_id is None:
        account_id = _free_account_id(session)
    elif not is_account_id(account_id):
        raise ValueError(f"an account id has 12 digits, not {account_id!r}")
    elif session.get(Account, account_id) is not None:
        raise ValueError(f"the account {account_id} exists already")
    if alias is not None and find_account(session, alias) is not None:
        raise ValueError(f"the account alias {alias!r} is taken")
    account = Account(account_id=account_id, alias=alias)
    session.add(account)
    session.flush()
    for region in regions:
        create_default_vpc(session, account_id, region=region)
    return account


def is_account_id(text: str) -> bool:
    """Tell whether it has the form of an account's id."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def check_users(users: Iterable[str], *words: str) -> None:
    """Refuse what is neither an account's id nor one of EC2's words for accounts in this place."""
    for user in users:
        if user not in words and not is_account_id(user):
            raise refusals.user_malformed(user)


def owner_aliases(session: Session) -> dict[str, str]:
    """The accounts that EC2 names by an alias where it says who owns something."""
    query = sa.select(Account.account_id, Account.alias).where(Account.alias.in_(OWNER_ALIASES))
    return {account_id: alias for account_id, alias in session.execute(query) if alias is not None}


def ids_of_owners(session: Session, account_id: str, owners: Collection[str]) -> set[str]:
    """The accounts that a request names as owners: ids, ``self`` for the caller, and EC2's aliases."""
    check_users(owners, *OWNER_WORDS)
    named = {account_id if owner == "self" else owner for owner in owners}
    return named | {owner_id for owner_id, alias in owner_aliases(session).items() if alias in named}


def ensure_regions(session: Session, regions: Sequence[str]) -> None:
    """Give every account its default VPC in regions that were added since it was made."""
    defaults = session.scalars(sa.select(Vpc).where(Vpc.is_default))
    there = {(vpc.account_id, vpc.region) for vpc in defaults}
    for account in list_accounts(session):
        for region in regions:
            if (account.account_id, region) not in there:
                create_default_vpc(session, account.account_id, region=region)


def find_account(session: Session, id_or_alias: str) -> Account | None:
    """Return the account with this id or alias."""
    query = sa.select(Account).where(sa.or_(Account.account_id == id_or_alias, Account.alias == id_or_alias))
    return session.scalars(query).first()


def list_accounts(session: Session) -> list[Account]:
    """Return all accounts, oldest first."""
    return list(session.scalars(sa.select(Account).order_by(Account.created_at, Account.account_id)))


def ensure_amazon_account(session: Session, *, regions: Sequence[str]) -> Account:
    """Return the account that owns the base images, made when there is none yet."""
    found = find_account(session, AMAZON_ALIAS)
    return found if found is not None else create_account(session, regions=regions, alias=AMAZON_ALIAS)


def create_access_key(session: Session, account_id: str, *, user_id: str | None = None) -> AccessKey:
    """Make a key of the account's root or of a user, in the form AWS gives keys."""
    key = AccessKey(
        access_key_id="AKIA" + base64.b32encode(secrets.token_bytes(10)).decode("ascii"),
        account_id=account_id,
        user_id=user_id,
        # 30 bytes are 40 characters of base64, as long as AWS's secrets.
        secret_access_key=base64.b64encode(secrets.token_bytes(30)).decode("ascii"),
    )
    session.add(key)
    session.flush()
    return key


def ensure_page_token_key(session: Session) -> bytes:
    """Return the key that authenticates page tokens; made once, in a transaction that writes."""
    row = session.get(ServiceSecret, _PAGE_TOKEN_KEY)
    if row is None:
        row = ServiceSecret(name=_PAGE_TOKEN_KEY, value=secrets.token_bytes(32))
        session.add(row)
        session.flush()
    return row.value


def _free_account_id(session: Session) -> str:
    while True:
        account_id = str(secrets.randbelow(900_000_000_000) + 100_000_000_000)
        if session.get(Account, account_id) is None:
            return account_id
