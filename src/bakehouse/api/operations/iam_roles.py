"""IAM roles."""

from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.iam_pages import page
from bakehouse.api.registry import operation
from bakehouse.database.models import IamRole
from bakehouse.domain.iam import identity_tags, roles


def role_item(role: IamRole) -> dict[str, Any]:
    """The Role shape; documents are percent-encoded, as IAM's are."""
    return {
        "Path": role.path,
        "RoleName": role.role_name,
        "RoleId": role.role_id,
        "Arn": roles.arn_of(role),
        "CreateDate": role.created_at,
        "AssumeRolePolicyDocument": quote(role.trust_policy, safe=""),
        "Description": role.description,
        "MaxSessionDuration": role.max_session_duration_s,
    }


def _with_tags(session: Session, role: IamRole) -> dict[str, Any]:
    return {**role_item(role), "Tags": identity_tags.of(session, role.role_id)}


def _get(context: RequestContext, request: Parameters) -> IamRole:
    return roles.get(context.session, context.account_id, request["RoleName"])


@operation(
    "iam",
    "CreateRole",
    mutates=True,
    honours=("AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Path", "RoleName", "Tags"),
)
def create_role(context: RequestContext, request: Parameters) -> Reply:
    """Make a role that those may assume whom its trust policy names."""
    role = roles.create(
        context.session,
        context.account_id,
        request["RoleName"],
        request["AssumeRolePolicyDocument"],
        path=request.get("Path"),
        description=request.get("Description"),
        max_session_duration_s=request.get("MaxSessionDuration"),
        tags=request.get("Tags", ()),
    )
    return {"Role": _with_tags(context.session, role)}


@operation("iam", "GetRole", mutates=False, honours=("RoleName",))
def get_role(context: RequestContext, request: Parameters) -> Reply:
    """The role of a name."""
    return {"Role": _with_tags(context.session, _get(context, request))}


@operation("iam", "ListRoles", mutates=False, honours=("PathPrefix",), paged=page("Roles", "RoleId"))
def list_roles(context: RequestContext, request: Parameters) -> Reply:
    """The account's roles."""
    found = roles.visible(context.session, context.account_id, request.get("PathPrefix", "/"))
    return {"Roles": [role_item(role) for role in found]}


@operation("iam", "UpdateRole", mutates=True, honours=("Description", "MaxSessionDuration", "RoleName"))
def update_role(context: RequestContext, request: Parameters) -> Reply:
    """Change what a role says of itself, and how long its sessions may last."""
    roles.update(
        _get(context, request),
        description=request.get("Description", ""),
        max_session_duration_s=request.get("MaxSessionDuration", roles.DEFAULT_SESSION_S),
    )
    return {}


@operation(
    "iam", "UpdateRoleDescription", mutates=True, honours=("Description", "RoleName"), keeps_empty=("Description",)
)
def update_role_description(context: RequestContext, request: Parameters) -> Reply:
    """Change what a role says of itself."""
    role = _get(context, request)
    roles.update(role, description=request["Description"], max_session_duration_s=None)
    return {"Role": role_item(role)}


@operation("iam", "UpdateAssumeRolePolicy", mutates=True, honours=("PolicyDocument", "RoleName"))
def update_assume_role_policy(context: RequestContext, request: Parameters) -> Reply:
    """Say anew whom a role trusts; sessions that are there stay."""
    roles.set_trust_policy(context.session, _get(context, request), request["PolicyDocument"])
    return {}


@operation("iam", "DeleteRole", mutates=True, honours=("RoleName",))
def delete_role(context: RequestContext, request: Parameters) -> Reply:
    """Delete a role that has no policies and is in no instance profile."""
    roles.delete(context.session, _get(context, request))
    return {}


@operation("iam", "TagRole", mutates=True, honours=("RoleName", "Tags"))
def tag_role(context: RequestContext, request: Parameters) -> Reply:
    """Write tags on a role."""
    identity_tags.put(context.session, _get(context, request).role_id, request["Tags"])
    return {}


@operation("iam", "UntagRole", mutates=True, honours=("RoleName", "TagKeys"))
def untag_role(context: RequestContext, request: Parameters) -> Reply:
    """Remove tags of a role."""
    identity_tags.remove(context.session, _get(context, request).role_id, request["TagKeys"])
    return {}


@operation("iam", "ListRoleTags", mutates=False, honours=("RoleName",), paged=page("Tags", "Key"))
def list_role_tags(context: RequestContext, request: Parameters) -> Reply:
    """The tags of a role."""
    return {"Tags": identity_tags.of(context.session, _get(context, request).role_id)}
