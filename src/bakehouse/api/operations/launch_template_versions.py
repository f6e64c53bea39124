"""CreateLaunchTemplateVersion, DescribeLaunchTemplateVersions, DeleteLaunchTemplateVersions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.image_alias import image_id_of, with_image_id
from bakehouse.api.operations.launch_templates import KEEPS_EMPTY, template_named, warning_of
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import LaunchTemplate, LaunchTemplateVersion
from bakehouse.domain import launch_templates, template_data
from bakehouse.domain.launch_templates import Deletion, NotDeleted

_DATA = "LaunchTemplateData"
_REASONS = {
    NotDeleted.UNKNOWN: "The launch template version does not exist.",
    NotDeleted.IS_DEFAULT: "The default version of a launch template cannot be deleted.",
}


class _Listed(Mapping[str, Any]):
    """A version of a list, whose data is read when it is asked for: a list is long, a page of it is not."""

    def __init__(self, facts: Mapping[str, Any], read_data: Callable[[], Mapping[str, Any]]) -> None:
        self._facts = facts
        self._read_data = read_data

    def __getitem__(self, name: str) -> Any:
        return self._read_data() if name == _DATA else self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._facts, _DATA))

    def __len__(self) -> int:
        return len(self._facts) + 1


def _facts_of(template: LaunchTemplate, version: LaunchTemplateVersion) -> dict[str, Any]:
    return {
        "CreateTime": version.created_at,
        "CreatedBy": version.created_by,
        "DefaultVersion": version.version_number == template.default_version_number,
        "LaunchTemplateId": template.launch_template_id,
        "LaunchTemplateName": template.name,
        "VersionDescription": version.description or None,
        "VersionNumber": version.version_number,
    }


@operation(
    "ec2",
    "CreateLaunchTemplateVersion",
    mutates=True,
    honours=(
        "LaunchTemplateData",
        "LaunchTemplateId",
        "LaunchTemplateName",
        "ResolveAlias",
        "SourceVersion",
        "VersionDescription",
    ),
    own_codes=("LaunchTemplateName",),
    keeps_empty=KEEPS_EMPTY,
)
def create_launch_template_version(context: RequestContext, request: Parameters) -> Reply:
    """Add a version: the data alone, or put over that of a source version."""
    template = template_named(context, request)
    source = None
    if "SourceVersion" in request:
        source = launch_templates.get_version(context.session, template, request["SourceVersion"])
    version = launch_templates.add_version(
        context.session,
        template,
        data=request["LaunchTemplateData"],
        source=source,
        description=request.get("VersionDescription", ""),
        created_by=context.principal.arn,
    )
    data = template_data.given(version.data)
    shown = with_image_id(context, data) if request.get("ResolveAlias", False) else data
    return {
        "LaunchTemplateVersion": {**_facts_of(template, version), _DATA: shown},
        "Warning": warning_of(context, data),
    }


_VERSION_FILTERS = FilterTable(
    item="LaunchTemplateVersions[]",
    paths={
        "create-time": "CreateTime",
        "ebs-optimized": "LaunchTemplateData.EbsOptimized",
        "host-resource-group-arn": "LaunchTemplateData.Placement.HostResourceGroupArn",
        "http-endpoint": "LaunchTemplateData.MetadataOptions.HttpEndpoint",
        "http-protocol-ipv4": "LaunchTemplateData.MetadataOptions.HttpEndpoint",
        "http-tokens": "LaunchTemplateData.MetadataOptions.HttpTokens",
        "iam-instance-profile": "LaunchTemplateData.IamInstanceProfile.Arn",
        "image-id": "LaunchTemplateData.ImageId",
        "instance-type": "LaunchTemplateData.InstanceType",
        "is-default-version": "DefaultVersion",
        "kernel-id": "LaunchTemplateData.KernelId",
        "license-configuration-arn": "LaunchTemplateData.LicenseSpecifications[].LicenseConfigurationArn",
        "network-card-index": "LaunchTemplateData.NetworkInterfaces[].NetworkCardIndex",
        "ram-disk-id": "LaunchTemplateData.RamDiskId",
    },
)


@operation(
    "ec2",
    "DescribeLaunchTemplateVersions",
    mutates=False,
    honours=("LaunchTemplateId", "LaunchTemplateName", "MaxVersion", "MinVersion", "ResolveAlias", "Versions"),
    harmless={"IncludeManagedResources": (True, False)},
    own_codes=("LaunchTemplateName",),
    filters=_VERSION_FILTERS,
    paged=Paged(
        result="LaunchTemplateVersions",
        minimum=1,
        maximum=200,
        key=("LaunchTemplateId", "VersionNumber"),
        default=200,
    ),
)
def describe_launch_template_versions(context: RequestContext, request: Parameters) -> Reply:
    """List versions of a template, the newest first, or the latest and default ones of all templates.

    An alias of a parameter that is not there any more stays what it is.
    """
    selected = _selected(context, request)
    data = launch_templates.VersionData(context.session, [version for _, version in selected])

    def read(version: LaunchTemplateVersion) -> Mapping[str, Any]:
        found = data.of(version)
        if request.get("ResolveAlias", False) and "ImageId" in found:
            found["ImageId"] = image_id_of(context, found["ImageId"], keeps_stale=True)
        return found

    return {
        "LaunchTemplateVersions": [
            _Listed(_facts_of(template, version), partial(read, version)) for template, version in selected
        ]
    }


def _selected(context: RequestContext, request: Parameters) -> list[tuple[LaunchTemplate, LaunchTemplateVersion]]:
    versions = request.get("Versions", [])
    _check_count(versions)
    if "LaunchTemplateId" not in request and "LaunchTemplateName" not in request:
        return _of_all(context, request, versions)
    template = template_named(context, request)
    bounds = {
        name: launch_templates.read_number(request[name]) for name in ("MinVersion", "MaxVersion") if name in request
    }
    found = launch_templates.list_versions(
        context.session, template, versions, at_least=bounds.get("MinVersion"), at_most=bounds.get("MaxVersion")
    )
    return [(template, version) for version in found]


def _of_all(
    context: RequestContext, request: Parameters, versions: Sequence[str]
) -> list[tuple[LaunchTemplate, LaunchTemplateVersion]]:
    if not versions:
        raise errors.missing_parameter("LaunchTemplateId, LaunchTemplateName or Versions")
    if set(versions) - {launch_templates.LATEST, launch_templates.DEFAULT} or {"MinVersion", "MaxVersion"} & set(
        request
    ):
        raise errors.invalid_parameter_combination(
            "Without a launch template only the versions '$Latest' and '$Default' can be described."
        )
    return launch_templates.list_versions_of_all(context.session, context.account_id, versions)


def _check_count(versions: Sequence[str]) -> None:
    limit = launch_templates.MAX_VERSIONS_NAMED
    if len(versions) > limit:
        raise errors.invalid_parameter_value(f"A request can name at most {limit} launch template versions.")


@operation(
    "ec2",
    "DeleteLaunchTemplateVersions",
    mutates=True,
    honours=("LaunchTemplateId", "LaunchTemplateName", "Versions"),
    own_codes=("LaunchTemplateName",),
)
def delete_launch_template_versions(context: RequestContext, request: Parameters) -> Reply:
    """Delete versions by number; the answer says of each what became of it."""
    template = template_named(context, request)
    _check_count(request["Versions"])
    numbers = [launch_templates.read_number(text) for text in request["Versions"]]
    done = launch_templates.delete_versions(context.session, template, numbers)
    items = [(one, _deletion_item(template, one)) for one in done]
    return {
        "SuccessfullyDeletedLaunchTemplateVersions": [item for one, item in items if one.refused is None],
        "UnsuccessfullyDeletedLaunchTemplateVersions": [item for one, item in items if one.refused is not None],
    }


def _deletion_item(template: LaunchTemplate, deletion: Deletion) -> dict[str, Any]:
    item: dict[str, Any] = {
        "LaunchTemplateId": template.launch_template_id,
        "LaunchTemplateName": template.name,
        "VersionNumber": deletion.version_number,
    }
    if deletion.refused is not None:
        item["ResponseError"] = {"Code": deletion.refused.value, "Message": _REASONS[deletion.refused]}
    return item
