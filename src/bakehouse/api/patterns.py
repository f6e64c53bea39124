"""The models' regular expressions, which are Java's, as Python's.

Invariant: a text that a pattern made for Java allows is allowed here. The few patterns that cannot be written here
are not applied: such a value is left to its operation.
"""

import re
from collections.abc import Callable

from bakehouse.api.models import Shape

_SPACES = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Letters and digits are one class to Python. It has none for marks and punctuation.
_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\w", r"\p{Z}": _SPACES}


def find_match(shape: Shape) -> Callable[[str], object] | None:
    """Return what tells whether the whole of a text satisfies a shape's pattern; None when no pattern is applied."""
    pattern = shape.metadata.get("pattern") if shape.type_name == "string" else None
    if pattern is None:
        return None
    for java, python in _CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern).fullmatch
    except re.error:
        return None
