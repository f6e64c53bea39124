"""Create, Describe, Modify and Delete LaunchTemplate, and GetLaunchTemplateData."""

from collections.abc import Mapping, Sequence
from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.image_alias import with_image_id
from bakehouse.api.operations.instances import as_if_sent
from bakehouse.api.operations.template_use import refusals
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import LaunchTemplate
from bakehouse.domain import instance_template, instances, launch_request, launch_templates, tags
from bakehouse.errors import ApiError

RESOURCE_TYPE = "launch-template"
# A device is left out by an empty NoDevice; every other empty text counts as absent, as in RunInstances.
KEEPS_EMPTY = ("LaunchTemplateData.BlockDeviceMappings[].NoDevice",)
# What a launch from the template may still add: not a mistake of the template's.
_MAY_BE_ADDED = {"MissingInput", "MissingParameter", "VPCIdNotSpecified"}


def template_named(context: RequestContext, request: Parameters) -> LaunchTemplate:
    """The template that a request names by LaunchTemplateId or LaunchTemplateName."""
    return launch_templates.get(
        context.session,
        context.account_id,
        template_id=request.get("LaunchTemplateId"),
        name=request.get("LaunchTemplateName"),
    )


def template_item(template: LaunchTemplate, own_tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The LaunchTemplate shape."""
    return {
        "CreateTime": template.created_at,
        "CreatedBy": template.created_by,
        "DefaultVersionNumber": template.default_version_number,
        "LatestVersionNumber": template.latest_version_number,
        "LaunchTemplateId": template.launch_template_id,
        "LaunchTemplateName": template.name,
        "Tags": list(own_tags),
    }


def _item(context: RequestContext, template: LaunchTemplate) -> dict[str, Any]:
    template_id = template.launch_template_id
    return template_item(template, tags.tags_of(context.session, context.account_id, [template_id])[template_id])


def warning_of(context: RequestContext, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ValidationWarning shape: what a launch with this data, and nothing else, would be refused for now."""
    found = refusals(data, as_if_sent)
    if not found and "ImageId" in data:
        try:
            request = with_image_id(context, data)
            launch_request.read_launch_request(context.session, context.account_id, request, context.host.settings)
        except ApiError as error:
            found = [] if error.code in _MAY_BE_ADDED else [error]
    return {"Errors": [{"Code": each.code, "Message": each.message} for each in found]} if found else None


@operation(
    "ec2",
    "CreateLaunchTemplate",
    mutates=True,
    honours=("LaunchTemplateData", "LaunchTemplateName", "TagSpecifications", "VersionDescription"),
    keeps_empty=KEEPS_EMPTY,
)
def create_launch_template(context: RequestContext, request: Parameters) -> Reply:
    """Keep launch parameters under a name; what a launch would refuse is kept too, and answered as a warning."""
    wanted = tags.tags_for(request.get("TagSpecifications"), RESOURCE_TYPE)
    template = launch_templates.create(
        context.session,
        context.account_id,
        name=request["LaunchTemplateName"],
        data=request["LaunchTemplateData"],
        description=request.get("VersionDescription", ""),
        created_by=context.principal.arn,
    )
    tags.put_tags(context.session, context.account_id, template.launch_template_id, RESOURCE_TYPE, wanted)
    return {
        "LaunchTemplate": template_item(template, wanted),
        "Warning": warning_of(context, request["LaunchTemplateData"]),
    }


@operation(
    "ec2",
    "DescribeLaunchTemplates",
    mutates=False,
    honours=("LaunchTemplateIds", "LaunchTemplateNames"),
    harmless={"IncludeManagedResources": (True, False)},
    filters=FilterTable(
        item="LaunchTemplates[]",
        paths={"create-time": "CreateTime", "launch-template-name": "LaunchTemplateName"},
        tags="Tags",
    ),
    paged=Paged(result="LaunchTemplates", minimum=1, maximum=200, key="LaunchTemplateId"),
)
def describe_launch_templates(context: RequestContext, request: Parameters) -> Reply:
    """List the account's launch templates."""
    found = launch_templates.visible(
        context.session,
        context.account_id,
        request.get("LaunchTemplateIds", ()),
        request.get("LaunchTemplateNames", ()),
    )
    by_id = tags.tags_of(context.session, context.account_id, [one.launch_template_id for one in found])
    return {"LaunchTemplates": [template_item(one, by_id[one.launch_template_id]) for one in found]}


@operation(
    "ec2",
    "ModifyLaunchTemplate",
    mutates=True,
    honours=("DefaultVersion", "LaunchTemplateId", "LaunchTemplateName"),
    own_codes=("LaunchTemplateName",),
)
def modify_launch_template(context: RequestContext, request: Parameters) -> Reply:
    """Set the default version."""
    template = template_named(context, request)
    if "DefaultVersion" not in request:
        raise errors.missing_parameter("SetDefaultVersion")
    launch_templates.set_default(context.session, template, request["DefaultVersion"])
    return {"LaunchTemplate": _item(context, template)}


@operation(
    "ec2",
    "DeleteLaunchTemplate",
    mutates=True,
    honours=("LaunchTemplateId", "LaunchTemplateName"),
    own_codes=("LaunchTemplateName",),
)
def delete_launch_template(context: RequestContext, request: Parameters) -> Reply:
    """Delete a template with all its versions."""
    template = template_named(context, request)
    item = _item(context, template)
    launch_templates.delete(context.session, template)
    return {"LaunchTemplate": item}


@operation("ec2", "GetLaunchTemplateData", mutates=False, honours=("InstanceId",))
def get_launch_template_data(context: RequestContext, request: Parameters) -> Reply:
    """Describe an instance as the data of a template that launches another one like it."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    return {"LaunchTemplateData": instance_template.data_of(context.session, instance)}
