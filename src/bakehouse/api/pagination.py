"""NextToken and MaxResults, solved once."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Paged:
    """How one operation is cut into pages.

    ``result`` names the list in the reply. ``minimum`` and ``maximum`` bound MaxResults. ``ids`` names the
    parameters that cannot be given together with MaxResults (EC2: InvalidParameterCombination).
    """

    result: str
    minimum: int = 5
    maximum: int = 1000
    ids: tuple[str, ...] = ()
