"""Whether policies allow: an explicit Deny wins, then an Allow, else no.

Invariant: what cannot be judged fails safe. A statement with a condition key, or with a policy variable in a
condition, that this service does not know does not allow, and does deny.
Source: IAM User Guide, "Policy evaluation logic".
"""

import re
from collections.abc import Iterable
from enum import StrEnum

from bakehouse.domain.iam import conditions, globs
from bakehouse.domain.iam.conditions import Facts
from bakehouse.domain.iam.documents import Statement
from bakehouse.domain.iam.globs import Variables

_DEFAULT = re.compile(r"\s*'(?P<value>[^']*)'\s*")


class Decision(StrEnum):
    """What a set of policies says."""

    ALLOWED = "allowed"
    DENIED = "explicit deny"
    NOT_ALLOWED = "implicit deny"


def decide(statements: Iterable[Statement], action: str, resource: str, facts: Facts) -> Decision:
    """Judge one action (``ec2:RunInstances``) on one resource (an ARN, or "*" for actions that have none)."""
    variables = _variables_of(facts)
    decision = Decision.NOT_ALLOWED
    for statement in statements:
        # A statement that would not change the answer is not looked at.
        if statement.allows and decision is Decision.ALLOWED:
            continue
        if not _names_action(statement, action) or not _names_resource(statement, resource, variables):
            continue
        if not applies(statement, facts):
            continue
        if not statement.allows:
            return Decision.DENIED
        decision = Decision.ALLOWED
    return decision


def applies(statement: Statement, facts: Facts) -> bool:
    """Whether all conditions hold; one that cannot be told makes a Deny apply and an Allow not."""
    variables = _variables_of(facts) if statement.has_variables else None
    verdict = conditions.every(conditions.holds(one, facts, variables) for one in statement.conditions)
    return not statement.allows if verdict is None else verdict


def _names_action(statement: Statement, action: str) -> bool:
    named = any(globs.matches(pattern, action, ignores_case=True) for pattern in statement.actions)
    return named is not statement.is_not_action


def _names_resource(statement: Statement, resource: str, variables: Variables) -> bool:
    replaces = variables if statement.has_variables else None
    named = conditions.some(_is_of(pattern, resource, replaces) for pattern in statement.resources)
    return not statement.allows if named is None else named is not statement.is_not_resource


def _is_of(pattern: str, resource: str, variables: Variables | None) -> bool | None:
    try:
        return globs.arn_matches(pattern, resource, variables)
    except globs.UnknownVariable:
        return None


def _variables_of(facts: Facts) -> Variables:
    """A key that has one value here can stand in a pattern; one that has none, with what is to stand there then."""

    def find(name: str) -> str:
        key, _, default = name.partition(",")
        values = facts.find(key.strip().lower())
        quoted = _DEFAULT.fullmatch(default)
        if quoted is not None and values == ():
            return quoted["value"]
        if values is None or len(values) != 1:
            raise globs.UnknownVariable(name)
        return values[0]

    return find
