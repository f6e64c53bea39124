"""Where an account is decides what is shared with it; who it is stays out of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Account, Image
from bakehouse.database.session import Database
from bakehouse.domain import image_sharing, images, organizations

ROOT = "arn:aws:organizations::111122223333"
ORGANIZATION = f"{ROOT}:organization/o-0123456789"
ELSEWHERE = f"{ROOT}:organization/o-9876543210"
UNIT = f"{ROOT}:ou/o-0123456789/ou-abcd-01234567"
ANOTHER_UNIT = f"{ROOT}:ou/o-0123456789/ou-abcd-76543210"
OWNER, MEMBER = "1" * 12, "2" * 12


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'rows.db'}")
    migrate(opened)
    with opened.transaction(region="us-east-1") as session:
        session.add_all([Account(account_id=OWNER), Account(account_id=MEMBER)])
        session.flush()
        image = Image(
            image_id="ami-1",
            account_id=OWNER,
            name="web",
            state="available",
            root_device_name="/dev/xvda",
            block_device_mappings=[],
        )
        session.add(image)
    yield opened
    opened.close()


def share(database: Database, **permission: str) -> None:
    with database.transaction(region="us-east-1") as session:
        image = session.get_one(Image, "ami-1")
        image_sharing.withdraw(image)
        session.flush()
        image_sharing.change_permissions(session, image, add=[permission], remove=[])


def seen(database: Database) -> bool:
    with database.transaction(region="us-east-1", mutates=False) as session:
        as_rows = bool(images.list_rows(session, MEMBER, executable_users=["self"]))
        assert bool(images.visible(session, MEMBER)) == as_rows
        return as_rows


def place(database: Database, organization: str | None = None, *units: str) -> list[str]:
    with database.transaction() as session:
        organizations.place(session, MEMBER, organization, units)
        return organizations.places_of(session, MEMBER)


def test_what_is_shared_with_an_organization_is_its_members(database: Database) -> None:
    share(database, OrganizationArn=ORGANIZATION)
    assert not seen(database)
    assert place(database, ELSEWHERE) == [ELSEWHERE]
    assert not seen(database)
    place(database, ORGANIZATION, UNIT)
    assert seen(database)
    assert place(database) == []
    assert not seen(database)


def test_what_is_shared_with_a_unit_is_that_of_the_accounts_in_it(database: Database) -> None:
    share(database, OrganizationalUnitArn=UNIT)
    place(database, ORGANIZATION)
    assert not seen(database)
    place(database, ORGANIZATION, ANOTHER_UNIT)
    assert not seen(database)
    place(database, ORGANIZATION, UNIT, ANOTHER_UNIT)
    assert seen(database)


@pytest.mark.parametrize(
    ("organization", "units", "reason"),
    [
        ("nonsense", (), "is not the ARN of an organization"),
        (UNIT, (), "is not the ARN of an organization"),
        (None, (UNIT,), "name that too"),
        (ELSEWHERE, (UNIT,), "is not a unit of"),
        (ORGANIZATION, (UNIT, "ou-abcd-01234567"), "is not the ARN of an organizational unit"),
    ],
)
def test_where_an_account_cannot_be(
    database: Database, organization: str | None, units: tuple[str, ...], reason: str
) -> None:
    place(database, ORGANIZATION)
    with pytest.raises(ValueError, match=reason):
        place(database, organization, *units)
    with database.transaction() as session:
        assert organizations.places_of(session, MEMBER) == [ORGANIZATION]
