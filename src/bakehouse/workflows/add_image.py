"""Images from outside: a disk file -> blocks -> a public AMI of ``amazon`` in every region. Used by the command line.

A base image built from the same inputs is found, not built again. A region that was added later gets its images at
the next start, or when the next one is added.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from bakehouse.database.models import Image, Snapshot, now
from bakehouse.database.session import Database, everywhere
from bakehouse.domain import accounts, block_devices, image_copies, images, snapshots
from bakehouse.guest.base_image.build import BaseImage, build_base_image, inputs_digest, require_known
from bakehouse.host.files import make_passable_directory
from bakehouse.ids import Prefix, new_id
from bakehouse.settings import Settings
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.workflows import copies
from bakehouse.workflows.foreign_disk import ImportRefused, boot_mode_of, convert, fetch
from bakehouse.workflows.host import Host

GIB = 1 << 30
# stage, done, total
Report = Callable[[str, int, int], None]


def ensure_base_image(settings: Settings, database: Database, store: Snapshots, report: Report, *, release: str) -> str:
    """Return the id of the base image of Debian ``release``, built now if none was built from these inputs."""
    require_known(release)
    digest = inputs_digest(release)
    marker = f"inputs {digest[:16]}"
    _copy_missing(settings, database, store)
    with database.transaction(region=settings.region) as session:
        owner = accounts.ensure_amazon_account(session, regions=settings.regions).account_id
        query = select(Image.image_id).where(
            Image.account_id == owner,
            Image.deregistered_at.is_(None),
            Image.state == images.AVAILABLE,
            Image.description.contains(marker),
        )
        if found := session.scalars(query).first():
            return found
    with _scratch(settings) as scratch:
        disk = scratch / "base.raw"
        built = build_base_image(
            disk, release=release, scratch=scratch, progress=lambda stage, part: report(stage, round(part * 100), 100)
        )
        return _add(
            settings, database, store, disk, image=built, description=f"{built.description} ({marker})", report=report
        )


def import_disk(
    settings: Settings,
    database: Database,
    store: Snapshots,
    source: Path | str,
    *,
    name: str,
    uid: int | None,
    report: Report,
) -> str:
    """Make an AMI from a raw, qcow2, vmdk, vdi, vhd or vhdx disk, a file or an http(s) URL; ImportRefused."""
    if not images.is_name(name):
        raise ImportRefused(
            f"{name!r} is no AMI name: 3 to 128 of letters, digits and ( ) [ ] space . / - ' @ _; --name N"
        )
    with _scratch(settings) as scratch:
        given, disk = scratch / "given", scratch / "disk.raw"
        fetch(source, given, report)
        report("converting", 0, 0)
        convert(scratch, given, disk, uid)
        described = BaseImage(
            name=name,
            description=f"imported from {source}",
            architecture="x86_64",
            boot_mode=boot_mode_of(disk),
            root_device_name="/dev/xvda",
            size_bytes=disk.stat().st_size,
            default_user="",
            inputs_digest="",
        )
        return _add(settings, database, store, disk, image=described, description=described.description, report=report)


def spread(host: Host) -> None:
    """Give the images of ``amazon`` to regions that do not have them; the answer does not wait for that."""
    with host.database.transaction() as session:
        for image in image_copies.publish_everywhere(session, host.settings.regions):
            workflow_id = f"copy_image-{image.image_id}"
            host.enqueue(session, "copy_image", image.image_id, key=image.image_id, workflow_id=workflow_id)


def _copy_missing(settings: Settings, database: Database, store: Snapshots) -> None:
    """The same, at once and without a service; one that runs may take up the same copies, which harms nothing."""
    with database.transaction() as session:
        missing = [one.image_id for one in image_copies.publish_everywhere(session, settings.regions)]
    for image_id in missing:
        copies.fill(database, store, image_id)
        copies.complete(database, image_id)


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    make_passable_directory(settings.state.image_builds)  # an importer's uid passes to its own files
    directory = Path(tempfile.mkdtemp(dir=settings.state.image_builds))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _add(
    settings: Settings,
    database: Database,
    store: Snapshots,
    disk: Path,
    *,
    image: BaseImage,
    description: str,
    report: Report,
) -> str:
    snapshot_id = new_id(Prefix.SNAPSHOT)
    with database.transaction() as session:
        owner = accounts.ensure_amazon_account(session, regions=settings.regions).account_id
        # The row first: the collector keeps the blocks of a snapshot it knows.
        session.add(
            Snapshot(
                snapshot_id=snapshot_id,
                account_id=owner,
                region=settings.region,
                volume_size_gib=-(-image.size_bytes // GIB),
                description=description,
                state="pending",
            )
        )
    with RawFile(disk) as source:
        taken = store.take(snapshot_id, source, progress=lambda done, total: report("storing blocks", done, total))
    names = select(Image.name).where(Image.account_id == owner)
    with database.transaction(region=settings.region) as session:
        snapshots.complete(session, snapshot_id, taken.stored_bytes)
        root = {"DeviceName": image.root_device_name, "Ebs": {"SnapshotId": snapshot_id}}
        created = images.register(
            session,
            owner,
            name=_free_name(image.name, set(session.scalars(everywhere(names)))),
            description=description,
            boot_mode=image.boot_mode,
            root_device_name=image.root_device_name,
            mappings=block_devices.registered_mappings(session, owner, image.root_device_name, [root]),
            is_public=True,
        )
    _copy_missing(settings, database, store)
    return created.image_id


def _free_name(name: str, taken: set[str]) -> str:
    return name if name not in taken else f"{name}-{now():%Y%m%d%H%M%S}"
