"""The database: the same promises on SQLite and on PostgreSQL."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bakehouse.api.client_tokens import Remembered, TokenKey
from bakehouse.api.stored_tokens import StoredTokens
from bakehouse.database.migrate import migrate
from bakehouse.database.models import (
    Account,
    ClientToken,
    Image,
    Instance,
    KeyPair,
    ReplaceRootVolumeTask,
    Row,
    Snapshot,
    Volume,
    now,
)
from bakehouse.database.session import Database
from bakehouse.domain import accounts, retention, snapshots
from bakehouse.durable.engine import Engine
from bakehouse.ids import Prefix, new_id
from tests.framework.postgresql import PostgresqlServer, postgresql_server
from tests.framework.tiny_host import wait_for

pytestmark = pytest.mark.programs

KEY = TokenKey(account_id="1" * 12, region="us-east-1", operation="ec2.RunInstances", token="once")
REPLY = Remembered(request_digest="digest", response=b"\x00\xffreply")


_MIGRATE = """
import sys
from bakehouse.database.migrate import migrate
from bakehouse.database.session import Database
migrate(Database(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database's URL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rows.db'}"
    server: PostgresqlServer = request.getfixturevalue("server")
    return server.new_database(f"rows-{new_id(Prefix.VOLUME)}")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    migrate(opened)
    yield opened
    opened.close()


def add_account(database: Database, account_id: str = "1" * 12) -> None:
    """An account without anything."""
    with database.transaction(region="us-east-1") as session:
        session.add(Account(account_id=account_id))


def test_the_migrations_make_what_the_models_say_and_may_run_again(database: Database) -> None:
    migrate(database)
    inspector = sa.inspect(database.engine)
    assert set(Row.metadata.tables) <= set(inspector.get_table_names())
    for name, table in Row.metadata.tables.items():
        assert {column["name"] for column in inspector.get_columns(name)} == set(table.columns.keys())


def test_processes_may_migrate_at_once(url: str) -> None:
    # Alembic is for one thread of a process.
    words = [sys.executable, "-c", _MIGRATE, url]
    running = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_a_plain_postgresql_url_means_the_driver_we_ship() -> None:
    database = Database("postgresql://somebody@nowhere/rows")
    assert database.engine.dialect.driver == "psycopg"
    database.close()


def test_an_error_rolls_everything_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction(region="us-east-1") as session:
        session.add(Account(account_id="1" * 12))
        session.flush()
        _ = 1 / 0
    with database.transaction(mutates=False) as session:
        assert session.scalars(sa.select(Account)).all() == []


def test_a_name_that_must_be_unique_is(database: Database) -> None:
    def add() -> None:
        with database.transaction(region="us-east-1") as session:
            key = KeyPair(account_id="1" * 12, key_name="one", key_type="rsa", fingerprint="", public_key="")
            key.key_pair_id = new_id(Prefix.KEY_PAIR)
            session.add(key)

    add()
    with pytest.raises(sa.exc.IntegrityError):
        add()


def test_a_row_that_names_nobody_is_refused(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.transaction(region="us-east-1") as session:
        session.add(Snapshot(snapshot_id="snap-1", account_id="9" * 12, volume_size_gib=1, state="pending"))


def test_values_come_back_as_they_were(database: Database) -> None:
    add_account(database)
    moment, mappings = now(), [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "Encrypted": False}}]
    with database.transaction(region="us-east-1") as session:
        session.add(
            Image(
                image_id="ami-1",
                account_id="1" * 12,
                name="größer",
                state="available",
                root_device_name="/dev/xvda",
                block_device_mappings=mappings,
                created_at=moment,
            )
        )
        session.add(
            Snapshot(snapshot_id="s", account_id="1" * 12, volume_size_gib=1, state="completed", stored_bytes=1 << 40)
        )
    with database.transaction(mutates=False) as session:
        image = session.get_one(Image, "ami-1")
        assert (image.name, image.block_device_mappings) == ("größer", mappings)
        assert image.created_at == moment
        assert image.created_at.tzinfo == UTC or image.created_at.utcoffset() == datetime.now(UTC).utcoffset()
        assert session.get_one(Snapshot, "s").stored_bytes == 1 << 40


def test_a_reader_sees_one_instant(database: Database) -> None:
    add_account(database)
    with database.transaction(mutates=False) as session:
        before = session.scalars(sa.select(Account.account_id)).all()
        add_account(database, "2" * 12)
        assert session.scalars(sa.select(Account.account_id)).all() == before


def test_a_reader_waits_for_no_writer(database: Database) -> None:
    add_account(database)
    with database.transaction(region="us-east-1") as session:
        session.add(Account(account_id="2" * 12))
        session.flush()
        with database.transaction(mutates=False) as reading:
            assert len(reading.scalars(sa.select(Account)).all()) == 1


