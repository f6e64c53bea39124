"""Filters, solved once: a table per Describe operation says where in its reply each filter looks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FilterPath = str | tuple[str, ...] | Callable[[Mapping[str, Any]], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class FilterTable:
    """Where the filters of one Describe operation look in its reply.

    ``item`` names the list that is filtered: ``"Images[]"``, or ``"Reservations[].Instances[]"`` (an emptied
    reservation disappears). ``paths`` maps a filter name to a path inside the item (``"State.Name"``,
    ``"BlockDeviceMappings[].Ebs.VolumeId"``), several paths (either may match), or a function of the item
    that gives the values. ``outer`` is the same for the enclosing item (the reservation's
    ``"ReservationId"``). ``tags`` is the path of the tag list, by which ``tag:KEY``, ``tag-key`` and
    ``tag-value`` work; None when the noun has no tags.
    """

    item: str
    paths: Mapping[str, FilterPath]
    outer: Mapping[str, FilterPath] = field(default_factory=dict)
    tags: str | None = None
