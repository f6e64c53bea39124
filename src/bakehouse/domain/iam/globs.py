"""Patterns of policies: ``*``, ``?`` and policy variables.

Invariant: matching takes time in proportion to the text, whatever the pattern: nothing is tried twice.
Source: IAM User Guide, "IAM JSON policy elements: Resource" and "Variables and tags".
"""

import re
from collections.abc import Callable
from functools import lru_cache

_TOKEN = re.compile(r"\$\{(?P<name>[^{}]*)\}|(?P<star>\*+)|(?P<one>\?)", re.DOTALL)
# ${*}, ${?} and ${$} are those characters themselves.
_LITERALS = frozenset("*?$")
_COLON = re.compile(r"\$\{[^{}]*\}|:")
_ARN_PARTS = 6

# A variable's value; raises UnknownVariable.
Variables = Callable[[str], str]
_Match = Callable[[str], object]


class UnknownVariable(Exception):
    """A policy variable without a value."""


def has_variables(pattern: str) -> bool:
    """Whether a pattern may depend on who asks."""
    return "${" in pattern


def matches(pattern: str, text: str, variables: Variables | None = None, *, ignores_case: bool = False) -> bool:
    """Whether the whole text is of the pattern; UnknownVariable. Without ``variables`` none are replaced."""
    if variables is None or not has_variables(pattern):
        return _compiled(pattern, ignores_case)(text) is not None
    return _compile(_translate(pattern, variables), ignores_case)(text) is not None


def arn_matches(pattern: str, arn: str, variables: Variables | None = None) -> bool:
    """As ``matches``, part by part: a wildcard does not reach across the first five colons of an ARN."""
    if pattern == "*":
        return True
    parts, wanted = arn.split(":", _ARN_PARTS - 1), _split(pattern)
    if len(parts) < _ARN_PARTS or len(wanted) < _ARN_PARTS:
        return False
    return all(matches(one, part, variables) for one, part in zip(wanted, parts, strict=True))


def is_arn(pattern: str) -> bool:
    """Whether a pattern has an ARN's parts: partition, service and resource, and a place for region and account."""
    parts = _split(pattern)
    return len(parts) == _ARN_PARTS and all((*parts[:3], parts[-1]))


def _split(pattern: str) -> list[str]:
    """A pattern's parts; the colons in a variable's name part nothing."""
    parts: list[str] = []
    start = 0
    for match in _COLON.finditer(pattern):
        if match[0] == ":" and len(parts) < _ARN_PARTS - 1:
            parts.append(pattern[start : match.start()])
            start = match.end()
    return [*parts, pattern[start:]]


def replaced(text: str, variables: Variables | None) -> str:
    """The text with its variables' values in their places; UnknownVariable."""
    if variables is None or not has_variables(text):
        return text

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        return name if name in _LITERALS else variables(name)

    return _TOKEN.sub(value, text)


# So few because a pattern may be as long as a policy, and takes ten times as much compiled.
@lru_cache(maxsize=512)
def _compiled(pattern: str, ignores_case: bool) -> _Match:
    return _compile(_translate(pattern, None), ignores_case)


def _compile(source: str, ignores_case: bool) -> _Match:
    return re.compile(source, re.DOTALL | (re.IGNORECASE if ignores_case else 0)).fullmatch


def _translate(pattern: str, variables: Variables | None) -> str:
    """Each part between stars is an atomic group: no star is tried again once what follows it was found."""
    parts, end = [""], 0
    for match in _TOKEN.finditer(pattern):
        parts[-1] += re.escape(pattern[end : match.start()])
        end = match.end()
        name = match["name"]
        if match["star"]:
            parts.append("")
        elif match["one"]:
            parts[-1] += "."
        elif variables is None:
            parts[-1] += re.escape(match[0])
        else:
            parts[-1] += re.escape(name if name in _LITERALS else variables(name))
    parts[-1] += re.escape(pattern[end:])
    if len(parts) == 1:
        return parts[0]
    return parts[0] + "".join(f"(?>.*?{part})" for part in parts[1:-1] if part) + ".*" + parts[-1]
