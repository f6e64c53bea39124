"""The database as a file: whose it is, damaged, locked away, and on a disk that guests have filled."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bakehouse.database.errors import DatabaseDamaged, DatabaseError
from bakehouse.database.session import Database
from bakehouse.database.sqlite_file import check_file, make_private
from bakehouse.main import hold_lock, open_database
from bakehouse.settings import Settings
from tests.framework.tiny_host import UID


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


@pytest.fixture(name="passable")
def _passable() -> Iterator[Path]:
    """A directory that others pass through, in a process whose new files others may read."""
    before = os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o711)
            yield Path(directory)
    finally:
        os.umask(before)


def modes_in(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir() if path.is_file()}


def test_the_files_of_a_database_are_private_from_the_first_moment(passable: Path) -> None:
    database = open_database(Settings(state_root=passable))
    try:
        with hold_lock(Settings(state_root=passable)), database.transaction() as session:
            session.execute(sa.text("CREATE TABLE secrets (word TEXT)"))
            modes = modes_in(passable)
        assert {"bakehouse.db", "bakehouse.db-wal", "bakehouse.db-shm", "lock"} <= modes.keys()
        assert set(modes.values()) == {0o600}
    finally:
        database.close()


def test_a_database_and_a_lock_that_others_could_read_are_closed_to_them(passable: Path) -> None:
    path = passable / "bakehouse.db"
    (passable / "lock").touch()
    database = a_sound_file(path)
    try:
        assert set(modes_in(passable).values()) == {0o644}
        make_private(database)
        with hold_lock(Settings(state_root=passable)):
            assert set(modes_in(passable).values()) == {0o600}
    finally:
        database.close()


@pytest.mark.programs
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_opens_none_of_a_databases_files(passable: Path) -> None:
    (passable / "for-all").write_text("")
    database = open_database(Settings(state_root=passable))
    try:
        with hold_lock(Settings(state_root=passable)):
            opened = [name for name in modes_in(passable) if opens_as_another(passable / name)]
        assert opened == ["for-all"]
    finally:
        database.close()


def opens_as_another(path: Path) -> bool:
    done = subprocess.run(["cat", path], user=UID, group=UID, extra_groups=[], capture_output=True, check=False)
    return done.returncode == 0


def test_a_database_where_no_file_can_be_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="missing"):
        make_private(open_file(tmp_path / "missing" / "bakehouse.db"))


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
