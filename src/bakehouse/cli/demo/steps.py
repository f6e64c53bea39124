"""How the demo tells what it does: numbered steps, each with what was run, what came of it, and its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from bakehouse.errors import PartError


class DemoFailed(PartError):
    """Something the demo claims did not hold."""


def require(holds: bool, claim: str) -> None:
    """Fail the demo loudly unless the claim holds."""
    if not holds:
        raise DemoFailed(f"this should hold and does not: {claim}")


class Steps:
    """Prints the story as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = 0
        self._began = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print the title, whatever is noted inside, and the time it took."""
        self._count += 1
        began = time.monotonic()
        self._console.print(f"[bold cyan]{self._count:2}[/]  [bold]{escape(title)}[/]")
        try:
            yield
        except BaseException:
            self._console.print(f"    [bold red]failed[/] after {time.monotonic() - began:.1f} s")
            raise
        self._console.print(f"    [green]done[/] in {time.monotonic() - began:.1f} s")

    def command(self, line: str) -> None:
        """Show a command line that is about to run."""
        self._console.print(f"    [dim]$[/] {escape(line)}")

    def note(self, text: str) -> None:
        """Say what came of it."""
        for line in text.splitlines():
            self._console.print(f"    {escape(line)}")

    def total_s(self) -> float:
        """Seconds since the first step began."""
        return time.monotonic() - self._began
