"""IAM instance profiles."""

from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.iam_pages import page
from bakehouse.api.operations.iam_roles import role_item
from bakehouse.api.registry import operation
from bakehouse.database.models import InstanceProfile
from bakehouse.domain.iam import identity_tags, instance_profiles, roles
from bakehouse.domain.iam.passing import check_pass_role


def _item(context: RequestContext, profile: InstanceProfile) -> dict[str, Any]:
    role = instance_profiles.role_of(context.session, profile)
    return {
        "Path": profile.path,
        "InstanceProfileName": profile.profile_name,
        "InstanceProfileId": profile.profile_id,
        "Arn": instance_profiles.arn_of(profile),
        "CreateDate": profile.created_at,
        "Roles": [role_item(role)] if role else [],
    }


def _with_tags(context: RequestContext, profile: InstanceProfile) -> dict[str, Any]:
    return {**_item(context, profile), "Tags": identity_tags.of(context.session, profile.profile_id)}


def _get(context: RequestContext, request: Parameters) -> InstanceProfile:
    return instance_profiles.get(context.session, context.account_id, request["InstanceProfileName"])


@operation("iam", "CreateInstanceProfile", mutates=True, honours=("InstanceProfileName", "Path", "Tags"))
def create_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Make a profile, which hands out no role yet."""
    profile = instance_profiles.create(
        context.session,
        context.account_id,
        request["InstanceProfileName"],
        path=request.get("Path"),
        tags=request.get("Tags", ()),
    )
    return {"InstanceProfile": _with_tags(context, profile)}


@operation("iam", "GetInstanceProfile", mutates=False, honours=("InstanceProfileName",))
def get_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """The profile of a name, with its role."""
    return {"InstanceProfile": _with_tags(context, _get(context, request))}


@operation(
    "iam",
    "ListInstanceProfiles",
    mutates=False,
    honours=("PathPrefix",),
    paged=page("InstanceProfiles", "InstanceProfileId"),
)
def list_instance_profiles(context: RequestContext, request: Parameters) -> Reply:
    """The account's profiles."""
    found = instance_profiles.visible(context.session, context.account_id, request.get("PathPrefix", "/"))
    return {"InstanceProfiles": [_item(context, profile) for profile in found]}


@operation(
    "iam",
    "ListInstanceProfilesForRole",
    mutates=False,
    honours=("RoleName",),
    paged=page("InstanceProfiles", "InstanceProfileId"),
)
def list_instance_profiles_for_role(context: RequestContext, request: Parameters) -> Reply:
    """The profiles that hand out a role."""
    role = roles.get(context.session, context.account_id, request["RoleName"])
    return {"InstanceProfiles": [_item(context, one) for one in roles.profiles_of(context.session, role)]}


@operation("iam", "AddRoleToInstanceProfile", mutates=True, honours=("InstanceProfileName", "RoleName"))
def add_role_to_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Let a profile hand out a role, which whoever does so must be allowed to pass on."""
    profile = _get(context, request)
    role = roles.get(context.session, context.account_id, request["RoleName"])
    check_pass_role(context.authority, role)
    instance_profiles.add_role(context.session, profile, role)
    return {}


@operation("iam", "RemoveRoleFromInstanceProfile", mutates=True, honours=("InstanceProfileName", "RoleName"))
def remove_role_from_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Let a profile hand out its role no more."""
    profile = _get(context, request)
    role = roles.get(context.session, context.account_id, request["RoleName"])
    instance_profiles.remove_role(context.session, profile, role)
    return {}


@operation("iam", "DeleteInstanceProfile", mutates=True, honours=("InstanceProfileName",))
def delete_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Delete a profile without a role."""
    instance_profiles.delete(context.session, _get(context, request))
    return {}


@operation("iam", "TagInstanceProfile", mutates=True, honours=("InstanceProfileName", "Tags"))
def tag_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Write tags on a profile."""
    identity_tags.put(context.session, _get(context, request).profile_id, request["Tags"])
    return {}


@operation("iam", "UntagInstanceProfile", mutates=True, honours=("InstanceProfileName", "TagKeys"))
def untag_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Remove tags of a profile."""
    identity_tags.remove(context.session, _get(context, request).profile_id, request["TagKeys"])
    return {}


@operation(
    "iam",
    "ListInstanceProfileTags",
    mutates=False,
    honours=("InstanceProfileName",),
    paged=page("Tags", "Key"),
)
def list_instance_profile_tags(context: RequestContext, request: Parameters) -> Reply:
    """The tags of a profile."""
    return {"Tags": identity_tags.of(context.session, _get(context, request).profile_id)}
