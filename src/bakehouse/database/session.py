"""Engines and transactions.

Invariant: a transaction that writes starts with the write lock (SQLite: BEGIN IMMEDIATE; PostgreSQL: one advisory
lock), so it can wait for another writer but never fail half-way because of one, and what it has read stays true
until it ends. One that only reads sees one instant and waits for nobody. Transactions end only at the edge: the
gateway for requests, a step for workflows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.errors import database_errors_translated

_BUSY_TIMEOUT_MS = 30_000
# Any number will do, as long as it stays the same.
_WRITE_LOCK = 0x62616B65


def _make_sqlite_engine(url: str, begin: str) -> sa.Engine:
    engine = sa.create_engine(
        url, hide_parameters=True, connect_args={"check_same_thread": False, "isolation_level": None}
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        for pragma in (
            f"busy_timeout = {_BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _with_our_driver(url: sa.URL) -> sa.URL:
    """postgresql://... means the driver that we depend on."""
    return url.set(drivername="postgresql+psycopg") if url.drivername in {"postgresql", "postgres"} else url


class Database:
    """The rows of one Bakehouse: SQLite in a file, or PostgreSQL.

    ``engine`` is the writing one; the workflow engine shares it, so that a row and the workflow that works
    on it commit together.
    """

    def __init__(self, url: str) -> None:
        self.url = _with_our_driver(sa.make_url(url))
        if self.is_sqlite:
            self.engine = _make_sqlite_engine(url, "BEGIN IMMEDIATE")
            self._reading = _make_sqlite_engine(url, "BEGIN DEFERRED")
        else:
            self.engine = sa.create_engine(
                self.url, pool_size=20, max_overflow=40, pool_pre_ping=True, hide_parameters=True
            )
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this host."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def transaction(self, *, mutates: bool = True) -> Iterator[Session]:
        """One transaction: committed on the way out, rolled back on any error; DatabaseError for the disk's."""
        engine = self.engine if mutates else self._reading
        with (
            database_errors_translated(str(self.url.database)),
            Session(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            if mutates:
                self.take_write_lock(session.connection())
            yield session

    def take_write_lock(self, connection: sa.Connection) -> None:
        """Keep other writers out until the connection's transaction ends; SQLite does so by itself."""
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()
        self._reading.dispose()
