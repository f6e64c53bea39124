"""A launch template at a launch: its parameters under those of the request, checked as if a client had sent them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, RequestContext
from bakehouse.domain import launch_templates, tags, template_data
from bakehouse.errors import ApiError

# Gives launch parameters back as RunInstances would receive them, or raises what it would answer.
AsIfSent = Callable[[Mapping[str, Any]], dict[str, Any]]

# What every launch needs and no template has.
_COUNTS = {"MinCount": 1, "MaxCount": 1}
# What RunInstances has no parameter for at all: it is for fleets.
_NOT_OF_LAUNCHES = "InstanceRequirements"


@dataclass(frozen=True, kw_only=True)
class TemplateUse:
    """The version of a template that a launch uses; ``tagged`` are the types its TagSpecifications name."""

    template_id: str
    version_number: int
    tagged: frozenset[str]

    def tags_for(self, resource_type: str) -> list[tags.ApiTag]:
        """The service's own tags on what is launched: on the instance, and on what the template tags besides."""
        if resource_type != "instance" and resource_type not in self.tagged:
            return []
        return [
            {"Key": "aws:ec2launchtemplate:id", "Value": self.template_id},
            {"Key": "aws:ec2launchtemplate:version", "Value": str(self.version_number)},
        ]


def under_request(
    context: RequestContext, request: Parameters, as_if_sent: AsIfSent
) -> tuple[Parameters, TemplateUse | None]:
    """The parameters of a launch with those of its template, if it names one, put under them."""
    named = request.get("LaunchTemplate")
    if named is None:
        return request, None
    template = launch_templates.get(
        context.session,
        context.account_id,
        template_id=named.get("LaunchTemplateId"),
        name=named.get("LaunchTemplateName"),
    )
    version = launch_templates.get_version(context.session, template, named.get("Version", launch_templates.DEFAULT))
    data = template_data.as_launch(template_data.given(version.data))
    own = {name: value for name, value in request.items() if name != "LaunchTemplate"}
    merged = template_data.override(data, own)
    if _NOT_OF_LAUNCHES in merged:
        raise errors.unsupported_parameter(_NOT_OF_LAUNCHES)
    use = TemplateUse(
        template_id=template.launch_template_id,
        version_number=version.version_number,
        tagged=frozenset(one["ResourceType"] for one in data.get("TagSpecifications", ())),
    )
    return as_if_sent(merged), use


def refusals(data: Mapping[str, Any], as_if_sent: AsIfSent) -> list[ApiError]:
    """What a launch from the data would be refused for, at most one error for each parameter."""
    found = []
    for name, value in template_data.as_launch(data).items():
        if name == _NOT_OF_LAUNCHES:
            found.append(errors.unsupported_parameter(name))
            continue
        try:
            as_if_sent({**_COUNTS, name: value})
        except ApiError as error:
            found.append(error)
    return found
