"""Images from outside: a disk file -> blocks -> a public AMI of ``amazon``. Used by the command line.

A base image built from the same inputs is found, not built again.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from bakehouse.database.models import Image, Snapshot, now
from bakehouse.database.session import Database
from bakehouse.domain import accounts, block_devices, images, snapshots
from bakehouse.guest.base_image.build import BaseImage, build_base_image, inputs_digest
from bakehouse.host.files import make_passable_directory
from bakehouse.ids import Prefix, new_id
from bakehouse.settings import Settings
from bakehouse.storage.raw_file import RawFile
from bakehouse.storage.snapshots import Snapshots
from bakehouse.workflows.foreign_disk import ImportRefused, boot_mode_of, convert, fetch

GIB = 1 << 30
# stage, done, total
Report = Callable[[str, int, int], None]


def ensure_base_image(settings: Settings, database: Database, store: Snapshots, report: Report) -> str:
    """Return the id of the base image, built now if none was built from these inputs."""
    digest = inputs_digest()
    marker = f"inputs {digest[:16]}"
    with database.transaction(mutates=False) as session:
        query = select(Image.image_id).where(
            Image.deregistered_at.is_(None), Image.state == "available", Image.description.contains(marker)
        )
        if found := session.scalars(query).first():
            return found
    with _scratch(settings) as scratch:
        disk = scratch / "base.raw"
        built = build_base_image(
            disk, scratch=scratch, progress=lambda stage, part: report(stage, round(part * 100), 100)
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
    with database.transaction(region=settings.region) as session:
        snapshots.complete(session, snapshot_id, taken.stored_bytes)
        root = {"DeviceName": image.root_device_name, "Ebs": {"SnapshotId": snapshot_id}}
        created = images.register(
            session,
            owner,
            name=_free_name(image.name, {one.name for one in session.scalars(select(Image))}),
            description=description,
            boot_mode=image.boot_mode,
            root_device_name=image.root_device_name,
            mappings=block_devices.registered_mappings(session, owner, image.root_device_name, [root]),
            is_public=True,
        )
        return created.image_id


def _free_name(name: str, taken: set[str]) -> str:
    return name if name not in taken else f"{name}-{now():%Y%m%d%H%M%S}"
