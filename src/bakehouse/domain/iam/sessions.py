"""Temporary keys: roles that are assumed, instances with their profile's role, and users for a while.

Invariant: a session's keys are good for as long as their role or user exists and they have not expired.
"""

import base64
import re
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import IamRole, Instance, InstanceProfile, KeySession, now
from bakehouse.domain.iam import (
    documents,
    evaluation,
    globs,
    instance_profiles,
    managed_policies,
    resource_facts,
    roles,
)
from bakehouse.domain.iam.authority import Authority, Target
from bakehouse.domain.iam.documents import Statement
from bakehouse.domain.iam.evaluation import Decision
from bakehouse.domain.iam.facts import RequestFacts
from bakehouse.domain.iam.principals import Principal, PrincipalKind
from bakehouse.errors import iam

# Seconds. Source: STS API Reference, AssumeRole and GetSessionToken.
MIN_DURATION_S = 900
DEFAULT_DURATION_S = 3600
_CHAINED_MAX_S = 3600
_USER_DEFAULT_S, _USER_MAX_S, _ROOT_MAX_S = 43_200, 129_600, 3600
# An instance's keys last six hours, as EC2's do, and are changed long before: an SDK asks again 15 minutes before.
_INSTANCE_DURATION = timedelta(hours=6)
_INSTANCE_ROTATED = timedelta(hours=1)
# An expired key is known as such for a day; then it is as unknown as any.
_KEPT_AFTER_EXPIRY = timedelta(days=1)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_MAX_SESSION_POLICY = 2048
_ACTION = "sts:AssumeRole"
_INSTANCES = "ec2.amazonaws.com"


def assume_role(
    session: Session,
    authority: Authority,
    role_arn: str,
    session_name: str,
    *,
    duration_s: int | None,
    external_id: str | None,
    policy: str | None,
    policy_arns: Sequence[str],
) -> tuple[KeySession, IamRole]:
    """Let a principal act as a role; AccessDenied unless the role trusts it and its own policies allow it."""
    _check_session_name(session_name)
    principal = authority.principal
    role = roles.find_by_arn(session, role_arn)
    more = {"sts:rolesessionname": (session_name,)}
    if external_id is not None:
        more["sts:externalid"] = (external_id,)
    target = Target(arn=role_arn, more=more)
    decision = Decision.NOT_ALLOWED if role is None else _may_assume(session, authority, role, target)
    if role is None or decision is not Decision.ALLOWED:
        raise iam.access_denied(
            f"User: {principal.arn} is not authorized to perform: {_ACTION} on resource: {role_arn[:2048]}"
        )
    duration_s = _checked_duration(principal, role, duration_s or DEFAULT_DURATION_S)
    narrowing = _session_policies(session, role.account_id, policy, policy_arns)
    made = mint(
        session,
        role.account_id,
        session_name,
        role_id=role.role_id,
        duration=timedelta(seconds=duration_s),
        narrowing=narrowing,
    )
    return made, role


def assumed_arn(role: IamRole, session_name: str) -> str:
    """What a role's session is called."""
    return f"arn:aws:sts::{role.account_id}:assumed-role/{role.role_name}/{session_name}"


def user_session(session: Session, principal: Principal, duration_s: int | None) -> KeySession:
    """GetSessionToken: a user's or the root's own rights, for a while."""
    if principal.kind is PrincipalKind.ASSUMED_ROLE or principal.is_temporary:
        raise iam.access_denied("Cannot call GetSessionToken with session credentials")
    most = _ROOT_MAX_S if principal.is_root else _USER_MAX_S
    duration_s = min(duration_s or _USER_DEFAULT_S, most)
    return mint(
        session,
        principal.account_id,
        principal.user_name or "root",
        user_id=principal.owner_id or principal.account_id,
        duration=timedelta(seconds=duration_s),
    )


def instance_credentials(session: Session, instance: Instance, role: IamRole) -> KeySession | None:
    """An instance's keys as its role: the last ones until they get old; None when the role does not trust EC2."""
    if not _trusts_instances(role):
        return None
    query = (
        sa.select(KeySession)
        .where(
            KeySession.instance_id == instance.instance_id,
            KeySession.role_id == role.role_id,
            KeySession.created_at > now() - _INSTANCE_ROTATED,
        )
        .order_by(KeySession.created_at.desc())
    )
    found = session.scalars(query).first()
    if found is not None:
        return found
    return mint(
        session,
        role.account_id,
        instance.instance_id,
        role_id=role.role_id,
        instance_id=instance.instance_id,
        duration=_INSTANCE_DURATION,
    )


def role_of_instance(session: Session, instance: Instance) -> IamRole | None:
    """The role that an instance's profile hands out now."""
    if instance.instance_profile_id is None:
        return None
    profile = session.get(InstanceProfile, instance.instance_profile_id)
    return instance_profiles.role_of(session, profile) if profile is not None else None


