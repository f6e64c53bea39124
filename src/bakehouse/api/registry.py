'''The operations this service implements, found by name.

Invariant: the registry is the truth about what is implemented; a parameter that an operation does not
declare is refused, never silently ignored.

How to write an operation. Put a function into ``api/operations/<noun>.py``, named ``xform_name(operation)``::

    from bakehouse.api.context import Parameters, Reply, RequestContext
    from bakehouse.api.filters import FilterTable
    from bakehouse.api.pagination import Paged
    from bakehouse.api.registry import operation

    _KEY_PAIR_FILTERS = FilterTable(
        item="KeyPairs[]",
        paths={"key-pair-id": "KeyPairId", "key-name": "KeyName", "fingerprint": "KeyFingerprint"},
        tags="Tags",
    )

    @operation(
        "ec2",
        "DescribeKeyPairs",
        mutates=False,
        honours=("KeyNames", "KeyPairIds", "IncludePublicKey"),
        filters=_KEY_PAIR_FILTERS,
    )
    def describe_key_pairs(context: RequestContext, request: Parameters) -> Reply:
        """List the account's key pairs."""
        pairs = key_pairs.list_key_pairs(context.session, context.account_id, request.get("KeyPairIds"))
        return {"KeyPairs": [_key_pair_item(pair) for pair in pairs]}

``request`` is what a boto3 user passes: botocore's names, int/bool/str/bytes/datetime values, missing when
absent. Return what a boto3 user receives, without ResponseMetadata; None values and missing members are
left out. Raise an ``ApiError`` of ``bakehouse.errors`` to refuse; the transaction is then rolled back.

The gateway does before the call: signature, types, enums, required members and unknown parameters against
the model, empty strings removed (see ``keeps_empty``), undeclared parameters refused, ClientToken replayed.
After the call: ``Filters`` applied, the page cut and NextToken written, a DryRun rolled back and answered, the
reply serialized, the transaction committed. So an operation does nothing that a rollback would not undo, and
never reads DryRun, ClientToken, NextToken, MaxResults or (unless for speed) Filters.

Services that speak JSON write the same names in small letters (clientToken, nextToken, maxResults, dryRun), IAM has
Marker and MaxItems: the gateway finds them in the model.

``honours`` lists paths into the request: ``"ImageId"``, ``"Placement.AvailabilityZone"``,
``"BlockDeviceMappings[].Ebs.VolumeSize"``. A path covers everything beneath it. DryRun and ClientToken are
always honoured.
``harmless`` maps a path to the values that mean "nothing special" and which real clients
send although they do not need the feature: ``{"EbsOptimized": (False,), "Monitoring.Enabled": (False,)}``;
every other value is refused. The operation does not see them, unless it asks to by ``sees_harmless``.
``keeps_empty`` lists the paths at which an empty string is a value (a tag's
value, a description being cleared).
``own_codes`` lists the paths whose values the operation refuses itself, with a code of their own
(InvalidAMIName.Malformed); the model's words and bounds are not applied to them.
Paths are checked against botocore's model when the registry is made, so a typo fails at start.
'''

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.models import MemberNames, member_names, xform_name
from bakehouse.api.pagination import Paged

Handler = Callable[[RequestContext, Parameters], Reply]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One implemented operation: its function and what the gateway must know about it."""

    service: str
    name: str
    function: Handler
    mutates: bool
    honours: tuple[str, ...] = ()
    harmless: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    sees_harmless: bool = False
    keeps_empty: tuple[str, ...] = ()
    own_codes: tuple[str, ...] = ()
    filters: FilterTable | None = None
    paged: Paged | None = None

    @property
    def names(self) -> MemberNames:
        """How its model writes what the gateway solves."""
        return member_names(self.service, self.name)

    def __call__(self, context: RequestContext, request: Parameters) -> Reply:
        """Run the bare function, without anything the gateway adds."""
        return self.function(context, request)


def operation(
    service: str,
    name: str,
    *,
    mutates: bool,
    honours: Iterable[str] = (),
    harmless: Mapping[str, tuple[Any, ...]] | None = None,
    sees_harmless: bool = False,
    keeps_empty: Iterable[str] = (),
    own_codes: Iterable[str] = (),
    filters: FilterTable | None = None,
    paged: Paged | None = None,
) -> Callable[[Handler], Operation]:
    """Declare the decorated function as the implementation of ``service``'s operation ``name``."""

    def declare(function: Handler) -> Operation:
        if function.__name__ != xform_name(name):
            raise TypeError(f"{name} must be implemented by {xform_name(name)}, not {function.__name__}")
        return Operation(
            service=service,
            name=name,
            function=function,
            mutates=mutates,
            honours=tuple(honours),
            harmless=harmless or {},
            sees_harmless=sees_harmless,
            keeps_empty=tuple(keeps_empty),
            own_codes=tuple(own_codes),
            filters=filters,
            paged=paged,
        )

    return declare


class Registry:
    """The dispatch table: (service, operation name) -> Operation."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations: dict[tuple[str, str], Operation] = {}
        for each in operations:
            key = (each.service, each.name)
            if key in self._operations:
                raise TypeError(f"{each.service} {each.name} is implemented twice")
            self._operations[key] = each

    def find(self, service: str, name: str) -> Operation | None:
        """Return the operation, or None when it is not implemented."""
        return self._operations.get((service, name))

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations.values())

    def __len__(self) -> int:
        return len(self._operations)


def operations_in(package: ModuleType) -> Registry:
    """Import every module of ``package`` and collect the operations declared in them."""
    found: list[Operation] = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        declared = (value for value in vars(module).values() if isinstance(value, Operation))
        found += (each for each in declared if each.function.__module__ == module.__name__)
    return Registry(found)


def discover() -> Registry:
    """Return every operation declared in ``bakehouse.api.operations``."""
    return operations_in(importlib.import_module("bakehouse.api.operations"))
