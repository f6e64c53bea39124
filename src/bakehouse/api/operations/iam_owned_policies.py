"""Policies of users and roles: inline ones, and managed ones that are attached."""

from urllib.parse import quote

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.iam_pages import page
from bakehouse.api.registry import operation
from bakehouse.domain.iam import policies, roles, users

_NAMES = page("PolicyNames")
_ATTACHED = page("AttachedPolicies", "PolicyArn")


def _user_id(context: RequestContext, request: Parameters) -> str:
    return users.get(context.session, context.account_id, request["UserName"]).user_id


def _role_id(context: RequestContext, request: Parameters) -> str:
    return roles.get(context.session, context.account_id, request["RoleName"]).role_id


def _put(context: RequestContext, owner_id: str, request: Parameters) -> Reply:
    policies.put_inline(context.session, owner_id, request["PolicyName"], request["PolicyDocument"])
    return {}


def _get(context: RequestContext, owner_id: str, request: Parameters) -> Reply:
    document = policies.get_inline(context.session, owner_id, request["PolicyName"])
    return {"PolicyName": request["PolicyName"], "PolicyDocument": quote(document, safe="")}


def _attach(context: RequestContext, owner_id: str, request: Parameters) -> Reply:
    policies.attach(context.session, context.account_id, owner_id, request["PolicyArn"])
    return {}


def _attached(context: RequestContext, owner_id: str, request: Parameters) -> Reply:
    """PathPrefix is the path between ``policy`` and the name."""
    found = [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
        for arn in policies.attached_arns(context.session, owner_id)
        if arn.split(":", 5)[5].removeprefix("policy").startswith(request.get("PathPrefix", "/"))
    ]
    return {"AttachedPolicies": found}


@operation("iam", "PutUserPolicy", mutates=True, honours=("PolicyDocument", "PolicyName", "UserName"))
def put_user_policy(context: RequestContext, request: Parameters) -> Reply:
    """Write an inline policy of a user."""
    return _put(context, _user_id(context, request), request)


@operation("iam", "GetUserPolicy", mutates=False, honours=("PolicyName", "UserName"))
def get_user_policy(context: RequestContext, request: Parameters) -> Reply:
    """Read an inline policy of a user."""
    return {"UserName": request["UserName"], **_get(context, _user_id(context, request), request)}


@operation("iam", "ListUserPolicies", mutates=False, honours=("UserName",), paged=_NAMES)
def list_user_policies(context: RequestContext, request: Parameters) -> Reply:
    """The names of a user's inline policies."""
    return {"PolicyNames": policies.inline_names(context.session, _user_id(context, request))}


@operation("iam", "DeleteUserPolicy", mutates=True, honours=("PolicyName", "UserName"))
def delete_user_policy(context: RequestContext, request: Parameters) -> Reply:
    """Delete an inline policy of a user."""
    policies.delete_inline(context.session, _user_id(context, request), request["PolicyName"])
    return {}


@operation("iam", "AttachUserPolicy", mutates=True, honours=("PolicyArn", "UserName"))
def attach_user_policy(context: RequestContext, request: Parameters) -> Reply:
    """Attach a managed policy to a user."""
    return _attach(context, _user_id(context, request), request)


@operation("iam", "DetachUserPolicy", mutates=True, honours=("PolicyArn", "UserName"))
def detach_user_policy(context: RequestContext, request: Parameters) -> Reply:
    """Detach a managed policy from a user."""
    policies.detach(context.session, _user_id(context, request), request["PolicyArn"])
    return {}


@operation("iam", "ListAttachedUserPolicies", mutates=False, honours=("PathPrefix", "UserName"), paged=_ATTACHED)
def list_attached_user_policies(context: RequestContext, request: Parameters) -> Reply:
    """The managed policies of a user."""
    return _attached(context, _user_id(context, request), request)


@operation("iam", "PutRolePolicy", mutates=True, honours=("PolicyDocument", "PolicyName", "RoleName"))
def put_role_policy(context: RequestContext, request: Parameters) -> Reply:
    """Write an inline policy of a role."""
    return _put(context, _role_id(context, request), request)


@operation("iam", "GetRolePolicy", mutates=False, honours=("PolicyName", "RoleName"))
def get_role_policy(context: RequestContext, request: Parameters) -> Reply:
    """Read an inline policy of a role."""
    return {"RoleName": request["RoleName"], **_get(context, _role_id(context, request), request)}


@operation("iam", "ListRolePolicies", mutates=False, honours=("RoleName",), paged=_NAMES)
def list_role_policies(context: RequestContext, request: Parameters) -> Reply:
    """The names of a role's inline policies."""
    return {"PolicyNames": policies.inline_names(context.session, _role_id(context, request))}


@operation("iam", "DeleteRolePolicy", mutates=True, honours=("PolicyName", "RoleName"))
def delete_role_policy(context: RequestContext, request: Parameters) -> Reply:
    """Delete an inline policy of a role."""
    policies.delete_inline(context.session, _role_id(context, request), request["PolicyName"])
    return {}


@operation("iam", "AttachRolePolicy", mutates=True, honours=("PolicyArn", "RoleName"))
def attach_role_policy(context: RequestContext, request: Parameters) -> Reply:
    """Attach a managed policy to a role."""
    return _attach(context, _role_id(context, request), request)


@operation("iam", "DetachRolePolicy", mutates=True, honours=("PolicyArn", "RoleName"))
def detach_role_policy(context: RequestContext, request: Parameters) -> Reply:
    """Detach a managed policy from a role."""
    policies.detach(context.session, _role_id(context, request), request["PolicyArn"])
    return {}


@operation("iam", "ListAttachedRolePolicies", mutates=False, honours=("PathPrefix", "RoleName"), paged=_ATTACHED)
def list_attached_role_policies(context: RequestContext, request: Parameters) -> Reply:
    """The managed policies of a role."""
    return _attached(context, _role_id(context, request), request)
