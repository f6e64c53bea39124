"""What a service still has under way, read from its rows."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, Instance, ReplaceRootVolumeTask, Snapshot, Volume, VolumeModification
from bakehouse.database.session import Database
from bakehouse.settings import Settings
from tests.framework.patience import wait_for

_UNSETTLED = (
    *("pending", "stopping", "shutting-down", "creating", "deleting", "attaching", "detaching"),
    *("modifying", "optimizing", "in-progress", "failing"),
)
_STATES = (
    (Instance.instance_id, Instance.state),
    (Image.image_id, Image.state),
    (Snapshot.snapshot_id, Snapshot.state),
    (Volume.volume_id, Volume.state),
    (Volume.volume_id, Volume.attachment_state),
    (VolumeModification.volume_id, VolumeModification.state),
    (ReplaceRootVolumeTask.task_id, ReplaceRootVolumeTask.state),
)


@contextmanager
def open_rows(settings: Settings) -> Iterator[Session]:
    """A look at the rows of a service that may be running."""
    database = Database(settings.database_url or f"sqlite:///{settings.state.database}")
    try:
        with database.transaction(mutates=False) as session:
            yield session
    finally:
        database.close()


def workflows(session: Session) -> list[tuple[str, str]]:
    """Every workflow's id and status."""
    schema = "dbos." if session.get_bind().dialect.name == "postgresql" else ""
    query = sa.text(f"SELECT workflow_uuid, status FROM {schema}workflow_status")
    return [(str(workflow_id), str(status)) for workflow_id, status in session.execute(query)]


def unsettled(settings: Settings) -> list[str]:
    """Workflows that have not ended, and records in a state that cannot last."""
    with open_rows(settings) as session:
        found = [f"{name} {status}" for name, status in workflows(session) if status in ("PENDING", "ENQUEUED")]
        for id_column, state in _STATES:
            rows = session.execute(sa.select(id_column, state).where(state.in_(_UNSETTLED)))
            found += [f"{resource_id} {text}" for resource_id, text in rows]
    return found


def wait_until_settled(settings: Settings) -> None:
    """Wait until nothing is under way; fail naming what remains."""
    left: list[str] = []

    def is_settled() -> bool:
        left[:] = unsettled(settings)
        return not left

    try:
        wait_for(is_settled, "a settled state")
    except AssertionError as error:
        raise AssertionError(f"still under way: {left}") from error
