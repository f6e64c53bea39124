"""How IAM's lists are cut: a hundred at a time, when nobody says how many."""

from bakehouse.api.pagination import Paged


def page(result: str | tuple[str, ...], key: str | tuple[str, ...] = "") -> Paged:
    """The pages of the list ``result``, or of several, whose items are told apart by ``key``."""
    return Paged(result=result, key=key or (), minimum=1, maximum=1000, default=100)
