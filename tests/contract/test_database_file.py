"""The database as a file: damaged, locked away, and on a disk that guests have filled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from bakehouse.database.errors import DatabaseDamaged, DatabaseError
from bakehouse.database.session import Database
from bakehouse.database.sqlite_file import check_file


def open_file(path: Path) -> Database:
    return Database(f"sqlite:///{path}")


def a_sound_file(path: Path) -> Database:
    database = open_file(path)
    with database.transaction() as session:
        session.execute(sa.text("CREATE TABLE things (name TEXT)"))
        session.execute(sa.text("CREATE INDEX by_name ON things (name)"))
        session.execute(sa.text("INSERT INTO things VALUES (:name)"), [{"name": "x" * 3000}] * 50)
    check_file(database)
    return database


@pytest.mark.parametrize("kept_bytes", [0, 100, 20_000])
def test_what_is_no_sound_database_is_refused_by_name(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "bakehouse.db"
    a_sound_file(path).close()
    content = bytearray(path.read_bytes())
    content[kept_bytes:] = os.urandom(len(content) - kept_bytes)
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged, match=str(path)):
        check_file(open_file(path))


def test_a_truncated_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bakehouse.db"
    a_sound_file(path).close()
    os.truncate(path, 8192)
    with pytest.raises(DatabaseDamaged):
        check_file(open_file(path))


def test_a_directory_in_the_files_place_is_no_bug_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError), open_file(tmp_path).transaction() as session:
        session.execute(sa.text("SELECT 1"))


# Runs in a mount namespace of its own, in which STATE is a file system of 32 MiB.
ON_A_FULL_DISK = """
import contextlib, sys
from pathlib import Path
import sqlalchemy as sa
from bakehouse.database.errors import DatabaseFull
from bakehouse.database.session import Database
from bakehouse.database.sqlite_file import reserve_room

state = Path(sys.argv[1])
database = Database(f"sqlite:///{state / 'bakehouse.db'}")
with database.transaction() as session:
    session.execute(sa.text("CREATE TABLE things (name TEXT)"))
if sys.argv[2] == "reserved":
    reserve_room(database)
with (state / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
    while file.write(bytes(4096)):
        pass
for number in range(1000):
    try:
        with database.transaction() as session:
            session.execute(sa.text("INSERT INTO things VALUES (:name)"), {"name": "x" * 2000})
    except DatabaseFull as error:
        print("full:", error)
        break
with database.transaction(mutates=False) as session:
    print("kept:", session.execute(sa.text("SELECT count(*) FROM things")).scalar())
"""


def run_on_a_full_disk(tmp_path: Path, word: str) -> str:
    state = tmp_path / "state"
    state.mkdir()
    inside = 'mount -t tmpfs -o size=32m none "$1" && exec "$0" -c "$CODE" "$@"'
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*namespace, "sh", "-c", inside, sys.executable, state, word],
        env={**os.environ, "CODE": ON_A_FULL_DISK, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.programs
def test_with_room_reserved_a_thousand_transactions_fit_on_a_full_disk(tmp_path: Path) -> None:
    assert run_on_a_full_disk(tmp_path, "reserved") == "kept: 1000\n"


@pytest.mark.programs
def test_without_room_a_transaction_fails_whole_and_says_why(tmp_path: Path) -> None:
    said = run_on_a_full_disk(tmp_path, "nothing")
    assert "full: " in said
    assert "database or disk is full" in said
