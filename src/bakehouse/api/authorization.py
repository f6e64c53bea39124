"""Whether the caller may do what a request asks for: its policies, over what the request is done to.

Invariant: every operation of every service is asked about here, before it runs and in its transaction; those in
``DECIDED_BY_OPERATION`` ask themselves, because only they know what they are done to.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.api.context import RequestContext
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.targets import Asked, tags_by_kind, targets_of
from bakehouse.domain.iam import resource_names
from bakehouse.domain.iam.authority import Authority, Target
from bakehouse.domain.iam.facts import Circumstances
from bakehouse.domain.iam.principals import Principal
from bakehouse.errors import ApiError

# A role's own policy decides who assumes it; a launch is done to what its parameters and defaults lead to.
DECIDED_BY_OPERATION = frozenset({("ec2", "RunInstances"), ("sts", "AssumeRole")})


def make_authority(
    principal: Principal, session: Session, *, service: str, region: str, request: HttpRequest
) -> Authority:
    """The caller's rights in this request."""
    about = Circumstances(
        region=region,
        source_ip=request.source_ip,
        user_agent=request.find_header("user-agent") or "",
        is_secure=request.is_secure,
        moment=datetime.now(UTC),
    )
    return Authority(principal, session, about, _refusal_of(service))


def _refusal_of(service: str) -> Callable[[str], ApiError]:
    """EC2 puts its own sentence in front; each protocol has its own code for the rest."""
    if service == "ec2":
        return lambda reason: errors.unauthorized_operation(
            f"You are not authorized to perform this operation. {reason}"
        )
    return errors.unauthorized_operation


def authorize(authority: Authority, asked: Asked) -> None:
    """Refuse what the caller's policies do not allow."""
    if authority.principal.is_root or (asked.service, asked.action) in DECIDED_BY_OPERATION:
        return
    authority.check(f"{asked.service}:{asked.action}", targets_of(asked))
    authorize_tags(authority, asked)


def authorize_tags(authority: Authority, asked: Asked) -> None:
    """EC2: tags that are given to what is made need ec2:CreateTags as well."""
    if asked.service != "ec2":
        return
    for kind, tags in tags_by_kind(asked).items():
        authority.check("ec2:CreateTags", [_tagged(asked.ec2_arn(kind, "*"), asked.action, tags)])


def authorize_copied_tags(context: RequestContext, action: str, kind: str, tags: Sequence[Mapping[str, str]]) -> None:
    """The same for tags that what is made takes over from what it is made of."""
    if tags:
        arn = resource_names.arn(context.session, context.account_id, kind, "*")
        found = {tag["Key"]: tag["Value"] for tag in tags}
        context.authority.check("ec2:CreateTags", [_tagged(arn, action, found)])


def _tagged(arn: str, action: str, tags: Mapping[str, str]) -> Target:
    return Target(arn=arn, values={}, tags=tags, more={"ec2:createaction": (action,)})
