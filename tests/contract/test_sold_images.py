"""Product codes, on rows: nothing that is made of what is sold, or lies over the same bytes, goes without them."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Image, Instance, Snapshot
from bakehouse.database.session import Database, in_region
from bakehouse.domain import (
    accounts,
    block_devices,
    block_public_access,
    image_copies,
    image_sharing,
    images,
    instance_types,
    instances,
    product_codes,
    replace_root_volume_tasks,
    restoring,
    retention_rules,
    snapshot_sharing,
    snapshots,
    vpcs,
)
from bakehouse.domain.instances import LaunchRequest
from bakehouse.domain.retention_rules import IMAGE, NewRule
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, new_id

HERE, THERE = "us-east-1", "eu-west-1"
ROOT = "/dev/xvda"
SELLER, MAKER = "1" * 12, "2" * 12
EVERYBODY = [{"Group": "all"}]
CODE = [{"ProductCodeId": "sold1", "ProductCodeType": "marketplace"}]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path_factory.mktemp('sold') / 'rows.db'}")
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A transaction over two accounts that may make public what they like; nothing of it stays."""
    with database.transaction(region=HERE) as opened:
        for account_id in (SELLER, MAKER):
            accounts.create_account(opened, regions=(HERE, THERE), account_id=account_id)
            block_public_access.set_image_state(opened, account_id, block_public_access.UNBLOCKED)
            block_public_access.set_snapshot_state(opened, account_id, block_public_access.UNBLOCKED)
        yield opened
        opened.rollback()


def taken(session: Session, account_id: str = SELLER, *, shared_with: str | None = None) -> Snapshot:
    """A completed snapshot of a gigabyte."""
    snapshot = Snapshot(
        snapshot_id=new_id(Prefix.SNAPSHOT), account_id=account_id, volume_size_gib=1, state=snapshots.COMPLETED
    )
    session.add(snapshot)
    session.flush()
    if shared_with:
        snapshot_sharing.change_permissions(session, snapshot, add=[{"UserId": shared_with}], remove=[])
    return snapshot


def register(session: Session, name: str, *under: Snapshot, account_id: str = SELLER) -> Image:
    """An image over snapshots, its root over the first."""
    devices = [ROOT, "/dev/sdf", "/dev/sdg"]
    mappings = [
        {"DeviceName": device, "Ebs": {"SnapshotId": one.snapshot_id}}
        for device, one in zip(devices, under, strict=False)
    ]
    return images.register(
        session,
        account_id,
        name=f"image {name}",
        description="",
        boot_mode="uefi",
        root_device_name=ROOT,
        mappings=block_devices.registered_mappings(session, account_id, ROOT, mappings),
    )


def make_public(session: Session, image: Image) -> None:
    image_sharing.change_permissions(session, image, add=EVERYBODY, remove=[])


def launch(session: Session, image: Image, account_id: str, *more: dict[str, object]) -> Instance:
    """The rows of an instance that has further devices."""
    request = LaunchRequest(
        image=image,
        instance_type=instance_types.get_instance_type("t3.nano"),
        subnet=vpcs.default_subnet(session, account_id, None),
        groups=[],
        volumes=block_devices.plan_volumes(session, account_id, image, more),
        public_network=None,
    )
    return instances.launch(session, account_id, request, 1)[0]


def test_a_code_goes_to_all_that_the_owner_has_over_the_same_bytes(session: Session) -> None:
    first, second = taken(session), taken(session)
    sold, same, apart = (
        register(session, "m", first),
        register(session, "a", second, first),
        register(session, "b", second),
    )
    product_codes.add(session, sold, ["sold1"])
    assert sold.product_codes == first.product_codes == same.product_codes == CODE
    assert (second.product_codes, apart.product_codes) == ([], [])
    with pytest.raises(ApiError, match="OperationNotPermitted"):
        make_public(session, same)
    make_public(session, apart)


def test_no_code_is_given_while_an_image_over_the_same_bytes_is_public(session: Session) -> None:
    under = taken(session)
    public, sold = register(session, "a", under), register(session, "m", under)
    make_public(session, public)
    with pytest.raises(ApiError, match=f"OperationNotPermitted.*{public.image_id}"):
        product_codes.add(session, sold, ["sold1"])
    assert sold.product_codes == public.product_codes == under.product_codes == []


def test_a_public_image_that_was_in_the_bin_when_its_bytes_were_sold_comes_back_private_and_coded(
    session: Session,
) -> None:
    retention_rules.create(session, SELLER, NewRule(resource_type=IMAGE, retention_days=1))
    under = taken(session)
    thrown, sold = register(session, "a", under), register(session, "m", under)
    make_public(session, thrown)
    images.deregister(session, thrown)
    product_codes.add(session, sold, ["sold1"])
    restored = restoring.restore_image(session, SELLER, thrown.image_id)
    assert (restored.is_public, restored.product_codes) == (False, CODE)