def mint(
    session: Session,
    account_id: str,
    session_name: str,
    *,
    duration: timedelta,
    role_id: str | None = None,
    user_id: str | None = None,
    instance_id: str | None = None,
    narrowing: Sequence[str] = (),
) -> KeySession:
    """Make a temporary key."""
    moment = now()
    row = KeySession(
        access_key_id="ASIA" + base64.b32encode(secrets.token_bytes(10)).decode("ascii"),
        account_id=account_id,
        secret_access_key=base64.b64encode(secrets.token_bytes(30)).decode("ascii"),
        session_token=base64.b64encode(secrets.token_bytes(240)).decode("ascii"),
        role_id=role_id,
        user_id=user_id,
        session_name=session_name,
        instance_id=instance_id,
        policies=list(narrowing),
        created_at=moment,
        # Clients are told whole seconds.
        expires_at=(moment + duration).replace(microsecond=0),
    )
    session.add(row)
    session.flush()
    return row


def forget_expired(session: Session) -> None:
    """Delete keys that have been expired for a day."""
    session.execute(sa.delete(KeySession).where(KeySession.expires_at < now() - _KEPT_AFTER_EXPIRY))


# --- who may assume ---


def _may_assume(session: Session, authority: Authority, role: IamRole, target: Target) -> Decision:
    """The role must trust the principal. One that it names itself, in its own account, needs no policy beside."""
    # A trust policy is its account's: it sees the role's tags, which are not everybody's to know.
    values = resource_facts.read(session, role.account_id, target.arn)
    trust, is_named = _trust(role, authority.principal, authority.facts(replace(target, values=values)))
    if trust is not Decision.ALLOWED:
        return trust
    own = authority.decide(_ACTION, target)
    is_neighbour = authority.principal.account_id == role.account_id
    if own is Decision.NOT_ALLOWED and is_named and is_neighbour and not authority.principal.session_policies:
        return Decision.ALLOWED
    return own


def _trust(role: IamRole, principal: Principal, facts: RequestFacts) -> tuple[Decision, bool]:
    decision, is_named = Decision.NOT_ALLOWED, False
    for statement in documents.read_trust_policy(role.trust_policy):
        names_it, names_itself = _names_principal(statement, role, principal)
        if not names_it or not _names_assume_role(statement) or not evaluation.applies(statement, facts):
            continue
        if not statement.allows:
            return Decision.DENIED, False
        decision, is_named = Decision.ALLOWED, is_named or names_itself
    return decision, is_named


def _names_assume_role(statement: Statement) -> bool:
    named = any(globs.matches(pattern, _ACTION, ignores_case=True) for pattern in statement.actions)
    return named is not statement.is_not_action


def _names_principal(statement: Statement, role: IamRole, principal: Principal) -> tuple[bool, bool]:
    """Whether a statement is about the principal, and whether it names it itself and not its whole account."""
    values = {value for kind, value in statement.principals if kind == "AWS"}
    itself = any(_is_named(value, role, principal) for value in values)
    account = f"arn:aws:iam::{principal.account_id}:root" in values or "*" in values
    return itself or account, itself


def _is_named(value: str, role: IamRole, principal: Principal) -> bool:
    """By its id, which it keeps under another name; a session of a role by its own name as well."""
    if role.trusted_ids.get(value) != principal.owner_id:
        return False
    return value == principal.arn or not value.startswith("arn:aws:sts:")


def _trusts_instances(role: IamRole) -> bool:
    """Conditions of a trust policy for EC2 are about requests, and here is none: only a Deny's count."""
    decision = False
    for statement in documents.read_trust_policy(role.trust_policy):
        named = ("Service", _INSTANCES) in statement.principals
        # Everybody is services, too.
        named = named or (not statement.allows and ("AWS", "*") in statement.principals)
        if not named or not _names_assume_role(statement):
            continue
        if not statement.allows:
            return False
        decision = decision or not statement.conditions
    return decision


# --- checks ---


def _check_session_name(session_name: str) -> None:
    if not _SESSION_NAME.fullmatch(session_name):
        raise iam.validation_error(
            "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: [\\w+=,.@-]*"
        )


def _checked_duration(principal: Principal, role: IamRole, duration_s: int) -> int:
    if principal.kind is PrincipalKind.ASSUMED_ROLE and duration_s > _CHAINED_MAX_S:
        raise iam.validation_error(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    if duration_s > role.max_session_duration_s:
        raise iam.validation_error("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return duration_s


def _session_policies(session: Session, account_id: str, policy: str | None, policy_arns: Sequence[str]) -> list[str]:
    found = []
    if policy is not None:
        documents.read_identity_policy(policy)
        if documents.size_of(policy) > _MAX_SESSION_POLICY:
            raise iam.validation_error(f"The session policy has at most {_MAX_SESSION_POLICY} characters")
        found.append(policy)
    for policy_arn in policy_arns:
        document = managed_policies.find_document(session, account_id, policy_arn)
        if document is None:
            raise iam.malformed_policy_document(f"The session policy {policy_arn[:256]} does not exist.")
        found.append(document)
    return found
