"""The one door to the durable workflow engine (DBOS).

A workflow is a plain function of JSON values, registered by name; what it does to the world it does in
``step`` calls, each of which must be idempotent: a step whose process died is run again.

Invariant: a workflow is enqueued in the transaction that writes the row it works on, so both exist or
neither. Workflows with the same ``key`` run one after the other, in order.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions, StepOptions
from sqlalchemy.orm import Session

from bakehouse.database.session import Database
from bakehouse.durable.failures import StepFailed, failing_in_one_way

Result = TypeVar("Result")
Workflow = Callable[..., None]

# The application version is pinned: a new release resumes what the old one began.
_VERSION = "1"
_POLL_INTERVAL_S = 0.3
# Many only wait, for a guest to shut down or a capture to be read, and must hold nobody's launch up. What takes more
# than a thread (reading disks) has a limit of its own where it happens.
_WORKFLOWS_AT_ONCE = 128
_THREADS_OF_THE_ENGINE = 16
_GRACE_S = 5.0
_UNFINISHED = ("ENQUEUED", "PENDING", "DELAYED")
_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_FORGET_AT_ONCE = 200
# Where the engine keeps its tables in a database that has schemas.
_SCHEMA = "dbos"


class Moment(StrEnum):
    """The two instants after a step's work at which a killed process leaves different things behind."""

    DONE = "done"  # not remembered yet: the step will run again
    REMEMBERED = "remembered"


class Interrupted(BaseException):
    """The service ends in the middle of a workflow: nothing more is done or remembered, the next start goes on.

    No Exception: a workflow that catches failures must not take this for one.
    """


# Told after each step, in tests that kill the process there: (workflow id, step name, moment).
StepObserver = Callable[[str, str, Moment], None]


class Engine:
    """Runs registered workflows, and finds those that a killed process left unfinished."""

    def __init__(self, database: Database, *, host_name: str, after_step: StepObserver | None = None) -> None:
        # DBOS keeps one instance per process; ours is it.
        logging.getLogger("dbos").setLevel(logging.WARNING)
        self._database = database
        self._queue = f"host-{host_name}"
        self._after_step = after_step
        self._is_closing = False
        self._running_steps = 0
        self._steps_changed = threading.Condition()
        self._url = database.url.render_as_string(hide_password=False)
        self._dbos = DBOS(
            config=DBOSConfig(
                name="bakehouse",
                system_database_url=self._url,
                system_database_engine=database.engine,
                application_version=_VERSION,
                executor_id=host_name,
                log_level="WARNING",
                run_migrations=False,
                # Started as they are needed.
                max_executor_threads=_WORKFLOWS_AT_ONCE + _THREADS_OF_THE_ENGINE,
            )
        )
        self._client: DBOSClient | None = None

    def register(self, name: str, function: Workflow) -> None:
        """Make ``function`` known under ``name``; all are registered before ``launch``."""
        DBOS.workflow(name=name)(_named(function, name))

    def launch(self) -> None:
        """Create the engine's tables, resume what was unfinished, and listen to this host's queue."""
        # On connections of its own: ours begin their transactions themselves.
        DBOS.migrate(self._url)
        DBOS.launch()
        DBOS.register_queue(
            self._queue,
            partition_worker_concurrency=1,
            worker_concurrency=_WORKFLOWS_AT_ONCE,
            polling_interval_sec=_POLL_INTERVAL_S,
            on_conflict="always_update",
        )
        self._client = DBOSClient(
            system_database_url=self._url,
            system_database_engine=self._database.engine,
        )

    def enqueue(self, session: Session, name: str, *arguments: Any, key: str, workflow_id: str) -> None:
        """Add a workflow to the caller's transaction. The same ``workflow_id`` runs once, ever."""
        assert self._client is not None, "enqueue before launch"
        options = EnqueueOptions(
            workflow_name=name,
            queue_name=self._queue,
            workflow_id=workflow_id,
            queue_partition_key=key,
            app_version=_VERSION,
        )
        self._client.enqueue_in_transaction(session, options, *arguments)

    def unfinished_ids(self, session: Session) -> set[str]:
        """The ids of all workflows that wait or run, as the caller's transaction sees them."""
        schema = None if self._database.is_sqlite else _SCHEMA
        status = sa.table("workflow_status", sa.column("workflow_uuid"), sa.column("status"), schema=schema)
        query = sa.select(status.c.workflow_uuid).where(status.c.status.in_(_UNFINISHED))
        return {str(workflow_id) for workflow_id in session.scalars(query)}

    def forget_ended(self, *, older_than_s: float) -> int:
        """Delete what is remembered of workflows that ended longer ago than that; how many those were."""
        assert self._client is not None, "forget before launch"
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        forgotten = 0
        while ended := self._client.list_workflows(
            status=list(_ENDED),
            completed_before=before.isoformat(),
            limit=_FORGET_AT_ONCE,
            load_input=False,
            load_output=False,
        ):
            self._client.delete_workflows([one.workflow_id for one in ended])
            forgotten += len(ended)
        return forgotten

    def step(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run one step of the workflow we are in; its result is remembered, its effects must be idempotent.

        StepFailed, whatever error it ends with; Interrupted when the engine is being closed.
        """
        name, workflow_id = function.__name__, str(DBOS.workflow_id)
        safely = failing_in_one_way(function)

        def work() -> Result:
            with self._counted():
                try:
                    done = safely(*arguments)
                except StepFailed:
                    if self._is_closing:  # what it stood on was taken away: no failure of its own
                        raise Interrupted from None
                    raise
                self._observe(workflow_id, name, Moment.DONE)
                return done

        result: Result = DBOS.run_step(StepOptions(name=name), work)
        self._observe(workflow_id, name, Moment.REMEMBERED)
        return result

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Be one of the running steps; Interrupted when no more may begin."""
        with self._steps_changed:
            if self._is_closing:
                raise Interrupted
            self._running_steps += 1
        try:
            yield
        finally:
            with self._steps_changed:
                self._running_steps -= 1
                self._steps_changed.notify_all()

    def _observe(self, workflow_id: str, name: str, moment: Moment) -> None:
        if self._after_step is not None:
            self._after_step(workflow_id, name, moment)

    def close(self) -> bool:
        """Begin no step any more and let running ones end; unfinished workflows resume at the next start.

        False when steps still run after a few seconds. Whatever they stand on is then better left as it is, and
        the process ended: a step can be cut off at any instant, but might do harm as its parts go away.
        """
        with self._steps_changed:
            self._is_closing = True
            is_idle = self._steps_changed.wait_for(lambda: not self._running_steps, _GRACE_S)
        if self._client is not None:
            self._client.destroy()
            self._client = None
        DBOS.destroy()
        return is_idle


def _named(function: Workflow, name: str) -> Workflow:
    def workflow(*arguments: Any) -> None:
        function(*arguments)

    workflow.__qualname__ = workflow.__name__ = name
    return workflow
