"""A request as it arrived, which everything in the gateway reads and nothing changes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """What arrived, before any interpretation. ``headers`` has lower-case names, values in order of
    arrival.
    """

    method: str
    raw_path: bytes
    query: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes
    # Who sent it, as policies see it.
    source_ip: str = ""
    is_secure: bool = False

    def find_header(self, name: str) -> str | None:
        """Return the values of a header joined by commas, or None."""
        values = [" ".join(value.split()) for found, value in self.headers if found == name]
        return ",".join(values) if values else None
