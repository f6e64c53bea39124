"""The bytes of a query or form body to a tree of parameters.

Invariant: whatever a client sends, the work and memory spent are bounded by the constants below.
"""

from urllib.parse import unquote_to_bytes

from bakehouse import errors
from bakehouse.api.http_request import HttpRequest

# EC2's largest legitimate requests (user data, launch templates) are well under 100 KiB.
MAX_BODY_BYTES = 1 << 20
_MAX_PARAMETERS = 10_000
_MAX_NAME_LENGTH = 1_024
_MAX_DEPTH = 20

# What a presigned request carries besides its parameters.
SIGNATURE_PARAMETERS = frozenset(
    f"X-Amz-{name}"
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")
)

# A tree node: its own value under the key "", its children under their names ("Filter" -> "1" -> "Name").
Node = dict[str, "str | Node"]


def _decode(text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise errors.malformed_query_string("The parameters are not valid UTF-8") from None


def split_pairs(encoded: bytes) -> list[tuple[str, str]]:
    """Decode ``application/x-www-form-urlencoded`` bytes, in which a name may come more than once."""
    parts = [part for part in encoded.split(b"&") if part]
    if len(parts) > _MAX_PARAMETERS:
        raise errors.malformed_query_string(f"The request has more than {_MAX_PARAMETERS} parameters")
    split = (part.partition(b"=") for part in parts)
    return [(_decode(name), _decode(value)) for name, _, value in split]


def parse_pairs(encoded: bytes) -> dict[str, str]:
    """Decode ``application/x-www-form-urlencoded`` bytes; a name given twice is refused as ambiguous."""
    pairs: dict[str, str] = {}
    for name, value in split_pairs(encoded):
        if name in pairs:
            raise errors.malformed_query_string(f"The parameter {name[:_MAX_NAME_LENGTH]} is given twice")
        pairs[name] = value
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


def read_form(request: HttpRequest) -> tuple[str, dict[str, str]]:
    """Return the Action and the parameters of a request of one of the query protocols, in its query or its body."""
    # Pairs of the query and of the body are one set, so a name in both is refused.
    pairs = parse_pairs(b"&".join(part for part in (request.query, request.body) if part))
    action = pairs.pop("Action", "")
    pairs.pop("Version", None)
    if not action or request.raw_path.strip(b"/"):
        raise errors.missing_action()
    return action, {name: value for name, value in pairs.items() if name not in SIGNATURE_PARAMETERS}
