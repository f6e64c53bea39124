"""The recycle bin's rules and times, on rows."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.migrate import migrate
from bakehouse.database.models import (
    Account,
    BinEntry,
    CreateVolumePermission,
    Image,
    LaunchPermission,
    RetentionRule,
    Snapshot,
    now,
)
from bakehouse.database.session import Database
from bakehouse.domain import (
    block_public_access,
    images,
    recycle_bin,
    restoring,
    retention,
    retention_rules,
    snapshots,
    tags,
)
from bakehouse.domain.retention_rules import IMAGE, SNAPSHOT, LockState, NewRule
from bakehouse.errors import ApiError

HERE, THERE = "us-east-1", "eu-west-1"
ACCOUNT, OTHER = "1" * 12, "2" * 12
IMAGE_ID, SNAPSHOT_ID = "ami-00000000000000001", "snap-00000000000000001"
TAG = {"Key": "k", "Value": "v"}
AS_RULE = {"ResourceTagKey": "k", "ResourceTagValue": "v"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'rows.db'}")
    migrate(opened)
    with opened.transaction() as session:
        session.add_all([Account(account_id=ACCOUNT), Account(account_id=OTHER)])
    with opened.transaction(region=HERE) as session:
        session.add(
            Snapshot(
                snapshot_id=SNAPSHOT_ID,
                account_id=ACCOUNT,
                volume_size_gib=3,
                description="d",
                state="completed",
                stored_bytes=2**40,
                completed_at=now(),
                create_volume_permissions=[CreateVolumePermission(user_id=OTHER)],
            )
        )
        session.add(
            Image(
                image_id=IMAGE_ID,
                account_id=ACCOUNT,
                name="web",
                state="available",
                is_public=True,
                root_device_name="/dev/xvda",
                block_device_mappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": SNAPSHOT_ID}}],
                launch_permissions=[LaunchPermission(grantee=OTHER)],
            )
        )
        tags.put_tags(session, ACCOUNT, IMAGE_ID, "image", [TAG])
        tags.put_tags(session, ACCOUNT, SNAPSHOT_ID, "snapshot", [TAG])
    yield opened
    opened.close()


def add_rules(session: Session, **more: Any) -> list[RetentionRule]:
    rules = [NewRule(**{"resource_type": kind, "retention_days": 7, **more}) for kind in (IMAGE, SNAPSHOT)]
    return [retention_rules.create(session, ACCOUNT, rule) for rule in rules]


def throw_away(session: Session) -> None:
    images.deregister(session, images.get_own(session, ACCOUNT, IMAGE_ID))
    session.flush()
    snapshots.delete(session, ACCOUNT, SNAPSHOT_ID)


def let_be_public(session: Session) -> None:
    block_public_access.set_image_state(session, ACCOUNT, block_public_access.UNBLOCKED)
    block_public_access.set_snapshot_state(session, ACCOUNT, block_public_access.UNBLOCKED)


def facts_of(session: Session) -> dict[str, Any]:
    """All there is to know of both."""
    rows = [session.get_one(Image, IMAGE_ID), session.get_one(Snapshot, SNAPSHOT_ID)]
    return {
        "rows": [recycle_bin.columns_of(row) for row in rows],
        "launched by": [one.grantee for one in session.get_one(Image, IMAGE_ID).launch_permissions],
        "read by": [one.user_id for one in session.get_one(Snapshot, SNAPSHOT_ID).create_volume_permissions],
        "tags": tags.tags_of(session, ACCOUNT, [IMAGE_ID, SNAPSHOT_ID]),
    }


def test_what_comes_out_of_the_bin_is_what_went_in(database: Database) -> None:
    with database.transaction(region=HERE) as session:
        add_rules(session)
        let_be_public(session)
        before = facts_of(session)
        throw_away(session)
    with database.transaction(region=HERE) as session:
        assert session.get(Snapshot, SNAPSHOT_ID) is None
        assert snapshots.referenced_ids(session) == snapshots.completed_ids(session) == {SNAPSHOT_ID}
        with pytest.raises(ApiError, match=r"InvalidAMIID\.Unavailable"):
            images.get_visible(session, ACCOUNT, IMAGE_ID)
        with pytest.raises(ApiError, match=r"InvalidAMIID\.NotFound"):
            images.get_visible(session, OTHER, IMAGE_ID)
        with pytest.raises(ApiError, match=r"InvalidSnapshot\.NotFound"):
            snapshots.get(session, ACCOUNT, SNAPSHOT_ID)
        with pytest.raises(ApiError, match=r"InvalidSnapshot\.NotFound"):  # the snapshot comes first
            restoring.restore_image(session, ACCOUNT, IMAGE_ID)
    with database.transaction(region=HERE) as session:
        restoring.restore_snapshot(session, ACCOUNT, SNAPSHOT_ID)
        restoring.restore_image(session, ACCOUNT, IMAGE_ID)
    with database.transaction(region=HERE) as session:
        assert facts_of(session) == before
        assert session.scalars(sa.select(BinEntry)).all() == []
        with pytest.raises(ApiError, match=r"InvalidAMIID\.NotFound"):
            restoring.restore_image(session, ACCOUNT, IMAGE_ID)


def test_what_was_public_comes_back_private_while_its_owner_may_make_nothing_public(database: Database) -> None:
    with database.transaction(region=HERE) as session:
        add_rules(session)
        session.get_one(Snapshot, SNAPSHOT_ID).is_public = True
        throw_away(session)
    with database.transaction(region=HERE) as session:
        snapshot = restoring.restore_snapshot(session, ACCOUNT, SNAPSHOT_ID)
        image = restoring.restore_image(session, ACCOUNT, IMAGE_ID)
        assert (snapshot.is_public, image.is_public) == (False, False)
        # With whom else they are shared is as it was.
        assert [one.user_id for one in snapshot.create_volume_permissions] == [OTHER]
        assert [one.grantee for one in image.launch_permissions] == [OTHER]
    with database.transaction(region=HERE) as session:
        let_be_public(session)
        session.get_one(Snapshot, SNAPSHOT_ID).is_public = True
        session.get_one(Image, IMAGE_ID).is_public = True
        throw_away(session)
        assert restoring.restore_snapshot(session, ACCOUNT, SNAPSHOT_ID).is_public
        assert restoring.restore_image(session, ACCOUNT, IMAGE_ID).is_public


def test_what_has_had_its_time_goes_and_its_manifest_may_be_collected(database: Database) -> None:
    with database.transaction(region=HERE) as session:
        add_rules(session)
        throw_away(session)
    with database.transaction() as session:
        retention.forget_expired(session)
        assert snapshots.referenced_ids(session) == {SNAPSHOT_ID}
        session.execute(sa.update(BinEntry).values(exits_at=now() - timedelta(seconds=1)))
    with database.transaction(region=HERE) as session:
        # It is gone at its moment, not when somebody tidies.
        assert recycle_bin.visible(session, ACCOUNT, IMAGE) == []
        with pytest.raises(ApiError, match=r"InvalidSnapshot\.NotFound"):
            restoring.restore_snapshot(session, ACCOUNT, SNAPSHOT_ID)
    with database.transaction() as session:
        retention.forget_expired(session)
        assert session.scalars(sa.select(BinEntry)).all() == []
        assert snapshots.referenced_ids(session) == set()


@pytest.mark.parametrize(
    ("rule", "keeps"),
    [
        ({}, True),
        ({"resource_tags": [AS_RULE]}, True),
        ({"resource_tags": [{"ResourceTagKey": "k"}]}, True),
        ({"resource_tags": [{"ResourceTagKey": "k", "ResourceTagValue": "w"}]}, False),
        ({"resource_tags": [{"ResourceTagKey": "l"}, AS_RULE]}, True),
        ({"exclude_resource_tags": [AS_RULE]}, False),
        ({"exclude_resource_tags": [{"ResourceTagKey": "l"}]}, True),
    ],
)
def test_rules_keep_by_tags(database: Database, rule: dict[str, Any], keeps: bool) -> None:
    with database.transaction(region=HERE) as session:
        add_rules(session, **rule)
        throw_away(session)
    with database.transaction(region=HERE) as session:
        kept = {one.resource_id for one in session.scalars(sa.select(BinEntry))}
        assert kept == ({IMAGE_ID, SNAPSHOT_ID} if keeps else set())


def test_the_longest_of_the_rules_that_match_holds_and_others_do_not_count(database: Database) -> None:
    with database.transaction(region=THERE) as session:
        add_rules(session, retention_days=300)
    with database.transaction(region=HERE) as session:
        retention_rules.create(session, OTHER, NewRule(resource_type=IMAGE, retention_days=200))
        assert retention_rules.find_days(session, ACCOUNT, IMAGE, [TAG]) is None
        for days in (5, 9, 7):
            add_rules(session, retention_days=days)
        add_rules(session, retention_days=99, resource_tags=[{"ResourceTagKey": "other"}])
        assert retention_rules.find_days(session, ACCOUNT, IMAGE, [TAG]) == 9


def test_an_image_does_not_come_back_over_another_of_its_name(database: Database) -> None:
    with database.transaction(region=HERE) as session:
        add_rules(session)
        images.deregister(session, images.get_own(session, ACCOUNT, IMAGE_ID))
        session.flush()
        images.register(
            session, ACCOUNT, name="web", description="", boot_mode="uefi", root_device_name="/dev/xvda", mappings=[]
        )
        with pytest.raises(ApiError, match=r"InvalidAMIName\.Duplicate"):
            restoring.restore_image(session, ACCOUNT, IMAGE_ID)


def test_a_locked_rule_stays_as_it_is_until_its_delay_is_over(database: Database) -> None:
    with database.transaction(region=HERE) as session:
        rule, _ = add_rules(session, unlock_delay_days=7)
        changes = {"retention_days": 1, "description": None, "resource_tags": None, "exclude_resource_tags": None}
        for state in (LockState.LOCKED, LockState.PENDING_UNLOCK):
            assert retention_rules.lock_state(rule) == state
            with pytest.raises(ApiError, match="ConflictException"):
                retention_rules.update(rule, **changes)  # type: ignore[arg-type]
            with pytest.raises(ApiError, match="ConflictException"):
                retention_rules.delete(session, rule)
            if state == LockState.LOCKED:
                retention_rules.unlock(rule)
        retention_rules.lock(rule, 8)
        assert retention_rules.lock_state(rule) == LockState.LOCKED
        retention_rules.unlock(rule)
        rule.unlocks_at = now() - timedelta(seconds=1)
        assert retention_rules.lock_state(rule) == LockState.UNLOCKED
        retention_rules.update(rule, **changes)  # type: ignore[arg-type]
        retention_rules.delete(session, rule)
