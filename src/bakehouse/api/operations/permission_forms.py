"""With whom a request shares, in either of EC2's forms: Add and Remove lists, or flat lists with an OperationType.

Invariant: whatever a request names is done or the request is refused. Packer sends one change in both forms at once,
without an OperationType.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bakehouse import errors
from bakehouse.api.context import Parameters

Permission = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PermissionForms:
    """Where one operation has its permissions: ``flat`` is list -> the member of one permission that it gives."""

    nested: str
    flat: Mapping[str, str]

    def read(self, request: Parameters) -> dict[str, list[Permission]]:
        """What to ``add`` and what to ``remove``; MissingParameter when neither is said."""
        both = request.get(self.nested, {})
        change = {"add": list(both.get("Add", ())), "remove": list(both.get("Remove", ()))}
        flat = [{member: one} for name, member in self.flat.items() for one in request.get(name, ())]
        if not flat and not any(change.values()):
            raise errors.missing_parameter(self.nested)
        kind = request.get("OperationType")
        if kind is None:
            named = [{member: value} for each in change.values() for one in each for member, value in one.items()]
            if any(one not in named for one in flat):
                raise errors.missing_parameter("OperationType")
        elif not flat:
            lists = ", ".join(self.flat)
            raise errors.invalid_parameter_combination(f"OperationType can only be used with one of {lists}.")
        else:
            change[kind] += [one for one in flat if one not in change[kind]]
        return change
