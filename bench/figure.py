"""A measured figure and what was promised about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Direction(StrEnum):
    """Which side of the target is good."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What was promised."""

    direction: Direction
    value: float

    def holds(self, figure: float) -> bool:
        """Tell whether the figure keeps the promise."""
        return figure <= self.value if self.direction is Direction.AT_MOST else figure >= self.value

    def __str__(self) -> str:
        return f"{self.direction} {self.value:g}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table; ``target`` is None where nothing was promised."""

    name: str
    figure: float
    unit: str
    target: Target | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the promise is kept; None where there is none."""
        return self.target.holds(self.figure) if self.target else None

    def to_json(self) -> dict[str, Any]:
        """The figure as it stands in build/bench.json."""
        return {
            "name": self.name,
            "figure": self.figure,
            "unit": self.unit,
            "target": str(self.target) if self.target else None,
            "holds": self.holds,
            "note": self.note,
        }


def at_most(value: float) -> Target:
    """A promise of a ceiling."""
    return Target(direction=Direction.AT_MOST, value=value)


def at_least(value: float) -> Target:
    """A promise of a floor."""
    return Target(direction=Direction.AT_LEAST, value=value)
