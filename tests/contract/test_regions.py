"""A transaction of a region sees and writes that region's rows, whatever statement it is asked with."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Account, Image, KeyPair, LaunchPermission, Row, Snapshot
from bakehouse.database.session import Database, everywhere, in_region
from bakehouse.domain import accounts, images, key_pairs, vpcs

HERE, THERE = "us-east-1", "eu-west-1"
ACCOUNT = "1" * 12


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'rows.db'}")
    migrate(opened)
    with opened.transaction() as session:
        session.add(Account(account_id=ACCOUNT))
    for region in (HERE, THERE):
        with opened.transaction(region=region) as session:
            session.add(_image(region))
    yield opened
    opened.close()


def _image(region: str) -> Image:
    return Image(
        image_id=f"ami-{region}",
        account_id=ACCOUNT,
        name="web",
        state="available",
        root_device_name="/dev/xvda",
        block_device_mappings=[],
        launch_permissions=[LaunchPermission(grantee="2" * 12)],
    )


@pytest.mark.parametrize("region", [HERE, THERE])
def test_every_kind_of_statement_sees_one_region(database: Database, region: str) -> None:
    own = f"ami-{region}"
    other = f"ami-{THERE if region == HERE else HERE}"
    with database.transaction(region=region) as session:
        assert session.scalars(sa.select(Image.image_id)).all() == [own]
        assert [one.image_id for one in session.scalars(sa.select(Image))] == [own]
        assert session.get(Image, other) is None
        assert session.scalar(sa.select(sa.func.count()).select_from(Image)) == 1
        assert [one.image_id for one in images.list_rows(session, ACCOUNT)] == [own]
        joined = sa.select(Image.image_id).join(LaunchPermission)
        assert session.scalars(joined).all() == [own]
        inner = sa.select(LaunchPermission.grantee).where(LaunchPermission.image_id.in_(sa.select(Image.image_id)))
        assert len(session.scalars(inner).all()) == 1
        session.execute(sa.update(Image).values(description="changed"))
    with database.transaction() as session:
        assert session.get_one(Image, own).description == "changed"
        assert session.get_one(Image, other).description == ""


def test_a_transaction_of_no_region_sees_all_and_so_does_a_statement_that_says_so(database: Database) -> None:
    with database.transaction() as session:
        assert len(session.scalars(sa.select(Image)).all()) == 2
    with database.transaction(region=HERE) as session:
        assert len(session.scalars(everywhere(sa.select(Image))).all()) == 2


def test_a_transaction_can_belong_to_another_region_for_a_while(database: Database) -> None:
    with database.transaction(region=HERE) as session:
        with in_region(session, THERE):
            assert session.scalars(sa.select(Image.image_id)).all() == [f"ami-{THERE}"]
            key_pairs.create(session, ACCOUNT, "mine", "ed25519")
        key_pairs.create(session, ACCOUNT, "mine", "ed25519")
        assert session.scalars(sa.select(Image.image_id)).all() == [f"ami-{HERE}"]
    with database.transaction() as session:
        assert sorted(session.scalars(sa.select(KeyPair.region))) == [THERE, HERE]


def test_a_row_added_outside_of_any_region_must_name_its_own(database: Database) -> None:
    with pytest.raises(AssertionError, match="names its own"), database.transaction() as session:
        session.add(Snapshot(snapshot_id="snap-1", account_id=ACCOUNT, volume_size_gib=1, state="pending"))


def test_an_account_has_a_default_vpc_in_every_region_also_in_those_added_later(database: Database) -> None:
    with database.transaction() as session:
        account_id = accounts.create_account(session, regions=(HERE,)).account_id
    with database.transaction() as session:
        accounts.ensure_regions(session, (HERE, THERE))
    found = {}
    for region in (HERE, THERE):
        with database.transaction(region=region) as session:
            found[region] = vpcs.default_vpc(session, account_id).vpc_id
            assert vpcs.default_subnet(session, account_id).availability_zone == f"{region}a"
    assert found[HERE] != found[THERE]


def test_only_tables_that_are_shared_by_all_regions_are_without_one() -> None:
    without = {name for name, table in Row.metadata.tables.items() if "region" not in table.columns}
    assert without == {
        "access_keys",
        "accounts",
        "client_tokens",
        "create_volume_permissions",
        "iam_inline_policies",
        "iam_instance_profiles",
        "iam_policies",
        "iam_policy_attachments",
        "iam_policy_versions",
        "iam_roles",
        "iam_tags",
        "iam_users",
        "image_snapshots",
        "interface_groups",
        "key_sessions",
        "launch_permissions",
        "parameter_versions",
        "organization_memberships",
        "security_group_rules",
        "service_secrets",
    }
