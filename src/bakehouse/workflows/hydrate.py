"""Have a snapshot written out on this host; the bases nobody lies over make room when there is none."""

from sqlalchemy import select

from bakehouse.database.models import Volume
from bakehouse.storage.errors import StorageFull
from bakehouse.workflows.host import Host


def hydrate(host: Host, snapshot_id: str) -> None:
    """Hydrate; a full disk is tried again when bases could be evicted. The errors are ``Bases.hydrate``'s."""
    try:
        host.bases.hydrate(snapshot_id)
    except StorageFull:
        with host.database.transaction(mutates=False) as session:
            lain_over = select(Volume.snapshot_id).where(Volume.deleted_at.is_(None), Volume.snapshot_id.is_not(None))
            in_use = {one for one in session.scalars(lain_over) if one is not None}
        if not host.bases.evict(in_use):
            raise
        host.bases.hydrate(snapshot_id)
