"""Python values to XML, compiled once per shape.

Invariant: what is written here, botocore's parser reads back equal. A member that the model does not have
is a bug of the operation and raises KeyError; None means absent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bakehouse.api.models import Shape
from bakehouse.api.protocol.scalars import escape, write_blob, write_boolean

Append = Callable[[str], None]
# Appends the value as a whole element, tag included.
Write = Callable[[Any, Append], None]


class Compiler:
    """Makes writers for shapes; ``list_item`` and ``write_time`` are what the query protocols differ in."""

    def __init__(self, *, list_item: str, write_time: Callable[[Any], str]) -> None:
        self._list_item = list_item
        self._texts: dict[str, Callable[[Any], str]] = {
            "string": escape,
            "character": escape,
            "integer": str,
            "long": str,
            "float": repr,
            "double": repr,
            "boolean": write_boolean,
            "timestamp": write_time,
            "blob": write_blob,
        }

    def compile_members(self, shape: Shape) -> Write:
        """Return a writer of a structure's members, without a tag of its own."""
        members = {
            name: self._compile(member, member.serialization.get("name", name))
            for name, member in shape.members.items()
        }

        def write(value: Mapping[str, Any], append: Append) -> None:
            for name, item in value.items():
                if item is not None:
                    members[name](item, append)

        return write

    def _compile(self, shape: Shape, tag: str) -> Write:
        if shape.type_name == "structure":
            return self._compile_structure(shape, tag)
        if shape.type_name == "list":
            return self._compile_list(shape, tag)
        if shape.type_name == "map":
            return self._compile_map(shape, tag)
        words = list(getattr(shape, "enum", ())) if shape.type_name == "string" else []
        known = [True, False] if shape.type_name == "boolean" else words
        return _compile_scalar(self._texts[shape.type_name], tag, known)

    def _compile_structure(self, shape: Shape, tag: str) -> Write:
        write_members = self.compile_members(shape)
        start, end = f"<{tag}>", f"</{tag}>"

        def write(value: Mapping[str, Any], append: Append) -> None:
            append(start)
            write_members(value, append)
            append(end)

        return write

    def _compile_list(self, shape: Shape, tag: str) -> Write:
        write_item = self._compile(shape.member, shape.member.serialization.get("name", self._list_item))
        start, end = f"<{tag}>", f"</{tag}>"

        def write(value: Any, append: Append) -> None:
            append(start)
            for item in value:
                write_item(item, append)
            append(end)

        return write

    def _compile_map(self, shape: Shape, tag: str) -> Write:
        write_key = self._compile(shape.key, shape.key.serialization.get("name", "key"))
        write_value = self._compile(shape.value, shape.value.serialization.get("name", "value"))
        start, end = f"<{tag}>", f"</{tag}>"

        def write(value: Mapping[str, Any], append: Append) -> None:
            append(start)
            for key, item in value.items():
                append("<entry>")
                write_key(key, append)
                write_value(item, append)
                append("</entry>")
            append(end)

        return write


def _compile_scalar(text: Callable[[Any], str], tag: str, known: Sequence[Any]) -> Write:
    """Return a writer; what ``known`` values look like is worked out now, not each time."""
    start, end = f"<{tag}>", f"</{tag}>"
    elements = {value: start + text(value) + end for value in known}

    def write(value: Any, append: Append) -> None:
        append(start + text(value) + end)

    def write_known(value: Any, append: Append) -> None:
        element = elements.get(value)
        append(start + text(value) + end if element is None else element)

    return write_known if elements else write
