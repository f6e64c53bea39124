"""CopyImage and CopySnapshot after the answer: a manifest for each copy's snapshot -> available.

No block is read or written: the copies name the blocks of what they are copied from.
"""

from bakehouse.database.models import Image
from bakehouse.database.session import Database
from bakehouse.domain import image_copies, images, snapshots
from bakehouse.errors import PartError
from bakehouse.storage.snapshots import Snapshots
from bakehouse.workflows.host import Host


def copy_image(host: Host, image_id: str) -> None:
    """Fill every snapshot of a pending copy, and make it available."""
    _copy(host, image_id)


def copy_snapshot(host: Host, snapshot_id: str) -> None:
    """Fill one pending copy of a snapshot."""
    _copy(host, snapshot_id)


def _copy(host: Host, subject_id: str) -> None:
    try:
        host.engine.step(fill, host.database, host.snapshots, subject_id)
        host.engine.step(complete, host.database, subject_id)
    except PartError as error:
        host.engine.step(give_up, host.database, host.snapshots, subject_id, str(error))


def fill(database: Database, store: Snapshots, subject_id: str) -> None:
    """Write the manifests; what is copied stays in the store while its copy is pending."""
    with database.transaction(mutates=False) as session:
        pending = image_copies.pending_copies(session, subject_id)
    for snapshot_id, source_id in pending.items():
        store.copy(source_id, snapshot_id)


def complete(database: Database, subject_id: str) -> None:
    """The manifests are there: the snapshots are completed, the image is available."""
    with database.transaction() as session:
        for snapshot_id in image_copies.pending_copies(session, subject_id):
            snapshots.complete(session, snapshot_id, stored_bytes=0)
        if session.get(Image, subject_id) is not None:
            images.complete(session, subject_id)


def give_up(database: Database, store: Snapshots, subject_id: str, reason: str) -> None:
    """The records say why."""
    with database.transaction() as session:
        pending = image_copies.pending_copies(session, subject_id)
        for snapshot_id in pending:
            snapshots.fail(session, snapshot_id, reason)
        if session.get(Image, subject_id) is not None:
            images.fail(session, subject_id, "Server.InternalError", reason)
    for snapshot_id in pending:
        store.delete(snapshot_id)
