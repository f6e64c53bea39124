"""What one principal may do in one request.

Invariant: the root of an account may do everything in it; everybody else what the policies say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy.orm import Session

from bakehouse.domain.iam import evaluation, identity_tags, policies, resource_facts
from bakehouse.domain.iam.documents import Statement
from bakehouse.domain.iam.evaluation import Decision
from bakehouse.domain.iam.facts import Circumstances, RequestFacts, Values, request_tag_values, tag_values, values_of
from bakehouse.domain.iam.principals import Principal, PrincipalKind
from bakehouse.errors import ApiError

# Needs no permission and cannot be denied. Source: STS API Reference, GetCallerIdentity.
_FREE = frozenset({"sts:GetCallerIdentity"})
# Needs no permission, but can be denied. Source: STS API Reference, GetSessionToken.
_OPEN = frozenset({"sts:GetSessionToken"})
_OF_USER_SESSION = frozenset({"sts:AssumeRole", "sts:GetCallerIdentity"})


@dataclass(frozen=True, kw_only=True)
class Target:
    """A resource that an action is done to: ``arn`` is "*" where the action has no resource.

    ``values`` are its condition keys when it is yet to be made; without them they are read from its rows.
    ``tags`` are those that the request would write on it; ``more`` are other keys of the request.
    """

    arn: str = "*"
    values: Values | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    more: Values = field(default_factory=dict)


_NO_TARGET = (Target(),)


class Authority:
    """Asks the principal's policies, which are read at the first question. ``refuse`` makes the service's error."""

    def __init__(
        self,
        principal: Principal,
        session: Session,
        about: Circumstances,
        refuse: Callable[[str], ApiError],
    ) -> None:
        self.principal = principal
        self._session = session
        self._about = about
        self._refuse = refuse

    def check(self, action: str, targets: Sequence[Target] = _NO_TARGET) -> None:
        """Refuse an action (``ec2:RunInstances``) unless it is allowed on every target."""
        if self.principal.is_root or action in _FREE:
            return
        for target in targets:
            decision = self.decide(action, target)
            if decision is not Decision.ALLOWED:
                raise self.refusal(action, target.arn, decision)

    def allows(self, action: str, target: Target) -> bool:
        """Whether an action is allowed on one target, for what is left out otherwise and not refused."""
        return self.decide(action, target) is Decision.ALLOWED

    def decide(self, action: str, target: Target) -> Decision:
        """What the policies say to an action on one target."""
        if self.principal.is_root:
            return Decision.ALLOWED
        if self._is_beyond_user_session(action):
            return Decision.DENIED
        facts = self.facts(target)
        decision = evaluation.decide(self._statements, action, target.arn, facts)
        if decision is Decision.NOT_ALLOWED and action in _OPEN:
            decision = Decision.ALLOWED
        if decision is Decision.ALLOWED and self.principal.session_policies:
            narrowed = policies.statements_in(self.principal.session_policies)
            return evaluation.decide(narrowed, action, target.arn, facts)
        return decision

    def facts(self, target: Target) -> RequestFacts:
        """The condition keys of the request about one target."""
        values = {**values_of(self.principal, self._about), **request_tag_values(target.tags), **target.more}
        return RequestFacts(values, load=lambda: self._values_of(target), load_principal_tags=self._principal_tags)

    def refusal(self, action: str, resource: str, decision: Decision) -> ApiError:
        """The error, in AWS's words."""
        why = (
            "with an explicit deny in an identity-based policy"
            if decision is Decision.DENIED
            else f"because no identity-based policy allows the {action} action"
        )
        return self._refuse(
            f"User: {self.principal.arn} is not authorized to perform: {action} on resource: {resource} {why}"
        )

    @cached_property
    def _statements(self) -> tuple[Statement, ...]:
        return policies.statements_of(self._session, self.principal.account_id, self.principal.owner_id)

    def _values_of(self, target: Target) -> Values:
        if target.values is not None:
            return {"aws:resourceaccount": (self.principal.account_id,), **target.values}
        return resource_facts.read(self._session, self.principal.account_id, target.arn)

    def _principal_tags(self) -> Values:
        tags = identity_tags.of(self._session, self.principal.owner_id)
        return tag_values("aws:principaltag/", ((tag["Key"], tag["Value"]) for tag in tags))

    def _is_beyond_user_session(self, action: str) -> bool:
        """GetSessionToken's keys, made without a second factor, are not for IAM, and for little of STS."""
        if not self.principal.is_temporary or self.principal.kind is not PrincipalKind.USER:
            return False
        return action.startswith("iam:") or (action.startswith("sts:") and action not in _OF_USER_SESSION)
