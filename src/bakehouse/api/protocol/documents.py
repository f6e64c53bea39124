"""JSON documents to Python values and back, compiled once per shape, for the protocols that speak JSON.

Invariant: what botocore's serializer writes is read back equal, and what is written here botocore reads back equal;
everything else is refused with the member's name. null is absent. The depth of what is read is the shape's own, and
bounded where a shape holds itself.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from bakehouse import errors
from bakehouse.api.models import Shape, service_model
from bakehouse.api.protocol.scalars import READERS, write_blob
from bakehouse.errors import ApiError

Read = Callable[[Any, str], Any]
Write = Callable[[Any], Any]

# Only shapes that hold themselves (SSM's aggregators) could be nested deeper than their model.
_MAX_DEPTH = 24
_COMPOUND = ("structure", "list", "map")
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "blob": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float, str),
}
_WORDS = {"string": "a string", "integer": "an integer", "long": "an integer", "boolean": "true or false"}


def member_name(name: str, member: Shape) -> str:
    """Return a member's name in a document."""
    return str(member.serialization.get("name", name))


def load(body: bytes) -> dict[str, Any]:
    """Return the object that a body is; SerializationException for anything else. An empty body is an empty object."""
    if not body.strip():
        return {}
    try:
        loaded = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise errors.serialization_exception("The body is not a well-formed JSON document") from None
    if not isinstance(loaded, dict):
        raise errors.serialization_exception("The body is not a JSON object")
    return loaded


def dump(document: Mapping[str, Any]) -> bytes:
    """Return a document's bytes."""
    return json.dumps(document, separators=(",", ":")).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise errors.serialization_exception("A member of the document is given twice")
    return members


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)


class Readers:
    """Makes readers for the shapes of one service."""

    def __init__(self) -> None:
        self._made: dict[str, Read] = {}
        self._under_way: set[str] = set()

    def compile_members(self, members: Mapping[str, Shape]) -> Read:
        """Return the reader of an object with these members."""
        readers = {member_name(name, member): (name, self.compile(member)) for name, member in members.items()}

        def read(value: Any, path: str) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise _mistyped(path, "an object")
            found = {}
            for name, item in value.items():
                full_name = f"{path}.{name}" if path else name
                if name not in readers:
                    raise errors.unknown_parameter(full_name[:200])
                if item is not None:
                    member, read_member = readers[name]
                    found[member] = read_member(item, full_name)
            return found

        return read

    def compile(self, shape: Shape) -> Read:
        """Return the reader for one shape."""
        if shape.type_name not in _COMPOUND:
            return _read_scalar(shape)
        if shape.name in self._made:
            return self._made[shape.name]
        if shape.name in self._under_way:
            return self._read_again(shape.name)
        self._under_way.add(shape.name)
        if shape.type_name == "structure":
            made = self.compile_members(shape.members)
        elif shape.type_name == "list":
            made = self._list(shape)
        else:
            made = self._map(shape)
        self._made[shape.name] = made
        return made

    def _read_again(self, name: str) -> Read:
        def read(value: Any, path: str) -> Any:
            if path.count(".") > _MAX_DEPTH:
                raise errors.serialization_exception("The document is nested too deeply")
            return self._made[name](value, path)

        return read

    def _list(self, shape: Shape) -> Read:
        read_element = self.compile(shape.member)

        def read(value: Any, path: str) -> list[Any]:
            if not isinstance(value, list):
                raise _mistyped(path, "a list")
            return [read_element(item, f"{path}.{index}") for index, item in enumerate(value, 1) if item is not None]

        return read

    def _map(self, shape: Shape) -> Read:
        read_key, read_value = self.compile(shape.key), self.compile(shape.value)

        def read(value: Any, path: str) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise _mistyped(path, "an object")
            items = ((key, item) for key, item in value.items() if item is not None)
            return {read_key(key, path): read_value(item, f"{path}.{key[:100]}") for key, item in items}

        return read


def _mistyped(path: str, expected: str) -> ApiError:
    return errors.serialization_exception(f"The value of {path or 'the document'} must be {expected}")


def _read_scalar(shape: Shape) -> Read:
    kinds, read_text = _JSON_TYPES[shape.type_name], READERS[shape.type_name]
    expected = _WORDS.get(shape.type_name, f"a {shape.type_name}")
    is_text = str in kinds

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise _mistyped(path, expected)
        if isinstance(value, float) and not math.isfinite(value):
            raise _mistyped(path, expected)
        if bool in kinds:
            return value
        # Numbers go through their text, for one check of their range.
        return read_text(value if is_text and isinstance(value, str) else repr(value), path)

    return read


class Writers:
    """Makes writers for the shapes of one service: from Python values to what JSON can carry."""

    def __init__(self) -> None:
        self._made: dict[str, Write] = {}
        self._under_way: set[str] = set()

    def compile_members(self, members: Mapping[str, Shape]) -> Write:
        """Return the writer of an object; KeyError for a member the model does not have, None is left out."""
        writers = {name: (member_name(name, member), self.compile(member)) for name, member in members.items()}

        def write(value: Mapping[str, Any]) -> dict[str, Any]:
            written = {}
            for name, item in value.items():
                wire_name, write_member = writers[name]
                if item is not None:
                    written[wire_name] = write_member(item)
            return written

        return write

    def compile(self, shape: Shape) -> Write:
        """Return the writer for one shape."""
        if shape.type_name == "timestamp":
            return write_iso if shape.serialization.get("timestampFormat") == "iso8601" else _write_epoch
        if shape.type_name == "blob":
            return write_blob
        if shape.type_name not in _COMPOUND:
            return lambda value: value
        if shape.name in self._made:
            return self._made[shape.name]
        if shape.name in self._under_way:
            return self._write_again(shape.name)
        self._under_way.add(shape.name)
        if shape.type_name == "structure":
            made = self.compile_members(shape.members)
        else:
            made = self._list(shape) if shape.type_name == "list" else self._map(shape)
        self._made[shape.name] = made
        return made

    def _write_again(self, name: str) -> Write:
        def write(value: Any) -> Any:
            return self._made[name](value)

        return write

    def _list(self, shape: Shape) -> Write:
        write_element = self.compile(shape.member)
        return lambda value: [write_element(item) for item in value]

    def _map(self, shape: Shape) -> Write:
        write_value = self.compile(shape.value)
        return lambda value: {key: write_value(item) for key, item in value.items()}


def _write_epoch(moment: datetime) -> float:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp(), 3)


def write_iso(moment: datetime) -> str:
    """``2026-01-31T12:00:00Z``."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def error_document(service: str, error: ApiError) -> dict[str, str]:
    """Return an error's body. The message's member is written as the error's shape has it, else in small letters."""
    model = service_model(service)
    members = model.shape_for(error.code).members if error.code in model.shape_names else {}
    message = next((name for name in members if name.lower() == "message"), "message")
    return {"__type": error.code, message: error.message, **error.members}
