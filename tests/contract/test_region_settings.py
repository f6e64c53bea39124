"""Settings of an account in a region, and which images they allow: the same on SQLite and PostgreSQL."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Account, Image, Snapshot, now
from bakehouse.database.session import Database
from bakehouse.domain import allowed_images, block_public_access, images, region_settings, snapshots
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, new_id
from tests.framework.postgresql import PostgresqlServer, postgresql_server

pytestmark = pytest.mark.programs

HERE, THERE = "us-east-1", "eu-west-1"
OWN, MAKER, AMAZON = "1" * 12, "2" * 12, "3" * 12
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'rows.db'}"
    else:
        server: PostgresqlServer = request.getfixturevalue("server")
        url = server.new_database(f"rows-{new_id(Prefix.VOLUME)}")
    opened = Database(url)
    migrate(opened)
    with opened.transaction(region=HERE) as session:
        aliases = {OWN: None, MAKER: "maker", AMAZON: "amazon"}
        session.add_all(Account(account_id=account_id, alias=alias) for account_id, alias in aliases.items())
        session.flush()
        session.add_all([image(OWN, "own"), image(MAKER, "web-1"), image(MAKER, "db-1"), image(AMAZON, "base")])
    yield opened
    opened.close()


def image(account_id: str, name: str) -> Image:
    made = Image(
        image_id=f"ami-{name}",
        account_id=account_id,
        name=name,
        state="available",
        root_device_name="/dev/xvda",
        block_device_mappings=[],
        is_public=True,
    )
    if name == "db-1":
        made.created_at = now() - 100 * DAY
        made.deprecate_at = now() - 10 * DAY
        made.product_codes = [{"ProductCodeId": "abc", "ProductCodeType": "marketplace"}]
    return made


def seen(database: Database) -> set[str]:
    """The names an account is shown, which are those that it finds one by one."""
    with database.transaction(region=HERE, mutates=False) as session:
        rows = images.list_rows(session, OWN, include_deprecated=True)
        assert {one.name for one in images.visible(session, OWN)} == {one.name for one in rows}
        return {one.name for one in rows}


def allow(database: Database, *criteria: dict[str, Any], state: str = "enabled") -> None:
    with database.transaction(region=HERE) as session:
        allowed_images.replace_criteria(session, OWN, criteria)
        allowed_images.set_state(session, OWN, state)


def test_a_setting_is_of_one_account_and_one_region(database: Database) -> None:
    with database.transaction(region=HERE) as session:
        region_settings.put_setting(session, OWN, "colour", {"is": "red"})
        region_settings.put_setting(session, OWN, "colour", {"is": "blue"})
    for region, account_id, found in ((HERE, OWN, {"is": "blue"}), (THERE, OWN, None), (HERE, MAKER, None)):
        with database.transaction(region=region) as session:
            assert region_settings.get_setting(session, account_id, "colour", None) == found
            region_settings.remove_setting(session, MAKER, "colour")
    with database.transaction(region=HERE) as session:
        region_settings.remove_setting(session, OWN, "colour")
        assert region_settings.get_setting(session, OWN, "colour", "none") == "none"


@pytest.mark.parametrize(
    ("criteria", "others"),
    [
        ([], {"web-1", "db-1", "base"}),
        ([{"ImageProviders": ["amazon"]}], {"base"}),
        ([{"ImageProviders": [MAKER]}], {"web-1", "db-1"}),
        ([{"ImageProviders": ["none"]}], set()),
        ([{"ImageProviders": ["aws-marketplace", "aws-backup-vault"]}], set()),
        ([{"ImageNames": ["WEB-?", "ba*"]}], {"base"}),
        ([{"ImageNames": ["we?-*"]}], {"web-1"}),
        ([{"MarketplaceProductCodes": ["abc", "other"]}], {"db-1"}),
        ([{"CreationDateCondition": {"MaximumDaysSinceCreated": 99}}], {"web-1", "base"}),
        ([{"CreationDateCondition": {"MaximumDaysSinceCreated": 2**31 - 1}}], {"web-1", "db-1", "base"}),
        ([{"DeprecationTimeCondition": {"MaximumDaysSinceDeprecated": 0}}], {"web-1", "base"}),
        ([{"DeprecationTimeCondition": {"MaximumDaysSinceDeprecated": 11}}], {"web-1", "db-1", "base"}),
        ([{"ImageProviders": [MAKER], "ImageNames": ["web*", "base"]}], {"web-1"}),
        ([{"ImageProviders": ["amazon"]}, {"ImageNames": ["db-1"]}], {"base", "db-1"}),
    ],
    ids=lambda given: str(sorted(given) if isinstance(given, set) else given),  # the same in every lane
)
def test_an_image_is_allowed_when_it_meets_all_of_one_criterion(
    database: Database, criteria: list[dict[str, Any]], others: set[str]
) -> None:
    allow(database, *criteria)
    assert seen(database) == {"own"} | others
    with database.transaction(region=HERE) as session:
        for name in others ^ {"web-1", "db-1", "base"}:
            with pytest.raises(ApiError, match=r"InvalidAMIID\."):
                images.visible(session, OWN, [f"ami-{new_id(Prefix.IMAGE).removeprefix('ami-')}", f"ami-{name}"])


def test_criteria_say_in_audit_what_they_would_do_and_stay_while_disabled(database: Database) -> None:
    for state, verdicts in (("audit-mode", {"own": True, "web-1": False, "base": True}), ("disabled", {})):
        allow(database, {"ImageProviders": ["amazon"]}, state=state)
        assert seen(database) == {"own", "web-1", "db-1", "base"}
        with database.transaction(region=HERE) as session:
            rows = images.list_rows(session, OWN, include_deprecated=True)
            allowed = images.allowed_of(OWN, rows)
            found = {one.name: allowed.verdict(one, one.owner_alias) for one in rows}
            assert all(found[name] == verdict for name, verdict in verdicts.items())
            assert allowed.criteria == ({"ImageProviders": ["amazon"]},)
            assert state != "disabled" or set(found.values()) == {None}


@pytest.mark.parametrize(
    "criteria",
    [
        [{"ImageProviders": ["somebody"]}],
        [{"ImageProviders": ["none", MAKER]}],
        [{"ImageProviders": [f"{n:012}" for n in range(201)]}],
        [{"ImageNames": ["a?"]}],
        [{"ImageNames": ["name\n"]}],
        [{"ImageNames": ["n" * 129]}],
        [{"MarketplaceProductCodes": ["not-a-code"]}],
        [{"ImageProviders": ["amazon"]}] * 11,
    ],
    ids=lambda criteria: str(criteria)[:60],
)
def test_criteria_that_cannot_be_are_refused(database: Database, criteria: list[dict[str, Any]]) -> None:
    with pytest.raises(ApiError, match="InvalidParameterValue"):
        allow(database, *criteria)


def test_a_public_snapshot_is_hidden_by_its_owners_setting_in_its_region(database: Database) -> None:
    for region in (HERE, THERE):
        with database.transaction(region=region) as session:
            row = Snapshot(snapshot_id=f"snap-{region}", account_id=MAKER, volume_size_gib=1, state="completed")
            row.is_public = True
            session.add(row)

    def found(account_id: str, region: str) -> list[str]:
        with database.transaction(region=region, mutates=False) as session:
            return [one.snapshot_id for one in snapshots.visible(session, account_id)]

    assert found(OWN, HERE) == [f"snap-{HERE}"]
    with database.transaction(region=HERE) as session:
        block_public_access.set_snapshot_state(session, MAKER, block_public_access.BLOCK_ALL)
    assert found(OWN, HERE) == []
    assert found(MAKER, HERE) == [f"snap-{HERE}"]
    assert found(OWN, THERE) == [f"snap-{THERE}"]
