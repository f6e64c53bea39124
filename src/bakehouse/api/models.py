"""The one door to botocore's service models.

Invariant: what an operation is called, takes and returns is read from these models, never written down by us.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore import xform_name as _xform_name  # type: ignore[import-untyped]
from botocore.loaders import Loader  # type: ignore[import-untyped]
from botocore.model import ServiceModel  # type: ignore[import-untyped]

# botocore has no type stubs: its models and shapes are Any to us, and this module names what is used of them.
Shape = Any
OperationModel = Any


@cache
def service_model(service: str) -> Any:
    """Return botocore's model of a service (``ec2``, ``sts``); about 0.3 s the first time for EC2."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


@cache
def operation_names(service: str) -> frozenset[str]:
    """Return the names of all operations of a service."""
    return frozenset(service_model(service).operation_names)


def get_operation_model(service: str, name: str) -> OperationModel:
    """Return the model of one operation; raises for a name that is not in ``operation_names``."""
    return service_model(service).operation_model(name)


def xform_name(operation: str) -> str:
    """Return botocore's snake-case name, e.g. ``run_instances``."""
    return str(_xform_name(operation))


def input_members(operation: OperationModel) -> dict[str, Shape]:
    """Return an operation's parameters; empty when it takes none."""
    return dict(operation.input_shape.members) if operation.input_shape else {}


def output_members(operation: OperationModel) -> dict[str, Shape]:
    """Return what an operation's reply has; empty when it has none."""
    return dict(operation.output_shape.members) if operation.output_shape else {}


def find_member(members: Iterable[str], name: str) -> str | None:
    """Return a member's name as the model writes it (ClientToken, clientToken), or None."""
    return next((member for member in members if member.lower() == name.lower()), None)


@dataclass(frozen=True, kw_only=True)
class MemberNames:
    """How a model writes the members that the gateway solves for every operation; EC2's unless said otherwise."""

    dry_run: str = "DryRun"
    client_token: str = "ClientToken"  # noqa: S105  # a member's name
    next_token: str = "NextToken"  # noqa: S105  # the same
    max_results: str = "MaxResults"
    # IAM says with every page whether it is the last.
    is_truncated: str | None = None


@cache
def member_names(service: str, operation: str) -> MemberNames:
    """Return the names in one operation's model: small letters in JSON (clientToken), Marker and MaxItems in IAM."""
    model = get_operation_model(service, operation)
    members = input_members(model)
    return MemberNames(
        dry_run=find_member(members, "DryRun") or "DryRun",
        client_token=find_member(members, "ClientToken") or "ClientToken",
        next_token=find_member(members, "NextToken") or find_member(members, "Marker") or "NextToken",
        max_results=find_member(members, "MaxResults") or find_member(members, "MaxItems") or "MaxResults",
        is_truncated=find_member(output_members(model), "IsTruncated"),
    )


def split_path(path: str) -> Iterator[str]:
    """Split ``"A[].B"`` into its steps ``"A", "[]", "B"``."""
    for part in path.split("."):
        name, *brackets = part.split("[]")
        if any(brackets) or not name:
            raise ValueError(f"not a path: {path!r}")
        yield name
        yield from ("[]" for _ in brackets)


def shape_at(shape: Shape, path: str) -> Shape:
    """Return the shape that ``path`` leads to from ``shape``; ValueError when the model has no such path."""
    for step in split_path(path):
        if step == "[]" and shape is not None and shape.type_name == "list":
            shape = shape.member
        elif step != "[]" and shape is not None and shape.type_name == "structure" and step in shape.members:
            shape = shape.members[step]
        else:
            raise ValueError(f"the model has no path {path!r} (at {step!r})")
    return shape
