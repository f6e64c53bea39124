"""What the commands print: results on stdout, everything else on stderr, and progress for long work.

Without a terminal a progress bar becomes one line for every tenth of the way.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

# Without a terminal nothing may be cut to some width: programs read it.
_NO_TERMINAL_COLUMNS = 1000

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _NO_TERMINAL_COLUMNS)
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
    """Show reports: a moving bar on a terminal, lines elsewhere."""
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
        yield _Bar(progress)


class _Bar:
    """One bar; its text follows the stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=stage, completed=done, total=total or None)


class _Lines:
    def __init__(self) -> None:
        self._last = ("", -1)

    def __call__(self, stage: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if (stage, tenth) != self._last:
            self._last = (stage, tenth)
            err.print(f"    {stage}" + (f": {10 * tenth}%" if total else ""), markup=False)
