"""Patterns with ``*`` and ``?``, many at a time.

Invariant: matching takes a few operations for each character of the text, whatever the patterns; nothing is tried
twice, and nothing is kept when the patterns are let go.

The places in all patterns are the bits of one number. What a text has led to so far is a set of places, and a
character moves the whole set on at once: a place is left for the next one where the character is right, and is also
kept where a star stands.
"""

from collections.abc import Iterable, Sequence
from enum import Enum


class Wild(Enum):
    """What is no character of its own in a pattern."""

    ANY_TEXT = "*"
    ANY_CHARACTER = "?"


# Characters, each a string of one, and wildcards.
Pattern = Sequence[str | Wild]

# Each character that occurs has a number of so many bits: together at most a few megabytes.
_MAX_PLACES = 4096


class Wildcards:
    """Some patterns, as one test."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._groups: list[_Group] = []
        for pattern in patterns:
            if not self._groups or self._groups[-1].size + len(pattern) >= _MAX_PLACES:
                self._groups.append(_Group())
            self._groups[-1].add(pattern)

    def match(self, text: str) -> bool:
        """Whether the whole text is of one of the patterns."""
        return any(group.match(text) for group in self._groups)


class _Group:
    def __init__(self) -> None:
        self.size = 0
        self._starts = self._ends = self._stars = self._any = 0
        self._right: dict[str, int] = {}

    def add(self, pattern: Pattern) -> None:
        self._starts |= 1 << self.size
        for token in pattern:
            here = 1 << self.size
            if token is Wild.ANY_TEXT:
                self._stars |= here
                continue
            if token is Wild.ANY_CHARACTER:
                self._any |= here
            else:
                self._right[token] = self._right.get(token, 0) | here
            self.size += 1
        self._ends |= 1 << self.size
        self.size += 1

    def match(self, text: str) -> bool:
        places = self._starts
        # Whatever follows, these have matched.
        settled = self._ends & self._stars
        for character in text:
            if places & settled:
                return True
            right = self._right.get(character, 0) | self._any
            places = (places & right) << 1 | places & self._stars
            if not places:
                return False
        return bool(places & self._ends)
