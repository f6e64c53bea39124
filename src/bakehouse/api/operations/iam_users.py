"""IAM users and their access keys."""

from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.iam_pages import page
from bakehouse.api.registry import operation
from bakehouse.database.models import Account, IamUser
from bakehouse.domain.iam import identity_tags, users
from bakehouse.domain.iam.principals import PrincipalKind
from bakehouse.errors import iam


def _item(user: IamUser) -> dict[str, Any]:
    return {
        "Path": user.path,
        "UserName": user.user_name,
        "UserId": user.user_id,
        "Arn": users.arn_of(user),
        "CreateDate": user.created_at,
    }


def _get(context: RequestContext, request: Parameters) -> IamUser:
    return users.get(context.session, context.account_id, request["UserName"])


def _named_or_caller(context: RequestContext, request: Parameters) -> IamUser | None:
    """The user a request names, else the caller; None for the account's root."""
    if "UserName" in request:
        return _get(context, request)
    if context.principal.kind is PrincipalKind.ASSUMED_ROLE:
        raise iam.validation_error("Must specify userName when calling with non-User credentials")
    if context.principal.is_root:
        return None
    return users.get(context.session, context.account_id, str(context.principal.user_name))


@operation("iam", "CreateUser", mutates=True, honours=("Path", "Tags", "UserName"))
def create_user(context: RequestContext, request: Parameters) -> Reply:
    """Make a user, who may nothing yet."""
    user = users.create(
        context.session,
        context.account_id,
        request["UserName"],
        path=request.get("Path"),
        tags=request.get("Tags", ()),
    )
    return {"User": {**_item(user), "Tags": identity_tags.of(context.session, user.user_id)}}


@operation("iam", "GetUser", mutates=False, honours=("UserName",))
def get_user(context: RequestContext, request: Parameters) -> Reply:
    """The user of a name, or the caller."""
    user = _named_or_caller(context, request)
    if user is None:
        account = context.session.get_one(Account, context.account_id)
        root = {"UserId": account.account_id, "Arn": context.principal.policy_arn, "CreateDate": account.created_at}
        return {"User": root}
    return {"User": {**_item(user), "Tags": identity_tags.of(context.session, user.user_id)}}


@operation("iam", "ListUsers", mutates=False, honours=("PathPrefix",), paged=page("Users", "UserId"))
def list_users(context: RequestContext, request: Parameters) -> Reply:
    """The account's users."""
    found = users.visible(context.session, context.account_id, request.get("PathPrefix", "/"))
    return {"Users": [_item(user) for user in found]}


@operation("iam", "UpdateUser", mutates=True, honours=("NewPath", "NewUserName", "UserName"))
def update_user(context: RequestContext, request: Parameters) -> Reply:
    """Rename or move a user."""
    users.update(
        context.session,
        _get(context, request),
        new_name=request.get("NewUserName"),
        new_path=request.get("NewPath"),
    )
    return {}


@operation("iam", "DeleteUser", mutates=True, honours=("UserName",))
def delete_user(context: RequestContext, request: Parameters) -> Reply:
    """Delete a user that has no keys and policies any more."""
    users.delete(context.session, _get(context, request))
    return {}


@operation(
    "iam",
    "ListGroupsForUser",
    mutates=False,
    honours=("UserName",),
    paged=page("Groups", "GroupId"),
)
def list_groups_for_user(context: RequestContext, request: Parameters) -> Reply:
    """Of a user that exists, none: this service has no groups of users."""
    _get(context, request)
    return {"Groups": []}


@operation("iam", "TagUser", mutates=True, honours=("Tags", "UserName"))
def tag_user(context: RequestContext, request: Parameters) -> Reply:
    """Write tags on a user."""
    identity_tags.put(context.session, _get(context, request).user_id, request["Tags"])
    return {}


@operation("iam", "UntagUser", mutates=True, honours=("TagKeys", "UserName"))
def untag_user(context: RequestContext, request: Parameters) -> Reply:
    """Remove tags of a user."""
    identity_tags.remove(context.session, _get(context, request).user_id, request["TagKeys"])
    return {}


@operation("iam", "ListUserTags", mutates=False, honours=("UserName",), paged=page("Tags", "Key"))
def list_user_tags(context: RequestContext, request: Parameters) -> Reply:
    """The tags of a user."""
    return {"Tags": identity_tags.of(context.session, _get(context, request).user_id)}


# --- access keys: a user's, or without a name the caller's own ---


@operation("iam", "CreateAccessKey", mutates=True, honours=("UserName",))
def create_access_key(context: RequestContext, request: Parameters) -> Reply:
    """Make a key; its secret is in this answer and in no other."""
    user = _named_or_caller(context, request)
    key = users.create_key(context.session, context.account_id, user)
    return {
        "AccessKey": {
            "UserName": user.user_name if user else "root",
            "AccessKeyId": key.access_key_id,
            "Status": "Active",
            "SecretAccessKey": key.secret_access_key,
            "CreateDate": key.created_at,
        }
    }


@operation(
    "iam",
    "ListAccessKeys",
    mutates=False,
    honours=("UserName",),
    paged=page("AccessKeyMetadata", "AccessKeyId"),
)
def list_access_keys(context: RequestContext, request: Parameters) -> Reply:
    """The ids of keys, without their secrets."""
    user = _named_or_caller(context, request)
    return {
        "AccessKeyMetadata": [
            {
                "UserName": user.user_name if user else None,
                "AccessKeyId": key.access_key_id,
                "Status": "Active" if key.is_active else "Inactive",
                "CreateDate": key.created_at,
            }
            for key in users.keys_of(context.session, context.account_id, user)
        ]
    }


@operation("iam", "UpdateAccessKey", mutates=True, honours=("AccessKeyId", "Status", "UserName"))
def update_access_key(context: RequestContext, request: Parameters) -> Reply:
    """Switch a key on or off."""
    if request["Status"] == "Expired":
        raise iam.invalid_input("A key cannot be made to have expired.")
    users.update_key(
        context.session,
        context.account_id,
        _named_or_caller(context, request),
        request["AccessKeyId"],
        is_active=request["Status"] == "Active",
    )
    return {}


@operation("iam", "DeleteAccessKey", mutates=True, honours=("AccessKeyId", "UserName"))
def delete_access_key(context: RequestContext, request: Parameters) -> Reply:
    """Delete a key; requests signed with it are refused from then on."""
    user = _named_or_caller(context, request)
    users.delete_key(context.session, context.account_id, user, request["AccessKeyId"])
    return {}
