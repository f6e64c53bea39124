"""The bytes of a query or form body to a tree of parameters.

Invariant: whatever a client sends, the work and memory spent are bounded by the constants below.
"""

from urllib.parse import unquote_to_bytes

from bakehouse import errors

# EC2's largest legitimate requests (user data, launch templates) are well under 100 KiB.
MAX_BODY_BYTES = 1 << 20
_MAX_PARAMETERS = 10_000
_MAX_NAME_LENGTH = 1_024
_MAX_DEPTH = 20

# A tree node: its own value under the key "", its children under their names ("Filter" -> "1" -> "Name").
Node = dict[str, "str | Node"]


def _decode(text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise errors.malformed_query_string("The parameters are not valid UTF-8") from None


def parse_pairs(encoded: bytes) -> dict[str, str]:
    """Decode ``application/x-www-form-urlencoded`` bytes; a name given twice is refused as ambiguous."""
    parts = [part for part in encoded.split(b"&") if part]
    if len(parts) > _MAX_PARAMETERS:
        raise errors.malformed_query_string(f"The request has more than {_MAX_PARAMETERS} parameters")
    pairs: dict[str, str] = {}
    for part in parts:
        raw_name, _, raw_value = part.partition(b"=")
        name = _decode(raw_name)
        if name in pairs:
            raise errors.malformed_query_string(f"The parameter {name[:_MAX_NAME_LENGTH]} is given twice")
        pairs[name] = _decode(raw_value)
    return pairs


def grow_tree(pairs: dict[str, str]) -> Node:
    """Nest dotted names: ``{"Filter.1.Name": "x"}`` becomes ``{"Filter": {"1": {"Name": {"": "x"}}}}``."""
    root: Node = {}
    for name, value in pairs.items():
        steps = name.split(".")
        if len(name) > _MAX_NAME_LENGTH or len(steps) > _MAX_DEPTH or "" in steps:
            raise errors.malformed_query_string("A parameter's name is malformed")
        node = root
        for step in steps:
            child = node.setdefault(step, {})
            assert isinstance(child, dict)  # only the key "" holds text, and no step is ""
            node = child
        node[""] = value
    return root
