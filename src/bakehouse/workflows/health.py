"""From looks at a guest to EC2's instance status: up, not up yet, or silent for too long. Pure.

A guest is up at once when its agent answers: ours starts the agent when the boot is done. A guest without one is
up when its network stack has answered for a while (which is all that EC2 itself asks); a booting guest that has
an agent opens its channel well within that while.
"""

from dataclasses import dataclass
from enum import Enum, auto

QUIET_S = 30.0
# A machine that was up and answers to nothing is impaired after this; one that never was has longer to boot.
SILENT_S, NEVER_UP_S = 180.0, 900.0
_BOOTING_S, _BOOTING_INTERVAL_S = 300.0, 1.5
_UP_INTERVAL_S, _INTERVAL_S = 60.0, 15.0
# A guest that may be frozen is asked until it says that it is not, but no longer than this at that pace.
_DOUBT_S = 600.0


class Sign(Enum):
    """What one look found, the best of it."""

    AGENT = auto()
    NETWORK = auto()
    NOTHING = auto()


class Verdict(Enum):
    """What is known of a guest now."""

    UP = auto()
    UNKNOWN = auto()
    SILENT = auto()


@dataclass(kw_only=True)
class GuestHealth:
    """What is remembered of one guest between looks; times are monotonic seconds."""

    was_up: bool
    begun_s: float
    network_since_s: float | None = None
    silent_since_s: float | None = None
    next_look_s: float = 0.0
    in_doubt_until_s: float = 0.0

    def doubt(self, now_s: float) -> None:
        """It may be frozen."""
        self.in_doubt_until_s = now_s + _DOUBT_S
        self.look_again()

    def trust(self) -> None:
        """It is not frozen."""
        self.in_doubt_until_s = 0.0

    def look_again(self) -> None:
        """Do so in the next round."""
        self.next_look_s = 0.0

    def take(self, sign: Sign, now_s: float) -> Verdict:
        """Learn from a look, and plan the next one."""
        verdict = self._judge(sign, now_s)
        if verdict is Verdict.UP:
            self.was_up, interval_s = True, _UP_INTERVAL_S
        elif not self.was_up and now_s - self.begun_s < _BOOTING_S:
            interval_s = _BOOTING_INTERVAL_S
        else:
            interval_s = _INTERVAL_S
        if now_s < self.in_doubt_until_s:
            interval_s = min(interval_s, _BOOTING_INTERVAL_S)
        self.next_look_s = now_s + interval_s
        return verdict

    def _judge(self, sign: Sign, now_s: float) -> Verdict:
        if sign is Sign.NOTHING:
            self.network_since_s = None
            self.silent_since_s = now_s if self.silent_since_s is None else self.silent_since_s
            patience_s = SILENT_S if self.was_up else NEVER_UP_S
            return Verdict.SILENT if now_s - self.silent_since_s >= patience_s else Verdict.UNKNOWN
        self.silent_since_s = None
        if sign is Sign.AGENT or self.was_up:
            return Verdict.UP
        self.network_since_s = now_s if self.network_since_s is None else self.network_since_s
        return Verdict.UP if now_s - self.network_since_s >= QUIET_S else Verdict.UNKNOWN
