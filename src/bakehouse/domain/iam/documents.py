"""Policy documents: JSON in, statements out.

Invariant: what this module accepts can be evaluated; a member it does not know is refused, never ignored.
Source: IAM User Guide, "IAM JSON policy reference" and "Grammar of the IAM JSON policy language".
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bakehouse.domain.iam import globs
from bakehouse.domain.iam.conditions import Condition, Operator, read_operator
from bakehouse.errors import iam

_VERSIONS = ("2012-10-17", "2008-10-17")
_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?_-]+")
_SID = re.compile(r"[A-Za-z0-9]*")
_ACCOUNT = re.compile(r"[0-9]{12}")
_MEMBERS = {
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}
_PRINCIPAL_KINDS = ("AWS", "Service")
_MAX_KEPT_LENGTH = 16_384

SYNTAX_ERROR = "Syntax errors in policy."


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement. Of each pair (actions, resources) the flag says that it is the Not... form.

    ``principals`` is empty in identity policies; in trust policies it has ``(kind, value)`` pairs.
    """

    allows: bool
    actions: tuple[str, ...]
    is_not_action: bool
    resources: tuple[str, ...]
    is_not_resource: bool
    principals: tuple[tuple[str, str], ...]
    conditions: tuple[Condition, ...]
    has_variables: bool


def read_identity_policy(document: str) -> tuple[Statement, ...]:
    """Read the policy of a user or role; MalformedPolicyDocument."""
    return _read_again(document, is_trust=False)


def read_trust_policy(document: str) -> tuple[Statement, ...]:
    """Read who may assume a role; MalformedPolicyDocument."""
    return _read_again(document, is_trust=True)


def _read_again(document: str, *, is_trust: bool) -> tuple[Statement, ...]:
    """White space counts against no limit: what is mostly that is read each time rather than kept."""
    read = _read_kept if len(document) <= _MAX_KEPT_LENGTH else _read
    return read(document, is_trust=is_trust)


def size_of(document: str) -> int:
    """What counts against IAM's limits: every character but white space."""
    return len("".join(document.split()))


@lru_cache(maxsize=512)
def _read_kept(document: str, *, is_trust: bool) -> tuple[Statement, ...]:
    return _read(document, is_trust=is_trust)


