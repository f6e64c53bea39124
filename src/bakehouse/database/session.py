"""Engines and transactions.

Invariant: a transaction that writes starts with the write lock (SQLite: BEGIN IMMEDIATE; PostgreSQL: one advisory
lock), so it can wait for another writer but never fail half-way because of one, and what it has read stays true
until it ends. One that only reads sees one instant and waits for nobody. Transactions end only at the edge: the
gateway for requests, a step for workflows.

A request's transaction belongs to one region: of the tables that are ``Regional`` it sees only that region's rows, and
what it adds belongs there. Nothing else has to think of regions, and nothing can forget to. A workflow's transaction
belongs to none and sees all. ``everywhere`` and ``in_region`` are the two ways out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.sql.base import Executable

from bakehouse.database.errors import database_errors_translated
from bakehouse.database.models import Regional

_BUSY_TIMEOUT_MS = 30_000
# Any number will do, as long as it stays the same.
_WRITE_LOCK = 0x62616B65
_REGION = "region"
_EVERYWHERE = "bakehouse_everywhere"

Statement = TypeVar("Statement", bound=Executable)


class RegionSession(Session):
    """A session that may belong to a region (``info["region"]``)."""


@sa.event.listens_for(RegionSession, "do_orm_execute")
def _see_own_region(state: ORMExecuteState) -> None:
    region = state.session.info.get(_REGION)
    # What a row is related to is where the row is.
    is_free = state.is_column_load or state.is_relationship_load or state.execution_options.get(_EVERYWHERE)
    if region is not None and not is_free:
        criteria = with_loader_criteria(Regional, lambda row: row.region == region, include_aliases=True)
        state.statement = state.statement.options(criteria)


@sa.event.listens_for(RegionSession, "before_flush")
def _write_own_region(session: Session, _context: object, _objects: object) -> None:
    region = session.info.get(_REGION)
    for row in session.new:
        if isinstance(row, Regional) and row.region is None:
            assert region is not None, "a row added outside of any region names its own"
            row.region = region


def everywhere(statement: Statement) -> Statement:
    """The statement, over the rows of all regions: for what the host gives out once (addresses, uids, memory)."""
    return statement.execution_options(**{_EVERYWHERE: True})


@contextmanager
def in_region(session: Session, region: str) -> Iterator[None]:
    """Let a transaction belong to another region for a while, as a copy from there needs."""
    before = session.info.get(_REGION)
    session.flush()
    session.info[_REGION] = region
    try:
        yield
        session.flush()
    finally:
        session.info[_REGION] = before


def region_of(session: Session) -> str:
    """The region a request's transaction belongs to."""
    return str(session.info[_REGION])


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
    def transaction(self, *, mutates: bool = True, region: str | None = None) -> Iterator[Session]:
        """One transaction: committed on the way out, rolled back on any error; DatabaseError for the disk's.

        ``region``: the one it belongs to.
        """
        engine = self.engine if mutates else self._reading
        with (
            database_errors_translated(str(self.url.database)),
            RegionSession(engine, expire_on_commit=False, info={_REGION: region}) as session,
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
