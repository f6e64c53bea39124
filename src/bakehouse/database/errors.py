"""What can go wrong with the database itself.

PartError
  DatabaseError         it cannot be opened, read or written
    DatabaseFull        no room on its disk; nothing of the transaction is kept
    DatabaseDamaged     the file is not a database, or not a sound one
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from bakehouse.errors import PartError

_POSTGRESQL_DISK_FULL = "53100"
_PRIMARY_CODE = 0xFF


class DatabaseError(PartError):
    """The database cannot be opened, read or written."""


class DatabaseFull(DatabaseError):
    """There is no room on the database's disk."""


class DatabaseDamaged(DatabaseError):
    """The file is not a database, or not a sound one."""


_SQLITE_KINDS: dict[int, type[DatabaseError]] = {
    sqlite3.SQLITE_FULL: DatabaseFull,
    sqlite3.SQLITE_CORRUPT: DatabaseDamaged,
    sqlite3.SQLITE_NOTADB: DatabaseDamaged,
    sqlite3.SQLITE_CANTOPEN: DatabaseError,
    sqlite3.SQLITE_IOERR: DatabaseError,
    sqlite3.SQLITE_READONLY: DatabaseError,
}


@contextmanager
def database_errors_translated(name: str) -> Iterator[None]:
    """Turn what the disk or the server is to blame for into a DatabaseError; bugs in statements pass."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        kind = _kind_of(error)
        if kind is None:
            raise
        raise kind(f"{name}: {error.orig}") from error
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as error:
        raise DatabaseError(f"{name}: {error}") from error


def _kind_of(error: sa.exc.DBAPIError) -> type[DatabaseError] | None:
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _SQLITE_KINDS.get(getattr(cause, "sqlite_errorcode", 0) & _PRIMARY_CODE)
    if getattr(cause, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
        return DatabaseFull
    # A server that is away, shuts down or refuses us; our own mistakes are of other classes.
    return DatabaseError if isinstance(error, sa.exc.OperationalError) else None
