"""Managed policies: a customer's, and Amazon's few; what an account has of IAM at all."""

import re
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.iam_pages import page
from bakehouse.api.registry import operation
from bakehouse.database.models import Account, IamRole, IamUser, ManagedPolicy, ManagedPolicyVersion
from bakehouse.domain.iam import (
    amazon_policies,
    identity_tags,
    instance_profiles,
    managed_policies,
    policies,
    roles,
    users,
)
from bakehouse.domain.iam.amazon_policies import AmazonPolicy
from bakehouse.errors import iam

_VERSION = re.compile(r"v([1-9][0-9]{0,8})")


def _item(policy: ManagedPolicy, count: int) -> dict[str, Any]:
    return {
        "PolicyName": policy.policy_name,
        "PolicyId": policy.policy_id,
        "Arn": managed_policies.arn_of(policy),
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": count,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": policy.created_at,
        "UpdateDate": policy.updated_at,
    }


def _amazons_item(policy: AmazonPolicy, count: int) -> dict[str, Any]:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": "v1",
        "AttachmentCount": count,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": policy.created_at,
        "UpdateDate": policy.created_at,
    }


def _get(context: RequestContext, request: Parameters) -> ManagedPolicy:
    """The account's own policy that a request names."""
    return managed_policies.get(context.session, context.account_id, request["PolicyArn"])


def _number(text: str) -> int:
    match = _VERSION.fullmatch(text)
    if match is None:
        raise iam.validation_error(f"The policy version {text[:32]} is not of the form v1")
    return int(match[1])


def _version_item(policy: ManagedPolicy, version: ManagedPolicyVersion, *, has_document: bool) -> dict[str, Any]:
    return {
        "Document": quote(version.document, safe="") if has_document else None,
        "VersionId": f"v{version.number}",
        "IsDefaultVersion": version.number == policy.default_version,
        "CreateDate": version.created_at,
    }


def _amazons_version(policy: AmazonPolicy, *, has_document: bool) -> dict[str, Any]:
    return {
        "Document": quote(policy.document, safe="") if has_document else None,
        "VersionId": "v1",
        "IsDefaultVersion": True,
        "CreateDate": policy.created_at,
    }


@operation("iam", "CreatePolicy", mutates=True, honours=("Description", "Path", "PolicyDocument", "PolicyName", "Tags"))
def create_policy(context: RequestContext, request: Parameters) -> Reply:
    """Make a policy."""
    policy = managed_policies.create(
        context.session,
        context.account_id,
        request["PolicyName"],
        request["PolicyDocument"],
        path=request.get("Path"),
        description=request.get("Description"),
        tags=request.get("Tags", ()),
    )
    return {"Policy": {**_item(policy, 0), "Tags": identity_tags.of(context.session, policy.policy_id)}}


@operation("iam", "GetPolicy", mutates=False, honours=("PolicyArn",))
def get_policy(context: RequestContext, request: Parameters) -> Reply:
    """A policy without its document."""
    arn = request["PolicyArn"]
    amazons = amazon_policies.BY_ARN.get(arn)
    count = policies.attachment_counts(context.session, context.account_id, [arn]).get(arn, 0)
    if amazons is not None:
        return {"Policy": {**_amazons_item(amazons, count), "Description": amazons.description, "Tags": []}}
    policy = _get(context, request)
    tags = identity_tags.of(context.session, policy.policy_id)
    return {"Policy": {**_item(policy, count), "Description": policy.description, "Tags": tags}}


@operation(
    "iam",
    "ListPolicies",
    mutates=False,
    honours=("OnlyAttached", "PathPrefix", "PolicyUsageFilter", "Scope"),
    paged=page("Policies", "Arn"),
)
def list_policies(context: RequestContext, request: Parameters) -> Reply:
    """The account's own policies and Amazon's."""
    scope = request.get("Scope", "All")
    own = managed_policies.visible(context.session, context.account_id) if scope != "AWS" else []
    amazons = amazon_policies.BY_ARN.values() if scope != "Local" else ()
    arns = [*(managed_policies.arn_of(one) for one in own), *(one.arn for one in amazons)]
    counts = policies.attachment_counts(context.session, context.account_id, arns)
    items = [
        *(_item(one, counts.get(managed_policies.arn_of(one), 0)) for one in own),
        *(_amazons_item(one, counts.get(one.arn, 0)) for one in amazons),
    ]
    items = [item for item in items if item["Path"].startswith(request.get("PathPrefix", "/"))]
    if request.get("PolicyUsageFilter") == "PermissionsBoundary":
        return {"Policies": []}  # nothing here has a boundary
    return {"Policies": [item for item in items if item["AttachmentCount"] or not request.get("OnlyAttached")]}


@operation("iam", "DeletePolicy", mutates=True, honours=("PolicyArn",))
def delete_policy(context: RequestContext, request: Parameters) -> Reply:
    """Delete a policy that nobody has."""
    managed_policies.delete(context.session, _get(context, request))
    return {}


@operation("iam", "CreatePolicyVersion", mutates=True, honours=("PolicyArn", "PolicyDocument", "SetAsDefault"))
def create_policy_version(context: RequestContext, request: Parameters) -> Reply:
    """Add a version of a policy's document."""
    policy = _get(context, request)
    version = managed_policies.create_version(
        context.session, policy, request["PolicyDocument"], is_default=request.get("SetAsDefault", False)
    )
    return {"PolicyVersion": _version_item(policy, version, has_document=False)}


