"""JSON from who may be hostile: a guest's agent, or a QEMU that a guest broke out of.

Invariant: reading ends as a value that is safe to look through and to print, or as a ValueError; and what it costs
is bounded by ``structure_bytes``, however large the message is. Only base64 makes an honest message large.
"""

import json
import string
from typing import Any

_BASE64 = (string.ascii_letters + string.digits + "+/=").encode()
_DEPTH_LIMIT = 32
_WORDS_LIMIT = 500


def read_untrusted(message: bytes, *, structure_bytes: int) -> Any:
    """The value of a message whose bytes beside base64's alphabet are at most ``structure_bytes``."""
    # Two bytes of structure may make an object of a hundred.
    if len(message) > structure_bytes and len(message.translate(None, _BASE64)) > structure_bytes:
        raise ValueError("the message is too long")
    try:
        value = json.loads(message)
    except RecursionError as error:
        raise ValueError("the message is nested too deeply") from error
    _check_depth(value)
    return value


def short_words(said: object) -> str:
    """What a message says, as it may stand in a log and in a database: short, on one line, of real characters."""
    return "".join(each if each.isprintable() else "?" for each in str(said)[:_WORDS_LIMIT])


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise ValueError("the message is nested too deeply")


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
