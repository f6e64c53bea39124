"""The database: the same promises on SQLite and on PostgreSQL."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.orm import Session

from bakehouse.api.client_tokens import Remembered, TokenKey
from bakehouse.api.stored_tokens import StoredTokens
from bakehouse.database import migrate as migrations
from bakehouse.database.migrate import migrate
from bakehouse.database.models import (
    Account,
    ClientToken,
    Image,
    Instance,
    KeyPair,
    LaunchTemplate,
    ReplaceRootVolumeTask,
    Row,
    Snapshot,
    Volume,
    now,
)
from bakehouse.database.session import Database
from bakehouse.domain import accounts, launch_templates, retention, snapshots
from bakehouse.durable.engine import Engine
from bakehouse.errors import ApiError
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


def test_rows_of_before_get_what_newer_tables_say_of_them(url: str) -> None:
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent / "migrations"))
    moment = "2026-01-01 00:00:00"
    ebs = [{"DeviceName": f"/dev/sd{letter}", "Ebs": {"SnapshotId": "snap-1"}} for letter in "ab"]
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0014")
        always = {"account_id": "1" * 12, "region": "r", "name": "n", "created_at": moment}
        _insert(connection, "accounts", account_id="1" * 12, created_at=moment)
        _insert(
            connection,
            "images",
            **always,
            image_id="ami-1",
            description="",
            state="available",
            is_public=False,
            architecture="x86_64",
            boot_mode="uefi",
            root_device_name="/dev/sda",
            block_device_mappings=json.dumps([*ebs, {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 1}}]),
            deregistration_protection="disabled",
        )
        numbers = dict.fromkeys(("default_version_number", "latest_version_number", "last_version_number"), 1)
        for template_id in ("lt-1", "lt-2"):
            template = {**always, **numbers, "name": template_id, "created_by": ""}
            _insert(connection, "launch_templates", **template, launch_template_id=template_id)
        version = {"launch_template_id": "lt-1", "region": "r", "description": "", "created_by": ""}
        for number, data in enumerate(('{"KeyName": "k"}', "{}")):
            facts = {**version, "version_number": number, "created_at": moment, "data": data}
            _insert(connection, "launch_template_versions", **facts)
        connection.commit()
    migrate(database)
    with database.transaction(mutates=False) as session:
        image = session.get_one(Image, "ami-1")
        assert [one.snapshot_id for one in image.snapshots_named] == ["snap-1"]
        assert (image.ena_support, image.sriov_net_support) == (True, None)
        templates = session.scalars(sa.select(LaunchTemplate).order_by(LaunchTemplate.launch_template_id))
        assert [one.data_bytes for one in templates] == [len('{"KeyName": "k"}{}'), 0]
    database.close()


def _insert(connection: sa.Connection, table: str, **values: object) -> None:
    connection.execute(sa.table(table, *(sa.column(name) for name in values)).insert().values(**values))


def test_the_data_of_templates_is_counted_limited_and_read_a_few_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_account(database)
    monkeypatch.setattr(launch_templates, "MAX_TOTAL_BYTES", 1000)
    monkeypatch.setattr(launch_templates, "_READ_AT_ONCE", 2)
    small, large = {"ImageId": "ami-00000000000000001"}, {"KeyName": "k" * 600}

    def add(session: Session, template: LaunchTemplate, data: dict[str, str]) -> None:
        launch_templates.add_version(session, template, data=data, source=None, description="", created_by="")

    with database.transaction(region="us-east-1") as session:
        template = launch_templates.create(
            session, "1" * 12, name="one", data=small, description="", created_by="somebody"
        )
        for data in (large, {}, small):
            add(session, template, data)
        with pytest.raises(ApiError, match="ResourceLimitExceeded"):
            add(session, template, large)
        assert template.data_bytes == sum(len(json.dumps(data)) for data in (small, large, {}, small))
        assert launch_templates.images_named(session, template, 3) == [small["ImageId"]]
        assert launch_templates.images_named(session, template, 4) == [small["ImageId"]] * 2
    with database.transaction(region="us-east-1") as session:
        template = launch_templates.get(session, "1" * 12, template_id=None, name="one")
        versions = launch_templates.list_versions(session, template, at_least=2)
        assert [one.version_number for one in versions] == [4, 3, 2]
        with pytest.raises(sa.exc.InvalidRequestError):
            _ = versions[0].data
        of_all = launch_templates.list_versions_of_all(session, "1" * 12, ["$Latest", "$Default"])
        assert [version.version_number for _, version in of_all] == [4, 1]
        read = launch_templates.VersionData(session, versions)
        assert [read.of(one) for one in (*versions, versions[0])] == [small, {}, large, small]
        launch_templates.delete_versions(session, template, [2, 4, 5])
        assert (template.data_bytes, template.latest_version_number) == (len(json.dumps(small)) + 2, 3)
        add(session, template, large)


def test_processes_may_migrate_at_once(url: str) -> None:
    # Alembic is for one thread of a process.
    words = [sys.executable, "-c", _MIGRATE, url]
    running = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_migrations_are_one_transaction_so_no_other_process_comes_in_between(url: str) -> None:
    database = Database(url)
    begun: list[sa.Connection] = []
    sa.event.listen(database.engine, "begin", begun.append)
    migrate(database)
    database.close()
    assert len(begun) == 1


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
            assert found.response is not None
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
        session.add(_volume("captured", deleted_at=old))
        session.add(_snapshot("of it", volume_id="captured"))
        session.add(_snapshot("import", started_at=old))
    with database.transaction(region="us-east-1") as session:
        retention.forget_expired(session)
    with database.transaction(mutates=False) as session:
        assert set(session.scalars(sa.select(Instance.instance_id))) == {"recent", "live"}
        assert set(session.scalars(sa.select(ReplaceRootVolumeTask.task_id))) == {"recent", "live"}
        assert set(session.scalars(sa.select(Volume.volume_id))) == {"recent", "live", "captured"}
        assert session.get_one(Snapshot, "of it").state == "pending"
        assert session.get_one(Snapshot, "import").state == "error"


def known_of(database: Database, token: str, operation: str = "ec2.RunInstances") -> tuple[bytes | None, bool] | None:
    """What the token is worth: the response, and whether its launch is over. Upkeep changes nothing in it."""
    key = TokenKey(account_id="1" * 12, region="us-east-1", operation=operation, token=token)
    found = []
    for _ in range(2):
        with database.transaction(mutates=False, region="us-east-1") as session:
            found.append(StoredTokens().find(session, key))
        with database.transaction() as session:
            retention.forget_expired(session)
    assert found[0] == found[1]
    return (found[0].response, found[0].is_launch_over) if found[0] else None


def remember(database: Database, token: str, age: timedelta, operation: str = "ec2.RunInstances") -> None:
    with database.transaction(region="us-east-1") as session:
        key = TokenKey(account_id="1" * 12, region="us-east-1", operation=operation, token=token)
        StoredTokens().remember(session, key, REPLY)
        session.flush()
        session.execute(sa.update(ClientToken).where(ClientToken.token == token).values(runs_since=now() - age))


def test_a_token_is_good_for_a_day_and_its_digest_for_a_month(database: Database) -> None:
    add_account(database)
    hours = {"new": 23, "expired": 25, "old": 29 * 24, "forgotten": 31 * 24}
    for token, age in hours.items():
        remember(database, token, timedelta(hours=age), "ec2.CreateVolume")
    worth = {token: known_of(database, token, "ec2.CreateVolume") for token in hours}
    assert worth == {"new": (REPLY.response, False), "expired": (None, False), "old": (None, False), "forgotten": None}
    with database.transaction(mutates=False) as session:
        assert set(session.execute(sa.select(ClientToken.token, ClientToken.response))) == {
            ("new", REPLY.response),
            ("expired", b""),
            ("old", b""),
        }
    remember(database, "expired", timedelta(), "ec2.CreateVolume")
    assert known_of(database, "expired", "ec2.CreateVolume") == (REPLY.response, False)


def test_a_launchs_token_is_good_while_an_instance_lives_and_a_day_after_the_last(database: Database) -> None:
    add_account(database)
    ended = {"living": (None, 40 * 24), "half": (None, 30), "shown": (0.5, 0.5), "hidden": (20, 23), "over": (25, 40)}
    with database.transaction(region="us-east-1") as session:
        for token, ends in ended.items():
            for number, hours in enumerate(ends):
                moment = None if hours is None else now() - timedelta(hours=hours)
                instance = _instance(f"{token}-{number}", terminated_at=moment)
                instance.client_token = token
                session.add(instance)
    for token in ended:
        remember(database, token, timedelta(hours=50))
    lives, has_ended, expired = (REPLY.response, False), (REPLY.response, True), (None, True)
    expected = {"living": lives, "half": lives, "shown": has_ended, "hidden": has_ended, "over": expired}
    assert {token: known_of(database, token) for token in ended} == expected
    with database.transaction(mutates=False) as session:
        left = set(session.scalars(sa.select(Instance.instance_id)))
    assert left == {"living-0", "half-0", "shown-0", "shown-1"}


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


def test_sixty_stops_that_wait_for_their_guests_hold_no_launch_up(database: Database) -> None:
    waiting = threading.Semaphore(0)
    launched, may_end = threading.Event(), threading.Event()
    engine = Engine(database, host_name="local")

    def stop() -> None:
        waiting.release()
        assert may_end.wait(120)

    engine.register("stop", stop)
    engine.register("launch", launched.set)
    engine.launch()
    stops = {f"stop-{number}" for number in range(60)}
    try:
        with database.transaction(region="us-east-1") as session:
            for workflow_id in stops:
                engine.enqueue(session, "stop", key=workflow_id, workflow_id=workflow_id)
        assert all(waiting.acquire(timeout=60) for _ in stops)
        with database.transaction(region="us-east-1") as session:
            engine.enqueue(session, "launch", key="i-1", workflow_id="launch-1")
        assert launched.wait(60)
        assert _unfinished(engine, database) >= stops
        may_end.set()
        wait_for(lambda: not _unfinished(engine, database), "the end of all of them")
    finally:
        may_end.set()
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
