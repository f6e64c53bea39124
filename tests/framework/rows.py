"""A database of two accounts, for tests of what reads and writes rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Account
from bakehouse.database.session import Database

ACCOUNT, OTHER = "1" * 12, "2" * 12


@contextmanager
def session_of_two_accounts(directory: Path) -> Iterator[Session]:
    """One transaction of us-east-1 over a fresh SQLite file; it commits at the end."""
    database = Database(f"sqlite:///{directory / 'rows.db'}")
    migrate(database)
    with database.transaction(region="us-east-1") as session:
        session.add_all([Account(account_id=ACCOUNT), Account(account_id=OTHER)])
        session.flush()
        yield session
    database.close()