def test_what_another_account_has_over_bytes_that_were_sold_since_cannot_become_public(session: Session) -> None:
    under = taken(session, shared_with=MAKER)
    theirs, sold = register(session, "b", under, account_id=MAKER), register(session, "m", under)
    product_codes.add(session, sold, ["sold1"])
    with pytest.raises(ApiError, match="OperationNotPermitted"):
        make_public(session, theirs)
    instance = launch(session, theirs, MAKER)
    assert instance.product_codes == instance.volumes[0].product_codes == CODE
    copied = image_copies.create_image_copy(session, MAKER, theirs, name="copy", description="")
    assert copied.product_codes == CODE


@pytest.mark.parametrize("region", [HERE, THERE])
def test_the_copy_of_an_image_that_alone_has_a_code_has_it_on_its_snapshots_too(session: Session, region: str) -> None:
    image = register(session, "b", taken(session, shared_with=MAKER), account_id=MAKER)
    product_codes.add(session, image, ["sold1"])
    with in_region(session, region):
        copied = image_copies.create_image_copy(session, MAKER, image, name="copy", description="")
        under = session.get_one(Snapshot, snapshots.snapshot_ids_of(copied)[0])
        assert copied.product_codes == under.product_codes == CODE
        with pytest.raises(ApiError, match="OperationNotPermitted"):
            snapshot_sharing.change_permissions(session, under, add=EVERYBODY, remove=[])


def test_what_is_taken_of_an_instance_has_the_code_that_its_image_alone_has(session: Session) -> None:
    image = register(session, "b", taken(session, shared_with=MAKER), account_id=MAKER)
    product_codes.add(session, image, ["sold1"])
    own = taken(session, MAKER)
    instance = launch(session, image, MAKER, {"DeviceName": "/dev/sdh", "Ebs": {"SnapshotId": own.snapshot_id}})
    root, added = sorted(instance.volumes, key=lambda volume: volume.slot or 0)
    assert instance.product_codes == root.product_codes == CODE
    assert added.product_codes == []
    assert snapshots.create(session, MAKER, root, "").product_codes == CODE
    instance.state, root.attachment_state = "running", "attached"
    for given in (image, None):
        task = replace_root_volume_tasks.begin(session, instance, snapshot_id=None, image=given, delete_replaced=True)
        new = next(one for one in session.scalars(sa.select(type(root))) if one.volume_id == task.new_volume_id)
        assert new.product_codes == CODE
        task.state = replace_root_volume_tasks.FAILED
        session.flush()


def test_an_image_brings_its_snapshots_along_at_its_own_devices_only(session: Session) -> None:
    under = taken(session)
    image = register(session, "a", under)
    image_sharing.change_permissions(session, image, add=[{"UserId": MAKER}], remove=[])
    own, more = {"DeviceName": ROOT}, {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": under.snapshot_id}}
    assert [one.is_of_image for one in block_devices.plan_volumes(session, MAKER, image, [own])] == [True]
    with pytest.raises(ApiError, match=r"InvalidSnapshot\.NotFound"):
        block_devices.plan_volumes(session, MAKER, image, [own, more])
    # Its owner may, by the right to the snapshot.
    planned = block_devices.plan_volumes(session, SELLER, image, [more])
    assert [(one.device_name, one.is_of_image) for one in planned] == [(ROOT, True), ("/dev/sdf", False)]


def test_a_snapshot_under_two_devices_goes_once_with_its_image(session: Session) -> None:
    under = taken(session)
    image = register(session, "twice", under, under)
    assert images.deregister(session, image, may_delete=lambda _: True) == [(under.snapshot_id, "success")]


def test_whether_an_image_needs_a_snapshot_is_known_without_reading_the_others(session: Session) -> None:
    under, free = taken(session, shared_with=MAKER), taken(session)
    own = register(session, "own", under)
    theirs = register(session, "theirs", under, account_id=MAKER)
    session.flush()
    session.expunge_all()
    with pytest.raises(ApiError, match=f"InvalidSnapshot.InUse.*{own.image_id}"):
        snapshots.delete(session, SELLER, under.snapshot_id)
    snapshots.delete(session, SELLER, free.snapshot_id)
    assert not [row for row in session.identity_map.values() if isinstance(row, Image)]
    images.deregister(session, session.get_one(Image, own.image_id))
    with pytest.raises(ApiError, match="an image of another account"):
        snapshots.delete(session, SELLER, under.snapshot_id)
    images.deregister(session, session.get_one(Image, theirs.image_id))
    snapshots.delete(session, SELLER, under.snapshot_id)