def test_a_token_that_is_used_by_many_at_once_is_remembered_once(database: Database) -> None:
    tokens, did_work = StoredTokens(), []
    barrier = threading.Barrier(8)

    def request() -> bytes:
        barrier.wait()
        with database.transaction(region="us-east-1") as session:
            found = tokens.find(session, KEY)
            if found is None:
                did_work.append(1)
                tokens.remember(session, KEY, REPLY)
                found = REPLY
            return found.response

    with ThreadPoolExecutor(8) as pool:
        replies = [done.result() for done in [pool.submit(request) for _ in range(8)]]
    assert replies == [REPLY.response] * 8
    assert did_work == [1]


def test_accounts_made_at_once_share_no_number(database: Database) -> None:
    def make(_number: int) -> str:
        with database.transaction(region="us-east-1") as session:
            return accounts.create_account(session, regions=("us-east-1",)).account_id

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(16)))
    assert len(set(made)) == 16
    with database.transaction(mutates=False) as session:
        numbers = list(session.scalars(sa.text("SELECT agent_uid_number FROM vpcs")))
    assert len(set(numbers)) == len(numbers) == 16


def test_what_has_had_its_time_is_forgotten_and_nothing_else(database: Database) -> None:
    add_account(database)
    old, recent = now() - timedelta(hours=30), now() - timedelta(minutes=30)
    with database.transaction(region="us-east-1") as session:
        for name, moment in (("old", old), ("recent", recent), ("live", None)):
            session.add(_instance(name, terminated_at=moment))
            session.add(_volume(name, deleted_at=moment))
            session.add(_task(name))
            if moment is not None:
                key = TokenKey(account_id="1" * 12, region="r", operation="o", token=name)
                StoredTokens().remember(session, key, REPLY)
                session.flush()
                session.execute(sa.update(ClientToken).where(ClientToken.token == name).values(created_at=moment))
        session.add(_volume("captured", deleted_at=old))
        session.add(_snapshot("of it", volume_id="captured"))
        session.add(_snapshot("import", started_at=old))
    with database.transaction(region="us-east-1") as session:
        retention.forget_expired(session)
    with database.transaction(mutates=False) as session:
        assert set(session.scalars(sa.select(Instance.instance_id))) == {"recent", "live"}
        assert set(session.scalars(sa.select(ReplaceRootVolumeTask.task_id))) == {"recent", "live"}
        assert set(session.scalars(sa.select(Volume.volume_id))) == {"recent", "live", "captured"}
        assert set(session.scalars(sa.select(ClientToken.token))) == {"recent"}
        assert session.get_one(Snapshot, "of it").state == "pending"
        assert session.get_one(Snapshot, "import").state == "error"


def _task(instance_id: str) -> ReplaceRootVolumeTask:
    return ReplaceRootVolumeTask(
        task_id=instance_id,
        account_id="1" * 12,
        instance_id=instance_id,
        state="succeeded",
        snapshot_id="snap-1",
        replaced_image_id="ami-1",
        replaced_boot_mode="uefi",
        old_volume_id="vol-1",
        new_volume_id="vol-2",
    )


def test_ended_workflows_are_forgotten_after_a_while(database: Database) -> None:
    ran = threading.Event()
    engine = Engine(database, host_name="local")
    engine.register("noop", ran.set)
    engine.launch()
    try:
        with database.transaction(region="us-east-1") as session:
            engine.enqueue(session, "noop", key="k", workflow_id="noop-1")
            assert engine.unfinished_ids(session) == {"noop-1"}
        assert ran.wait(30)
        wait_for(lambda: not _unfinished(engine, database), "the end of the workflow")
        assert engine.forget_ended(older_than_s=3600) == 0
        assert engine.forget_ended(older_than_s=-3600) == 1
    finally:
        assert engine.close()


def _unfinished(engine: Engine, database: Database) -> set[str]:
    with database.transaction(mutates=False) as session:
        return engine.unfinished_ids(session)


def _instance(name: str, *, terminated_at: datetime | None) -> Instance:
    return Instance(
        instance_id=name,
        account_id="1" * 12,
        reservation_id="r",
        state="terminated" if terminated_at else "running",
        instance_type="t3.nano",
        image_id="ami-1",
        boot_mode="uefi",
        machine_uuid="",
        vpc_id="",
        subnet_id="",
        availability_zone="",
        root_device_name="/dev/xvda",
        metadata_options={},
        terminated_at=terminated_at,
    )


def _volume(name: str, *, deleted_at: datetime | None) -> Volume:
    state = "deleted" if deleted_at else "available"
    return Volume(
        volume_id=name, account_id="1" * 12, availability_zone="", size_gib=1, state=state, deleted_at=deleted_at
    )


def _snapshot(name: str, *, volume_id: str | None = None, started_at: datetime | None = None) -> Snapshot:
    return Snapshot(
        snapshot_id=name,
        account_id="1" * 12,
        volume_id=volume_id,
        volume_size_gib=1,
        state="pending",
        started_at=started_at or now(),
    )


def test_what_must_not_be_collected_is_found(database: Database) -> None:
    add_account(database)
    with database.transaction(region="us-east-1") as session:
        for state in ("pending", "completed", "error"):
            session.add(Snapshot(snapshot_id=state, account_id="1" * 12, volume_size_gib=1, state=state))
    with database.transaction(mutates=False) as session:
        assert snapshots.referenced_ids(session) == {"pending", "completed"}
