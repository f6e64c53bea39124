"""Measure everything, or what is named on the command line; print a table and write build/bench.json."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from bakehouse.errors import PartError
from bench import copy_image, create_image, describe_images, growth, idle, launch, launch_template, root_volume
from bench.figure import Figure
from bench.throwaway import Bench, start_bench

# In this order: idle before anything has run.
MEASUREMENTS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "idle": idle.measure,
    "launch": launch.measure,
    "root-volume": root_volume.measure,
    "create-image": create_image.measure,
    "copy-image": copy_image.measure,
    "launch-template": launch_template.measure,
    "describe-images": describe_images.measure,
    # Last: it leaves ten thousand records behind.
    "growth": growth.measure,
}
RESULT = Path("build/bench.json")


def main() -> int:
    """Return 0 when every promise is kept, 1 when one is not, 2 when something could not be measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # what was started is ended then, too
    console = Console(highlight=False)
    names = sys.argv[1:] or list(MEASUREMENTS)
    if unknown := set(names) - set(MEASUREMENTS):
        console.print(f"bench: no measurement {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
        return 2
    figures: list[Figure] = []
    failures: list[str] = []
    with start_bench() as bench:
        for name in names:
            console.print(f"measuring {name} ...")
            try:
                figures += MEASUREMENTS[name](bench)
            except (RuntimeError, PartError, BotoCoreError, ClientError) as error:
                failures.append(f"{name}: {error}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps([figure.to_json() for figure in figures], indent=2) + "\n")
    console.print(_table(figures))
    for failure in failures:
        console.print(f"[red]not measured[/] {failure}")
    if failures:
        return 2
    return 0 if all(figure.holds is not False for figure in figures) else 1


def _table(figures: list[Figure]) -> Table:
    table = Table("name", "figure", "unit", "target", "", "note")
    marks = {True: "[green]kept[/]", False: "[red]missed[/]", None: ""}
    for figure in figures:
        target = str(figure.target or "")
        value = f"{figure.figure:.3g}" if figure.figure < 1000 else f"{figure.figure:.0f}"
        table.add_row(figure.name, value, figure.unit, target, marks[figure.holds], figure.note)
    return table


if __name__ == "__main__":
    sys.exit(main())
