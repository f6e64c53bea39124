"""Parameter trees to Python values, compiled once per shape.

Invariant: what botocore's serializer writes is read back equal; everything else is refused with the
parameter's name, and nothing but the shape decides a value's type.
"""

from collections.abc import Callable

from bakehouse import errors
from bakehouse.api.models import OperationModel, Shape
from bakehouse.api.protocol.form import Node
from bakehouse.api.protocol.scalars import READERS

# Returned for a parameter that was sent empty and is of a type that has no empty value.
ABSENT = object()

Read = Callable[[Node, str], object]
WireName = Callable[[str, Shape], str]
# The wire name of a list's elements below the list's own name; None when they follow it directly (Name.N).
ElementName = Callable[[Shape], str | None]

_MAX_INDEX_DIGITS = 6


class Compiler:
    """Makes readers for shapes; ``wire_name`` and ``element_name`` are what the two query protocols differ
    in.
    """

    def __init__(self, wire_name: WireName, element_name: ElementName) -> None:
        self._wire_name = wire_name
        self._element_name = element_name

    def compile(self, shape: Shape) -> Read:
        """Return the reader for one shape. No input shape of these services is recursive (a test holds
        it).
        """
        if shape.type_name == "structure":
            return self._compile_structure(shape)
        if shape.type_name == "list":
            return self._compile_list(shape)
        if shape.type_name == "map":
            return self._compile_map(shape)
        return _compile_scalar(shape)

    def _compile_structure(self, shape: Shape) -> Read:
        members = {
            self._wire_name(name, member): (name, self.compile(member)) for name, member in shape.members.items()
        }

        def read(node: Node, path: str) -> object:
            values: dict[str, object] = {}
            for wire_name, child in node.items():
                if wire_name == "":
                    if child:
                        raise errors.invalid_value_for(path, str(child)[:100], "It has members.")
                    continue
                full_name = f"{path}.{wire_name}" if path else wire_name
                if wire_name not in members:
                    raise errors.unknown_parameter(full_name)
                name, read_member = members[wire_name]
                assert isinstance(child, dict)
                value = read_member(child, full_name)
                if value is not ABSENT:
                    values[name] = value
            return values

        return read

    def _compile_list(self, shape: Shape) -> Read:
        read_element = self.compile(shape.member)
        element_name = self._element_name(shape)

        def read(node: Node, path: str) -> object:
            if own := node.get(""):
                raise errors.invalid_value_for(path, str(own)[:100], f"It is a list: use {path}.N.")
            if element_name is not None:
                inner = node.get(element_name, {})
                if unknown := next((name for name in node if name not in ("", element_name)), None):
                    raise errors.unknown_parameter(f"{path}.{unknown}")
                assert isinstance(inner, dict)
                node, path = inner, f"{path}.{element_name}"
            numbered = sorted((_index(name, path), name) for name in node if name)
            elements = (read_element(_child(node, name), f"{path}.{name}") for _, name in numbered)
            return [element for element in elements if element is not ABSENT]

        return read

    def _compile_map(self, shape: Shape) -> Read:
        names = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
        read_key, read_value = self.compile(shape.key), self.compile(shape.value)

        def read(node: Node, path: str) -> object:
            inner = node.get("entry", {})
            assert isinstance(inner, dict)
            if unknown := next((name for name in node if name != "entry"), None):
                raise errors.unknown_parameter(f"{path}.{unknown}")
            found: dict[object, object] = {}
            for _, number in sorted((_index(name, path), name) for name in inner if name):
                entry, entry_path = _child(inner, number), f"{path}.entry.{number}"
                if set(entry) != set(names):
                    raise errors.invalid_value_for(entry_path, "", f"It must have {' and '.join(names)}.")
                key = read_key(_child(entry, names[0]), entry_path)
                found[key] = read_value(_child(entry, names[1]), entry_path)
            return found

        return read


def compile_input(compiler: Compiler, operation: OperationModel) -> Read:
    """Return the reader of an operation's parameters; without any, every parameter is unknown."""
    if operation.input_shape is not None:
        return compiler.compile(operation.input_shape)

    def read(node: Node, _path: str) -> object:
        for name in node:
            raise errors.unknown_parameter(name)
        return {}

    return read


def _child(node: Node, name: str) -> Node:
    child = node[name]
    assert isinstance(child, dict)
    return child


def _index(name: str, path: str) -> int:
    """Indices may have gaps, as EC2 allows; they are never used to allocate anything."""
    is_canonical = name.isascii() and name.isdigit() and name[0] != "0" and len(name) <= _MAX_INDEX_DIGITS
    if not is_canonical:
        raise errors.unknown_parameter(f"{path}.{name}")
    return int(name)


def _compile_scalar(shape: Shape) -> Read:
    read_text = READERS[shape.type_name]
    has_empty_value = shape.type_name in ("string", "character", "blob")

    def read(node: Node, path: str) -> object:
        if unknown := next((name for name in node if name), None):
            raise errors.unknown_parameter(f"{path}.{unknown}")
        text = node[""]
        assert isinstance(text, str)
        return read_text(text, path) if text or has_empty_value else ABSENT

    return read
