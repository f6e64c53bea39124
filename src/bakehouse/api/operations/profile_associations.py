"""Associate, Disassociate, Replace and Describe IamInstanceProfileAssociations."""

from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.instance_items import profile_item
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Instance, InstanceProfile
from bakehouse.domain import profile_associations
from bakehouse.domain.iam.passing import check_pass_role, find_specified, remove_profile
from bakehouse.errors import missing_parameter


def _item(instance: Instance, state: str) -> dict[str, Any]:
    return {
        "AssociationId": instance.profile_association_id,
        "InstanceId": instance.instance_id,
        "IamInstanceProfile": profile_item(instance),
        "State": state,
        "Timestamp": instance.profile_associated_at,
    }


def _specified(context: RequestContext, request: Parameters) -> InstanceProfile:
    """The profile of a request, whose role the caller must be allowed to pass on."""
    found = find_specified(context.session, context.account_id, request.get("IamInstanceProfile"))
    if found is None:
        raise missing_parameter("IamInstanceProfile")
    check_pass_role(context.authority, found.role)
    return found.profile


@operation(
    "ec2",
    "AssociateIamInstanceProfile",
    mutates=True,
    honours=("IamInstanceProfile.Arn", "IamInstanceProfile.Name", "InstanceId"),
)
def associate_iam_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Give a profile to an instance; its metadata has credentials from now on."""
    instance = profile_associations.associate(
        context.session, context.account_id, request["InstanceId"], _specified(context, request)
    )
    return {"IamInstanceProfileAssociation": _item(instance, "associating")}


@operation("ec2", "DisassociateIamInstanceProfile", mutates=True, honours=("AssociationId",))
def disassociate_iam_instance_profile(context: RequestContext, request: Parameters) -> Reply:
    """Take an instance's profile away."""
    instance = profile_associations.get_instance(context.session, context.account_id, request["AssociationId"])
    reply = {"IamInstanceProfileAssociation": _item(instance, "disassociating")}
    remove_profile(instance)
    return reply


@operation(
    "ec2",
    "ReplaceIamInstanceProfileAssociation",
    mutates=True,
    honours=("AssociationId", "IamInstanceProfile.Arn", "IamInstanceProfile.Name"),
)
def replace_iam_instance_profile_association(context: RequestContext, request: Parameters) -> Reply:
    """Give an instance another profile, under a new association."""
    instance = profile_associations.get_instance(context.session, context.account_id, request["AssociationId"])
    profile_associations.replace(instance, _specified(context, request))
    return {"IamInstanceProfileAssociation": _item(instance, "associating")}


@operation(
    "ec2",
    "DescribeIamInstanceProfileAssociations",
    mutates=False,
    honours=("AssociationIds",),
    filters=FilterTable(item="IamInstanceProfileAssociations[]", paths={"instance-id": "InstanceId", "state": "State"}),
    paged=Paged(result="IamInstanceProfileAssociations", key="AssociationId", ids=("AssociationIds",)),
)
def describe_iam_instance_profile_associations(context: RequestContext, request: Parameters) -> Reply:
    """Which instances have which profiles."""
    wanted = request.get("AssociationIds", ())
    for association_id in wanted:
        profile_associations.get_instance(context.session, context.account_id, association_id)
    found = profile_associations.visible(context.session, context.account_id, wanted)
    return {"IamInstanceProfileAssociations": [_item(instance, "associated") for instance in found]}
