"""Where a service that tests start may settle: uids and public addresses that nobody else on this host has.

A ground is held by a socket in the abstract namespace, so that runs side by side, of this checkout or of another,
get different ones, and what a killed run held is free again. Where processes of a dead run still live, nobody settles.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Apart from a user's service, whose settings say nothing about either, and from what single tests name themselves.
_FIRST_UID, _UIDS_EACH = 1_910_000_000, 200_000
_NUMBERS = range(100, 180)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """One service's share of the host."""

    number: int

    @property
    def uids(self) -> range:
        """Those that its machines and agents get."""
        first = _FIRST_UID + (self.number - _NUMBERS.start) * _UIDS_EACH
        return range(first, first + _UIDS_EACH)

    @property
    def variables(self) -> dict[str, str]:
        """The settings that tell a service of it."""
        return {
            "BAKEHOUSE_UID_BASE": str(self.uids.start),
            "BAKEHOUSE_PUBLIC_NETWORK": f"127.{self.number}.0.0/16",
        }


@contextmanager
def claimed_ground() -> Iterator[Ground]:
    """A ground of one's own for the length of the block."""
    with socket.socket(socket.AF_UNIX) as claim:
        yield _settle(claim)


def _settle(claim: socket.socket) -> Ground:
    living = _living_uids()
    for number in _NUMBERS:
        ground = Ground(number=number)
        if not living.isdisjoint(ground.uids):
            continue
        with suppress(OSError):  # another's
            claim.bind(f"\0bakehouse tests, ground {number}")
            return ground
    raise AssertionError("every ground for a service of the tests is taken")


def _living_uids() -> set[int]:
    uids = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                uids.add(process.stat().st_uid)
    return uids - {os.geteuid()}