@operation("iam", "GetPolicyVersion", mutates=False, honours=("PolicyArn", "VersionId"))
def get_policy_version(context: RequestContext, request: Parameters) -> Reply:
    """A version with its document."""
    number = _number(request["VersionId"])
    amazons = amazon_policies.BY_ARN.get(request["PolicyArn"])
    if amazons is not None:
        if number != 1:
            raise managed_policies.not_found(amazons.arn)
        return {"PolicyVersion": _amazons_version(amazons, has_document=True)}
    policy = _get(context, request)
    version = managed_policies.get_version(context.session, policy, number)
    return {"PolicyVersion": _version_item(policy, version, has_document=True)}


@operation(
    "iam",
    "ListPolicyVersions",
    mutates=False,
    honours=("PolicyArn",),
    paged=page("Versions", "VersionId"),
)
def list_policy_versions(context: RequestContext, request: Parameters) -> Reply:
    """All versions, without their documents."""
    amazons = amazon_policies.BY_ARN.get(request["PolicyArn"])
    if amazons is not None:
        return {"Versions": [_amazons_version(amazons, has_document=False)]}
    policy = _get(context, request)
    found = managed_policies.versions(context.session, policy)
    return {"Versions": [_version_item(policy, version, has_document=False) for version in found]}


@operation("iam", "SetDefaultPolicyVersion", mutates=True, honours=("PolicyArn", "VersionId"))
def set_default_policy_version(context: RequestContext, request: Parameters) -> Reply:
    """Let another version count."""
    managed_policies.set_default(context.session, _get(context, request), _number(request["VersionId"]))
    return {}


@operation("iam", "DeletePolicyVersion", mutates=True, honours=("PolicyArn", "VersionId"))
def delete_policy_version(context: RequestContext, request: Parameters) -> Reply:
    """Delete a version that does not count."""
    managed_policies.delete_version(context.session, _get(context, request), _number(request["VersionId"]))
    return {}


@operation("iam", "TagPolicy", mutates=True, honours=("PolicyArn", "Tags"))
def tag_policy(context: RequestContext, request: Parameters) -> Reply:
    """Write tags on a policy."""
    identity_tags.put(context.session, _get(context, request).policy_id, request["Tags"])
    return {}


@operation("iam", "UntagPolicy", mutates=True, honours=("PolicyArn", "TagKeys"))
def untag_policy(context: RequestContext, request: Parameters) -> Reply:
    """Remove tags of a policy."""
    identity_tags.remove(context.session, _get(context, request).policy_id, request["TagKeys"])
    return {}


@operation("iam", "ListPolicyTags", mutates=False, honours=("PolicyArn",), paged=page("Tags", "Key"))
def list_policy_tags(context: RequestContext, request: Parameters) -> Reply:
    """The tags of a policy; Amazon's have none."""
    if request["PolicyArn"] in amazon_policies.BY_ARN:
        return {"Tags": []}
    return {"Tags": identity_tags.of(context.session, _get(context, request).policy_id)}


@operation(
    "iam",
    "ListEntitiesForPolicy",
    mutates=False,
    honours=("EntityFilter", "PathPrefix", "PolicyArn"),
    paged=page(("PolicyGroups", "PolicyUsers", "PolicyRoles"), ("GroupId", "UserId", "RoleId")),
)
def list_entities_for_policy(context: RequestContext, request: Parameters) -> Reply:
    """Who of the account has a policy."""
    arn = request["PolicyArn"]
    if managed_policies.find_document(context.session, context.account_id, arn) is None:
        raise managed_policies.not_found(arn)
    kind, prefix = request.get("EntityFilter"), request.get("PathPrefix", "/")
    owners = [
        owner for owner in policies.owners_of(context.session, context.account_id, arn) if owner.path.startswith(prefix)
    ]
    return {
        "PolicyGroups": [],
        "PolicyUsers": [
            {"UserName": one.user_name, "UserId": one.user_id}
            for one in owners
            if isinstance(one, IamUser) and kind in (None, "User")
        ],
        "PolicyRoles": [
            {"RoleName": one.role_name, "RoleId": one.role_id}
            for one in owners
            if isinstance(one, IamRole) and kind in (None, "Role")
        ],
    }


@operation("iam", "ListAccountAliases", mutates=False, paged=page("AccountAliases"))
def list_account_aliases(context: RequestContext, request: Parameters) -> Reply:
    """The account's alias, if it has one."""
    del request
    alias = context.session.get_one(Account, context.account_id).alias
    return {"AccountAliases": [alias] if alias else []}


@operation("iam", "GetAccountSummary", mutates=False)
def get_account_summary(context: RequestContext, request: Parameters) -> Reply:
    """How much of everything the account has, and may have."""
    del request
    return {"SummaryMap": _summary(context.session, context.account_id)}


def _summary(session: Session, account_id: str) -> dict[str, int]:
    return {
        "AccountAccessKeysPresent": int(bool(users.keys_of(session, account_id, None))),
        "AccessKeysPerUserQuota": users.MAX_KEYS,
        "Groups": 0,
        "InstanceProfiles": len(instance_profiles.visible(session, account_id)),
        "Policies": len(managed_policies.visible(session, account_id)),
        "Roles": len(roles.visible(session, account_id)),
        "Users": len(users.visible(session, account_id)),
        "UsersQuota": users.MAX_USERS,
    }
