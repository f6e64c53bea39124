"""What the commands print: results on stdout, everything else on stderr, and progress for long work.

Without a terminal a progress bar becomes one line for every tenth of the way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def fail(message: str) -> NoReturn:
    """Say what is wrong on stderr and end the command with exit code 1."""
    err.print(f"bakehouse: {message}", markup=False)
    raise typer.Exit(1)


class ProgressReport(Protocol):
    """Called by long work: what it is doing, how far it is, how far it has to go (0: unknown)."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take a report."""


@contextmanager
def progress_bar() -> Iterator[ProgressReport]:
    """Show reports as bars, one for each stage; on a terminal they move, elsewhere they are lines."""
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield _Bars(progress)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            for earlier in self._tasks.values():
                self._finish(earlier)
            self._tasks[stage] = self._progress.add_task(stage, total=total or None)
        self._progress.update(self._tasks[stage], completed=done, total=total or None)

    def _finish(self, task: TaskID) -> None:
        total = self._progress.tasks[task].total or 1
        self._progress.update(task, completed=total, total=total)
        self._progress.stop_task(task)


class _Lines:
    def __init__(self) -> None:
        self._printed: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > self._printed.get(stage, -1):
            self._printed[stage] = tenth
            err.print(f"  {stage}" + (f": {10 * tenth}%" if total else ""), markup=False)
