"""STS: who am I, and keys for a while."""

from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.registry import operation
from bakehouse.database.models import KeySession
from bakehouse.domain.iam import sessions


def _credentials(made: KeySession) -> dict[str, Any]:
    return {
        "AccessKeyId": made.access_key_id,
        "SecretAccessKey": made.secret_access_key,
        "SessionToken": made.session_token,
        "Expiration": made.expires_at,
    }


@operation("sts", "GetCallerIdentity", mutates=False)
def get_caller_identity(context: RequestContext, request: Parameters) -> Reply:
    """The account and principal of the key that signed."""
    del request
    return {"Account": context.account_id, "Arn": context.principal.arn, "UserId": context.principal.user_id}


@operation(
    "sts",
    "AssumeRole",
    mutates=True,
    honours=("DurationSeconds", "ExternalId", "Policy", "PolicyArns[].arn", "RoleArn", "RoleSessionName"),
)
def assume_role(context: RequestContext, request: Parameters) -> Reply:
    """Keys of a role that trusts the caller."""
    made, role = sessions.assume_role(
        context.session,
        context.authority,
        request["RoleArn"],
        request["RoleSessionName"],
        duration_s=request.get("DurationSeconds"),
        external_id=request.get("ExternalId"),
        policy=request.get("Policy"),
        policy_arns=[one["arn"] for one in request.get("PolicyArns", ())],
    )
    return {
        "Credentials": _credentials(made),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.role_id}:{made.session_name}",
            "Arn": sessions.assumed_arn(role, made.session_name),
        },
    }


@operation("sts", "GetSessionToken", mutates=True, honours=("DurationSeconds",))
def get_session_token(context: RequestContext, request: Parameters) -> Reply:
    """Keys with the caller's own rights."""
    made = sessions.user_session(context.session, context.principal, request.get("DurationSeconds"))
    return {"Credentials": _credentials(made)}
