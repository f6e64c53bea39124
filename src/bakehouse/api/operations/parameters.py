"""Systems Manager's parameters: Put, Get, Label, Describe and Delete, and their tags."""

from collections.abc import Sequence
from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Parameter, ParameterVersion
from bakehouse.domain import parameter_filters, parameters, public_parameters
from bakehouse.domain.parameter_filters import Facts
from bakehouse.domain.parameters import Found, Written
from bakehouse.errors import ApiError
from bakehouse.errors import parameters as parameter_errors

_BY_PATH = ("Type", "KeyId", "Label")
_DESCRIBED = ("Name", "Type", "KeyId", "Path", "Label", "Tier", "DataType", "tag")


@operation(
    "ssm",
    "PutParameter",
    mutates=True,
    honours=("DataType", "Description", "KeyId", "Name", "Overwrite", "Tags", "Tier", "Type", "Value"),
)
def put_parameter(context: RequestContext, request: Parameters) -> Reply:
    """Write a parameter, or another version of it."""
    written = Written(
        name=request["Name"],
        value=request["Value"],
        parameter_type=request.get("Type"),
        description=request.get("Description"),
        key_id=request.get("KeyId"),
        tier=request.get("Tier"),
        data_type=request.get("DataType"),
        tags=request.get("Tags", ()),
    )
    version = parameters.put(
        context.session,
        context.account_id,
        written,
        overwrites=request.get("Overwrite", False),
        modified_by=context.principal.arn,
    )
    return {"Version": version.version, "Tier": version.tier}


@operation("ssm", "GetParameter", mutates=False, honours=("Name", "WithDecryption"))
def get_parameter(context: RequestContext, request: Parameters) -> Reply:
    """Read one parameter."""
    decrypted = request.get("WithDecryption", False)
    found = parameters.get(context.session, context.account_id, request["Name"], decrypted=decrypted)
    return {"Parameter": _item(context, found)}


@operation("ssm", "GetParameters", mutates=False, honours=("Names", "WithDecryption"))
def get_parameters(context: RequestContext, request: Parameters) -> Reply:
    """Read several parameters; those that are not there are named."""
    found, invalid = [], []
    decrypted = request.get("WithDecryption", False)
    for name in dict.fromkeys(request["Names"]):
        try:
            found.append(parameters.get(context.session, context.account_id, name, decrypted=decrypted))
        except ApiError:
            invalid.append(name)
    return {"Parameters": [_item(context, one) for one in found], "InvalidParameters": invalid}


@operation(
    "ssm",
    "GetParametersByPath",
    mutates=False,
    honours=("ParameterFilters", "Path", "Recursive", "WithDecryption"),
    paged=Paged(result="Parameters", minimum=1, maximum=10, default=10, key="Name"),
)
def get_parameters_by_path(context: RequestContext, request: Parameters) -> Reply:
    """Read the parameters below a path, the public ones too."""
    path, recursive = request["Path"], request.get("Recursive", False)
    if not path.startswith("/"):
        message = "The parameter path must begin with a slash and have letters, numbers and . - _ / only."
        raise parameter_errors.validation(message)
    filters = request.get("ParameterFilters", ())
    matches = parameter_filters.compile_filters(filters, allowed=_BY_PATH)
    labels = next((each.get("Values", ()) for each in filters if each["Key"] == "Label"), None)
    found = []
    for parameter in parameters.visible(context.session, context.account_id):
        version = _labelled(parameter, labels) if labels is not None else parameter.versions[-1]
        if version is None or not parameter_filters.is_below(parameter.name, path, recursive=recursive):
            continue
        if matches(_facts(parameter, version)):
            decrypted = request.get("WithDecryption", False)
            found.append(parameters.read(context.session, parameter, version, decrypted=decrypted))
    for public in public_parameters.list_all(context.session):
        facts = Facts(name=public.name, facts={"Type": parameters.STRING})
        if parameter_filters.is_below(public.name, path, recursive=recursive) and matches(facts):
            found.append(parameters.read_public(public))
    found.sort(key=lambda one: one.name)
    return {"Parameters": [_item(context, one) for one in found]}


@operation(
    "ssm",
    "DescribeParameters",
    mutates=False,
    honours=("ParameterFilters",),
    harmless={"Shared": (False,)},
    paged=Paged(result="Parameters", minimum=1, maximum=50, default=10, key="Name"),
)
def describe_parameters(context: RequestContext, request: Parameters) -> Reply:
    """List the account's parameters without their values."""
    matches = parameter_filters.compile_filters(request.get("ParameterFilters", ()), allowed=_DESCRIBED)
    found = parameters.visible(context.session, context.account_id)
    shown = [one for one in found if matches(_facts(one, one.versions[-1]))]
    return {
        "Parameters": [
            {"ARN": _arn(context, one.name), **_description(one, one.versions[-1]), "Policies": []} for one in shown
        ]
    }