def _read(document: str, *, is_trust: bool) -> tuple[Statement, ...]:
    try:
        policy = json.loads(document, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise iam.malformed_policy_document("This policy contains invalid Json") from None
    if not isinstance(policy, dict) or not policy.keys() <= {"Version", "Id", "Statement"}:
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    version = policy.get("Version", _VERSIONS[1])
    statements = policy.get("Statement", [])
    statements = [statements] if isinstance(statements, dict) else statements
    if version not in _VERSIONS or not isinstance(policy.get("Id", ""), str) or not isinstance(statements, list):
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    if not statements:
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    has_variables = version == _VERSIONS[0]
    read = tuple(_statement(one, is_trust=is_trust, has_variables=has_variables) for one in statements)
    _check_sids(statements)
    return read


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise iam.malformed_policy_document(SYNTAX_ERROR)
        found[name] = value
    return found


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are no JSON."""
    raise ValueError(name)


def _check_sids(statements: Sequence[dict[str, Any]]) -> None:
    sids = [one["Sid"] for one in statements if one.get("Sid", "") != ""]
    if not all(isinstance(sid, str) and _SID.fullmatch(sid) for sid in sids):
        raise iam.malformed_policy_document("Statement IDs (SID) may have letters and digits only.")
    if len(set(sids)) < len(sids):
        raise iam.malformed_policy_document("Statement IDs (SID) in a single policy must be unique.")


def _statement(statement: object, *, is_trust: bool, has_variables: bool) -> Statement:
    if not isinstance(statement, dict) or not statement.keys() <= _MEMBERS:
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    actions, is_not_action = _either(statement, "Action", _check_action)
    if not actions:
        raise iam.malformed_policy_document("Policy statement must contain actions.")
    resources, is_not_resource = _either(statement, "Resource", _check_resource)
    if is_trust and resources:
        raise iam.malformed_policy_document("Has prohibited field Resource")
    if not is_trust and not resources:
        raise iam.malformed_policy_document("Policy statement must contain resources.")
    return Statement(
        allows=statement["Effect"] == "Allow",
        actions=actions,
        is_not_action=is_not_action,
        resources=resources,
        is_not_resource=is_not_resource,
        principals=_principals(statement, is_trust=is_trust),
        conditions=_conditions(statement.get("Condition", {})),
        has_variables=has_variables,
    )


def _either(statement: dict[str, Any], name: str, check: Callable[[str], None]) -> tuple[tuple[str, ...], bool]:
    """The values of ``name`` or of ``Not`` + ``name``, and whether it was the latter."""
    if name in statement and f"Not{name}" in statement:
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    is_not = f"Not{name}" in statement
    values = _texts(statement.get(f"Not{name}" if is_not else name, []))
    for value in values:
        check(value)
    return values, is_not


def _texts(value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    return tuple(values)


def _check_action(action: str) -> None:
    if not _ACTION.fullmatch(action):
        raise iam.malformed_policy_document(
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
        )


def _check_resource(resource: str) -> None:
    if resource != "*" and not globs.is_arn(resource):
        raise iam.malformed_policy_document(f'Resource {resource[:200]} must be in ARN format or "*".')
    if resource != "*" and not resource.startswith("arn:"):
        raise iam.malformed_policy_document(f'Partition "{resource.partition(":")[0][:64]}" is not valid for resource.')


def _principals(statement: dict[str, Any], *, is_trust: bool) -> tuple[tuple[str, str], ...]:
    if not is_trust:
        if "Principal" in statement or "NotPrincipal" in statement:
            raise iam.malformed_policy_document("Policy document should not specify a principal.")
        return ()
    if "NotPrincipal" in statement:
        # Who is left over would be everybody in the world.
        raise iam.malformed_policy_document("NotPrincipal is not supported in trust policies.")
    principal = statement.get("Principal")
    if principal is None:
        raise iam.malformed_policy_document("Missing required field Principal")
    if principal == "*":
        return (("AWS", "*"),)
    if not isinstance(principal, dict) or not principal:
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    pairs = [(kind, value) for kind, values in principal.items() for value in _texts(values)]
    for kind, value in pairs:
        if kind not in _PRINCIPAL_KINDS or not _is_principal(kind, value):
            raise iam.malformed_policy_document(f'Invalid principal in policy: "{kind}":"{value[:200]}"')
    if not pairs:
        raise iam.malformed_policy_document("Missing required field Principal")
    return tuple((kind, _full(value) if kind == "AWS" else value) for kind, value in pairs)


def _is_principal(kind: str, value: str) -> bool:
    if kind == "Service":
        return re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com", value) is not None
    if value == "*" or _ACCOUNT.fullmatch(value):
        return True
    return re.fullmatch(r"arn:aws:(iam|sts)::[0-9]{12}:(root|(user|role|assumed-role)/[\x21-\x7e]+)", value) is not None


def _full(value: str) -> str:
    """An account named by its number is its root."""
    return f"arn:aws:iam::{value}:root" if _ACCOUNT.fullmatch(value) else value


def _conditions(block: object) -> tuple[Condition, ...]:
    if not isinstance(block, dict):
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    found: list[Condition] = []
    for name, keys in block.items():
        operator = read_operator(name)
        if operator is None:
            raise iam.malformed_policy_document(f"Invalid Condition type : {name[:64]}.")
        if not isinstance(keys, dict) or not keys:
            raise iam.malformed_policy_document(SYNTAX_ERROR)
        if len({key.lower() for key in keys}) < len(keys):
            raise iam.malformed_policy_document(f"Condition keys of {name} differ in case only.")
        found += [
            Condition(operator=operator, key=_condition_key(key), values=_condition_values(name, operator, values))
            for key, values in keys.items()
        ]
    return tuple(found)


def _condition_key(key: str) -> str:
    if ":" not in key:
        raise iam.malformed_policy_document(
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
        )
    return key.lower()


def _condition_values(name: str, operator: Operator, values: object) -> tuple[str, ...]:
    """Numbers and booleans may be written without quotation marks.

    IAM takes an empty list, with which a Deny never applies, and whose negation always allows; who wrote one meant
    neither.
    """
    given = values if isinstance(values, list) else [values]
    if not given or not all(isinstance(one, str | bool | int | float) for one in given):
        raise iam.malformed_policy_document(SYNTAX_ERROR)
    found = tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in given)
    for value in found:
        if not operator.takes(value):
            raise iam.malformed_policy_document(f"Invalid value for condition type {name} : {value[:64]}.")
    return found
