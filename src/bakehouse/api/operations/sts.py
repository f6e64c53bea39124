"""STS: who am I. Every client asks first."""

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.registry import operation


@operation("sts", "GetCallerIdentity", mutates=False)
def get_caller_identity(context: RequestContext, request: Parameters) -> Reply:
    """The account and principal of the key that signed."""
    del request
    return {"Account": context.account_id, "Arn": context.principal_arn, "UserId": context.account_id}
