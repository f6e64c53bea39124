"""docs/compatibility.md, written from the dispatch table: ``./bakehouse compatibility`` renews it, a test holds it.

Invariant: nothing in it is written by hand, so it cannot promise what the gateway would refuse.
"""

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from bakehouse.api.models import Shape, get_operation_model, operation_names, service_model
from bakehouse.api.registry import Operation, discover
from bakehouse.api.validation import Rule, declared_rules

DOCUMENT = Path(__file__).parents[2] / "docs/compatibility.md"

_HEAD = """\
# Compatibility

Generated from the dispatch table by `./bakehouse compatibility`; not to be edited. A test fails when it is stale.

Operation by operation: what of botocore's model is *not* taken, and the filters. What is not named here is honoured.

- **refused** parameters get `InvalidParameter` (or `UnsupportedOperation`), never silence. A name covers what is
  beneath it.
- **only** one value of a parameter is taken: what says "nothing special", and clients send without needing more.
- **filters** are those of `Filters`; any other name is refused with `InvalidParameterValue`. Those that EC2 documents
  and that are missing here come after "without".
- `DryRun`, `ClientToken`, `NextToken` and `MaxResults` work wherever EC2 has them and they are not named as refused.

Operations that are not listed answer `UnsupportedOperation`; those that AWS does not have either, `InvalidAction`.
"""


def write_document() -> str:
    """The document as it should be."""
    operations = sorted(discover(), key=lambda each: (each.service, each.name))
    by_service = {service: list(each) for service, each in groupby(operations, key=lambda each: each.service)}
    parts = [_HEAD, _summary(by_service)]
    for service, members in by_service.items():
        lines = (_line(each) for each in members)
        parts.append(f"## {_title(service)}\n\n" + "".join(f"{line}\n" for line in lines))
    return "\n".join(parts)


def _summary(by_service: dict[str, list[Operation]]) -> str:
    rows = "".join(
        f"| {_title(service)} | {len(members)} | {len(operation_names(service))} |\n"
        for service, members in by_service.items()
    )
    return f"| service | operations here | in botocore's model |\n|---|---|---|\n{rows}"


def _title(service: str) -> str:
    metadata = service_model(service).metadata
    return str(metadata.get("serviceAbbreviation") or metadata["serviceFullName"])


def _line(operation: Operation) -> str:
    shape = get_operation_model(operation.service, operation.name).input_shape
    rules = declared_rules(operation)
    clauses = [
        _clause("refused", [f"`{path}`" for path in refused_paths(shape, rules)]),
        _clause("only", [f"`{path}` = {values}" for path, values in _harmless(operation)]),
        _filters(operation, shape),
    ]
    said = "; ".join(clause for clause in clauses if clause)
    return f"- **{operation.name}**" + (f": {said}" if said else "")


def _clause(word: str, items: list[str]) -> str:
    return f"{word} {', '.join(items)}" if items else ""


def refused_paths(shape: Shape | None, rule: Rule, path: str = "") -> list[str]:
    """The parameters that are refused whatever their value, each by the highest name that covers nothing else."""
    if shape is None:
        return []
    members: Iterator[tuple[str, str, Shape]]
    if shape.type_name == "structure":
        members = ((name, f"{path}.{name}" if path else name, member) for name, member in shape.members.items())
    elif shape.type_name == "list":
        members = iter([("[]", f"{path}[]", shape.member)])
    else:
        return []
    found: list[str] = []
    for step, below_path, member in members:
        below = rule.below(step)
        if _is_refused(below):
            found.append(below_path.removesuffix("[]"))
        else:
            found += refused_paths(member, below, below_path)
    return found


def _is_refused(rule: Rule) -> bool:
    nothing_taken = not rule.is_honoured and not rule.harmless
    return nothing_taken and all(_is_refused(child) for child in rule.children.values())


def _harmless(operation: Operation) -> Iterator[tuple[str, str]]:
    for path, values in operation.harmless.items():
        yield path, " or ".join(f"`{_literal(value)}`" for value in values)


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _filters(operation: Operation, shape: Shape | None) -> str:
    table = operation.filters
    if table is None:
        return ""
    by_tag = [] if table.tags is None else ["tag:KEY", "tag-key"] if table.tags else ["tag:KEY"]
    names = sorted({*table.paths, *table.outer}) + by_tag
    missing = sorted(documented_filters(shape) - set(names) - ({"tag", "tag-value"} if by_tag else set()))
    without = f" without {', '.join(f'`{name}`' for name in missing)}" if missing else ""
    return _clause("filters", [f"`{name}`" for name in names]) + without


def documented_filters(shape: Shape | None) -> set[str]:
    """The names in the model's prose, ``<li><p><code>NAME</code> - ...``; lists inside an item are its values."""
    text = shape.members["Filters"].documentation if shape and "Filters" in shape.members else ""
    names, depth = set(), 0
    for tag, name in re.findall(r"(</?ul>)|<li>\s*<p>\s*<code>([a-z][\w.:/-]*)", text):
        depth += {"<ul>": 1, "</ul>": -1}.get(tag, 0)
        if name and depth == 1:
            names.add(name.rstrip(":"))
    return names


if __name__ == "__main__":
    DOCUMENT.write_text(write_document())
    sys.stderr.write(f"{DOCUMENT.name} renewed\n")