@operation(
    "ssm",
    "GetParameterHistory",
    mutates=False,
    honours=("Name", "WithDecryption"),
    paged=Paged(result="Parameters", minimum=1, maximum=50, default=50, key="Version"),
)
def get_parameter_history(context: RequestContext, request: Parameters) -> Reply:
    """List a parameter's versions, the oldest first."""
    parameter = parameters.get_own(context.session, context.account_id, request["Name"])
    decrypted = request.get("WithDecryption", False)
    items = []
    for version in parameter.versions:
        value = parameters.read(context.session, parameter, version, decrypted=decrypted).value
        items.append({**_description(parameter, version), "Value": value, "Labels": version.labels, "Policies": []})
    return {"Parameters": items}


@operation("ssm", "LabelParameterVersion", mutates=True, honours=("Labels", "Name", "ParameterVersion"))
def label_parameter_version(context: RequestContext, request: Parameters) -> Reply:
    """Move labels to a version."""
    parameter = parameters.get_own(context.session, context.account_id, request["Name"])
    version, invalid = parameters.label(parameter, request.get("ParameterVersion"), request["Labels"])
    return {"ParameterVersion": version, "InvalidLabels": invalid}


@operation("ssm", "UnlabelParameterVersion", mutates=True, honours=("Labels", "Name", "ParameterVersion"))
def unlabel_parameter_version(context: RequestContext, request: Parameters) -> Reply:
    """Take labels off a version."""
    parameter = parameters.get_own(context.session, context.account_id, request["Name"])
    removed, invalid = parameters.unlabel(parameter, request["ParameterVersion"], request["Labels"])
    return {"RemovedLabels": removed, "InvalidLabels": invalid}


@operation("ssm", "DeleteParameter", mutates=True, honours=("Name",))
def delete_parameter(context: RequestContext, request: Parameters) -> Reply:
    """Delete a parameter and its versions."""
    if not parameters.delete(context.session, context.account_id, request["Name"]):
        raise parameter_errors.not_found(request["Name"])
    return {}


@operation("ssm", "DeleteParameters", mutates=True, honours=("Names",))
def delete_parameters(context: RequestContext, request: Parameters) -> Reply:
    """Delete several parameters; those that are not there are named."""
    deleted = [one for one in request["Names"] if parameters.delete(context.session, context.account_id, one)]
    return {"DeletedParameters": deleted, "InvalidParameters": [one for one in request["Names"] if one not in deleted]}


@operation("ssm", "AddTagsToResource", mutates=True, honours=("ResourceId", "ResourceType", "Tags"))
def add_tags_to_resource(context: RequestContext, request: Parameters) -> Reply:
    """Tag a parameter."""
    parameters.put_tags(_tagged(context, request), request["Tags"])
    return {}


@operation("ssm", "RemoveTagsFromResource", mutates=True, honours=("ResourceId", "ResourceType", "TagKeys"))
def remove_tags_from_resource(context: RequestContext, request: Parameters) -> Reply:
    """Take tags off a parameter; those it does not have are fine."""
    parameter = _tagged(context, request)
    parameter.tags = {key: value for key, value in parameter.tags.items() if key not in request["TagKeys"]}
    return {}


@operation("ssm", "ListTagsForResource", mutates=False, honours=("ResourceId", "ResourceType"))
def list_tags_for_resource(context: RequestContext, request: Parameters) -> Reply:
    """List a parameter's tags."""
    tags = _tagged(context, request).tags
    return {"TagList": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}


def _tagged(context: RequestContext, request: Parameters) -> Parameter:
    if request["ResourceType"] != "Parameter":
        raise parameter_errors.invalid_resource_type(request["ResourceType"])
    found = parameters.visible(context.session, context.account_id, [request["ResourceId"]])
    if not found:
        raise parameter_errors.invalid_resource_id(request["ResourceId"])
    return found[0]


def _labelled(parameter: Parameter, labels: Sequence[str]) -> ParameterVersion | None:
    return next((one for one in reversed(parameter.versions) if set(one.labels) & set(labels)), None)


def _facts(parameter: Parameter, version: ParameterVersion) -> Facts:
    return Facts(
        name=parameter.name,
        facts={
            "DataType": version.data_type,
            "KeyId": version.key_id,
            "Tier": version.tier,
            "Type": parameter.parameter_type,
        },
        labels=version.labels,
        tags=parameter.tags,
    )


def _arn(context: RequestContext, name: str, *, is_public: bool = False) -> str:
    owner = "" if is_public else context.account_id
    return f"arn:aws:ssm:{context.region}:{owner}:parameter/{name.removeprefix('/')}"


def _item(context: RequestContext, found: Found) -> dict[str, Any]:
    return {
        "ARN": _arn(context, found.name, is_public=found.is_public),
        "DataType": found.data_type,
        "LastModifiedDate": found.modified_at,
        "Name": found.name,
        "Selector": found.selector,
        "Type": found.parameter_type,
        "Value": found.value,
        "Version": found.version,
    }


def _description(parameter: Parameter, version: ParameterVersion) -> dict[str, Any]:
    return {
        "DataType": version.data_type,
        "Description": version.description,
        "KeyId": version.key_id,
        "LastModifiedDate": version.modified_at,
        "LastModifiedUser": version.modified_by,
        "Name": parameter.name,
        "Tier": version.tier,
        "Type": parameter.parameter_type,
        "Version": version.version,
    }
