"""How the command line finds the running service: where it answers, and the administrator's key.

Invariant: both files are private to the user who runs the service (0600), and an endpoint whose process has
ended counts as absent, however the process ended.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bakehouse.host.files import write_atomically
from bakehouse.paths import StateDirectory


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A running service; ``started`` is ``process_start(pid)``, so that a reused pid is noticed."""

    url: str
    regions: tuple[str, ...]
    pid: int
    started: int

    @classmethod
    def of_process(cls, pid: int, *, url: str, regions: tuple[str, ...]) -> "Endpoint":
        """Describe a live process; ProcessLookupError when there is none."""
        started = process_start(pid)
        if started is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(url=url, regions=regions, pid=pid, started=started)

    @property
    def region(self) -> str:
        """The home region."""
        return self.regions[0]


@dataclass(frozen=True, kw_only=True)
class AdministratorKey:
    """The first account's key, made at the first start."""

    account_id: str
    access_key_id: str
    secret_access_key: str


def process_start(pid: int) -> int | None:
    """Start time of a live process, clock ticks since boot (proc(5), field 22); None for none or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def write_endpoint(state: StateDirectory, endpoint: Endpoint) -> None:
    """Announce the service."""
    write_atomically(state.endpoint, json.dumps(asdict(endpoint), indent=2) + "\n")


def remove_endpoint(state: StateDirectory) -> None:
    """Take the announcement back."""
    state.endpoint.unlink(missing_ok=True)


def find_endpoint(state: StateDirectory) -> Endpoint | None:
    """Return the service that runs on this state directory, or None. PermissionError when it is another's."""
    try:
        values = json.loads(state.endpoint.read_text())
        endpoint = Endpoint(**{**values, "regions": tuple(values["regions"])})
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None
    return endpoint if process_start(endpoint.pid) == endpoint.started else None


def write_administrator_key(state: StateDirectory, key: AdministratorKey) -> None:
    """Keep the first key for ``bakehouse env``."""
    write_atomically(state.credentials, json.dumps(asdict(key), indent=2) + "\n")


def find_administrator_key(state: StateDirectory) -> AdministratorKey | None:
    """Return the administrator's key, or None before the first start."""
    try:
        return AdministratorKey(**json.loads(state.credentials.read_text()))
    except FileNotFoundError:
        return None
