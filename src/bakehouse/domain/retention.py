"""How long rows outlive what they are about.

EC2 shows a terminated instance for about an hour.
"""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, ReplaceRootVolumeTask, Snapshot, Volume, now
from bakehouse.domain import client_tokens, recycle_bin, snapshots, tags
from bakehouse.domain.iam import sessions
from bakehouse.domain.instances import TERMINATED_VISIBLE_S

_TERMINATED_KEPT = timedelta(seconds=TERMINATED_VISIBLE_S)
# No import takes longer; one that was killed leaves its snapshot pending.
_IMPORTS_TAKE = timedelta(hours=24)


def forget_expired(session: Session) -> None:
    """Delete terminated instances, deleted volumes, client tokens and the bin's entries whose time is over.

    Killed imports are ended.
    """
    moment = now()
    recycle_bin.empty_expired(session)
    gone = sa.select(Instance).where(Instance.terminated_at < moment - _TERMINATED_KEPT)
    for instance in session.scalars(gone).all():
        client_tokens.note_end(session, instance)
        instance_id = instance.instance_id
        tags.delete_tags_of(session, instance_id)
        session.execute(sa.delete(Instance).where(Instance.instance_id == instance_id))
        exchanges = sa.select(ReplaceRootVolumeTask).where(ReplaceRootVolumeTask.instance_id == instance_id)
        for task in session.scalars(exchanges).all():
            tags.delete_tags_of(session, task.task_id)
            session.delete(task)
    # A capture that is under way still asks what its volume was.
    captured = sa.select(Snapshot.volume_id).where(Snapshot.state == snapshots.PENDING, Snapshot.volume_id.is_not(None))
    session.execute(
        sa.delete(Volume).where(Volume.deleted_at < moment - _TERMINATED_KEPT, Volume.volume_id.not_in(captured))
    )
    sessions.forget_expired(session)
    client_tokens.forget_expired(session)
    session.execute(
        sa.update(Snapshot)
        .where(
            Snapshot.state == snapshots.PENDING,
            Snapshot.volume_id.is_(None),
            Snapshot.source_snapshot_id.is_(None),
            Snapshot.started_at < moment - _IMPORTS_TAKE,
        )
        .values(state=snapshots.ERROR, state_message="its import did not come to an end")
    )
