"""The SQLite file as a file: is it ours alone, is it sound, and has it room to go on when its disk is full?"""

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from bakehouse.database.errors import DatabaseDamaged, DatabaseError, DatabaseFull, database_errors_translated
from bakehouse.database.session import Database

_log = logging.getLogger("bakehouse.database")

_RESERVE_CHUNKS, _CHUNK_BYTES = 32, 256 << 10
# The file, its log, the log's index, and the log of a database that was never ours.
_FILES = ("", "-wal", "-shm", "-journal")
_PRIVATE = 0o600


def make_private(database: Database) -> None:
    """Let nobody else open the file and what lies beside it; before anything connects. DatabaseError.

    SQLite gives its log the mode that the file has when the log is made, and the log holds every secret that the
    file does: so the file is there, and private, first. Never opened when it exists: closing it would take away
    the locks of other connections of this process.
    """
    if not database.is_sqlite or not database.url.database:
        return
    path = Path(database.url.database)
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE))
        for each in (path.with_name(path.name + ending) for ending in _FILES):
            with suppress(FileNotFoundError):
                mode = each.stat().st_mode
                if stat.S_ISREG(mode) and stat.S_IMODE(mode) != _PRIVATE:
                    each.chmod(_PRIVATE)
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}") from error


def check_file(database: Database) -> None:
    """Read the whole file's structure; DatabaseDamaged says what is wrong. Nothing to do on PostgreSQL."""
    if not database.is_sqlite:
        return
    name = str(database.url.database)
    with database_errors_translated(name), database.engine.connect() as connection:
        verdict = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        connection.rollback()
    if verdict != "ok":
        raise DatabaseDamaged(f"{name}: {verdict}")


def reserve_room(database: Database) -> None:
    """Let the file and its log own some free megabytes, so that a disk filled by guests stops no transaction.

    What frees space again (TerminateInstances, DeleteSnapshot) must be written down first. The pages of a
    dropped table stay the file's, and the log keeps the length it once had until the service ends.
    """
    if not database.is_sqlite:
        return
    try:
        with database.transaction() as session:
            session.execute(sa.text("DROP TABLE IF EXISTS reserve"))
            session.execute(sa.text("CREATE TABLE reserve (room BLOB)"))
            chunk = sa.text("INSERT INTO reserve VALUES (zeroblob(:size))")
            session.execute(chunk, [{"size": _CHUNK_BYTES}] * _RESERVE_CHUNKS)
        # In a transaction of its own: pages freed before they were ever committed would not be written at all.
        with database.transaction() as session:
            session.execute(sa.text("DROP TABLE reserve"))
    except DatabaseFull as error:
        _log.warning("no room can be reserved for the database: %s", error)
