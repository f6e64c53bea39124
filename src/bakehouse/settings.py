"""Settings, read once from BAKEHOUSE_* environment variables and command-line options.

Invariant: the frozen ``Settings`` is built in main.py and handed down; no other module reads os.environ.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from bakehouse.paths import StateDirectory


def default_state_root(environ: Mapping[str, str], *, is_root: bool) -> Path:
    """/var/lib/bakehouse for root, else the XDG state home."""
    if is_root:
        return Path("/var/lib/bakehouse")
    state_home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local/state")
    return Path(state_home) / "bakehouse"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One host's configuration. Every field is documented in docs/settings.md (a test holds it)."""

    state_root: Path
    listen_host: str = "127.0.0.1"
    listen_port: int = 4566
    # The first one is home: what is about no region in particular is there.
    regions: tuple[str, ...] = ("us-east-1",)
    # SQLAlchemy URL; empty means SQLite in the state directory.
    database_url: str = ""
    # obstore URL (file:///... or s3://bucket/prefix); empty means the state directory.
    block_store_url: str = ""
    # Only an S3 block store needs these.
    block_store_access_key_id: str = ""
    block_store_secret_access_key: str = field(default="", repr=False)
    public_network: IPv4Network = field(default_factory=lambda: IPv4Network("127.66.0.0/16"))
    # First host uid of the range from which machines and agents get their own, when started as root.
    uid_base: int = 1_900_000_000
    # auto, kvm or tcg.
    accelerator: str = "auto"
    # Memory the host keeps for itself, MiB; launches beyond it get InsufficientInstanceCapacity.
    reserved_memory_mib: int = 1024

    @property
    def region(self) -> str:
        """The home region."""
        return self.regions[0]

    @property
    def state(self) -> StateDirectory:
        """Every file of this host."""
        return StateDirectory(root=self.state_root)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read BAKEHOUSE_<FIELD> for every field; an unreadable value is a ValueError naming the variable."""
        values: dict[str, object] = {}
        for name, convert in _CONVERTERS.items():
            variable = f"BAKEHOUSE_{name.upper()}"
            if text := environ.get(variable):
                try:
                    values[name] = convert(text)
                except ValueError as error:
                    raise ValueError(f"{variable}: {error}") from error
        values.setdefault("state_root", default_state_root(environ, is_root=os.geteuid() == 0))
        return cls(**values)  # type: ignore[arg-type]  # the converters give each field its type


def _number(first: int, last: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        number = int(text)
        if not first <= number <= last:
            raise ValueError(f"{number} is not between {first} and {last}")
        return number

    return convert


def _region(text: str) -> str:
    # It becomes part of host names and of signatures.
    if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}", text):
        raise ValueError(f"{text!r} does not look like a region, us-east-1 for example")
    return text


def _regions(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_region(name.strip()) for name in text.split(",")))


def _accelerator(text: str) -> str:
    if text not in ("auto", "kvm", "tcg"):
        raise ValueError(f"{text!r} is none of auto, kvm and tcg")
    return text


def _database_url(text: str) -> str:
    if not re.match(r"(sqlite|postgresql(\+psycopg)?)://", text):
        raise ValueError("a database is sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME")
    return text


_CONVERTERS: dict[str, Callable[[str], object]] = {
    "state_root": lambda text: Path(text).absolute(),
    "listen_host": str,
    "listen_port": _number(0, 65535),
    "regions": _regions,
    "database_url": _database_url,
    "block_store_url": str,
    "block_store_access_key_id": str,
    "block_store_secret_access_key": str,
    "public_network": IPv4Network,
    # Machines take 65,536 uids from here on, agents as many more; the last two uids have a meaning of their own.
    "uid_base": _number(1, 2**32 - 2 - 2 * 65536),
    "accelerator": _accelerator,
    "reserved_memory_mib": _number(0, 1 << 30),
}
