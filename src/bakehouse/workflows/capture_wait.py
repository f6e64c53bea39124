"""Whoever takes disks from their machine, or deletes them, lets the captures of them end first.

On EC2 a snapshot shows the instant it was asked for, whatever becomes of its volume afterwards. Here that instant
comes a moment later, and the disks are read for a while longer.

Invariant: a capture begins under the lock of whoever has the disks, an instance or a volume attached to none; its rows
are pending from before that until everything is read. Who holds the lock and finds neither a pending row nor a served
view cuts no capture off.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from bakehouse.database.models import Snapshot, Volume
from bakehouse.domain import snapshots
from bakehouse.errors import PartError
from bakehouse.workflows.host import Host

# As long as anything waits for captures.
CAPTURE_WAIT_S = 900.0
LOOK_AGAIN_S = 0.5


@contextmanager
def between_captures(host: Host, owner_id: str) -> Iterator[bool]:
    """Hold the lock of an instance or of a detached volume at an instant when nothing of it is being captured.

    False when that did not come within a quarter of an hour: the lock is held, but there is a capture.
    """
    deadline = time.monotonic() + CAPTURE_WAIT_S
    while True:
        with host.locks[owner_id]:
            is_free = not _is_captured(host, owner_id)
            if is_free or time.monotonic() > deadline:
                yield is_free
                return
        time.sleep(LOOK_AGAIN_S)


def is_capture_pending(session: Session, owner_id: str) -> bool:
    """Whether a snapshot of a volume, or of any volume of an instance, has been asked for and is not read yet."""
    owned = select(Volume.volume_id).where(or_(Volume.instance_id == owner_id, Volume.volume_id == owner_id))
    pending = select(Snapshot.snapshot_id).where(Snapshot.state == snapshots.PENDING, Snapshot.volume_id.in_(owned))
    return session.scalars(pending).first() is not None


def _is_captured(host: Host, owner_id: str) -> bool:
    with host.database.transaction(mutates=False) as session:
        if is_capture_pending(session, owner_id):
            return True
    with suppress(PartError):  # a hung machine serves none
        machine = host.machines.find(owner_id)
        return machine is not None and bool(machine.captures())
    return False
