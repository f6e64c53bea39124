"""Parameters against the model and against what the operation declares.

Invariant: what reaches an operation has every required member, only values the model's enums and ranges
allow, no empty string that was not asked for, and no parameter the operation does not honour.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bakehouse import errors
from bakehouse.api import patterns
from bakehouse.api.models import MemberNames, Shape, get_operation_model, input_members, shape_at, split_path
from bakehouse.api.protocol.interface import Codec
from bakehouse.api.registry import Operation

# Removes what counts as absent and checks the rest; gives _NOTHING when nothing is left.
_Check = Callable[[Any, str], Any]
_NOTHING = object()

# A tag's value and a filter's values may be empty wherever they stand.
_ALWAYS_KEEPS_EMPTY = {("Tag", "Value"), ("Filter", "Values")}


@dataclass(kw_only=True)
class Rule:
    """What an operation declares at one path; ``children`` are the paths beneath."""

    is_honoured: bool = False
    keeps_empty: bool = False
    has_own_code: bool = False
    harmless: tuple[Any, ...] = ()
    keeps_harmless: bool = False

    def __post_init__(self) -> None:
        self.children: dict[str, Rule] = {}

    def at(self, path: str) -> "Rule":
        """Return the rule for a path beneath, to be filled in."""
        rule = self
        for step in split_path(path):
            rule = rule.children.setdefault(step, Rule())
        return rule

    def below(self, step: str) -> "Rule":
        """The rule for a member; what is beneath an honoured path is honoured."""
        rule = self.children.get(step)
        if rule is None:
            return Rule(is_honoured=self.is_honoured)
        rule.is_honoured = rule.is_honoured or self.is_honoured
        return rule


def _honoured_paths(operation: Operation, members: Mapping[str, Shape]) -> Iterable[str]:
    yield from operation.honours
    names = operation.names
    yield from (name for name in (names.dry_run, names.client_token) if name in members)
    if operation.filters is not None:
        yield "Filters"
    if operation.paged is not None:
        yield from (names.max_results, names.next_token)


def declared_rules(operation: Operation) -> Rule:
    """Return the rule for the whole request of an operation; ValueError for a path the model does not have."""
    model = get_operation_model(operation.service, operation.name)
    root = Rule()
    for path in _honoured_paths(operation, input_members(model)):
        shape_at(model.input_shape, path)
        root.at(path).is_honoured = True
    for path, values in operation.harmless.items():
        if shape_at(model.input_shape, path).type_name in ("structure", "list"):
            raise ValueError(f"harmless values are for single parameters, not for {path}")
        root.at(path).harmless = values
        root.at(path).keeps_harmless = operation.sees_harmless
    for path in operation.keeps_empty:
        shape_at(model.input_shape, path)
        root.at(path).keeps_empty = True
    for path in operation.own_codes:
        shape_at(model.input_shape, path)
        root.at(path).has_own_code = True
    return root


class Validator:
    """Checks the parameters of one operation; made once, raises ValueError for a path the model does not
    have.
    """

    def __init__(self, operation: Operation, codec: Codec) -> None:
        self._codec = codec
        self._paged = operation.paged
        self._names: MemberNames = operation.names
        model = get_operation_model(operation.service, operation.name)
        rules = declared_rules(operation)
        self._check = self._structure(model.input_shape, rules) if model.input_shape else None

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters without what counts as absent; raise the client's error otherwise."""
        if self._check is None:
            return {}
        checked = self._check(parameters, "")
        valid: dict[str, Any] = {} if checked is _NOTHING else checked
        if self._paged is not None:
            self._paged.check(valid, self._names)
        return valid

    def _compile(self, shape: Shape, rule: Rule) -> _Check:
        if shape.type_name == "structure":
            return self._structure(shape, rule)
        if shape.type_name == "list":
            return self._list(shape, rule)
        if shape.type_name == "map":
            return self._map(shape, rule)
        return _scalar(shape, rule, self._codec)

    def _structure(self, shape: Shape, rule: Rule) -> _Check:
        checks: dict[str, tuple[str, _Check]] = {}
        for name, member in shape.members.items():
            below = rule.below(name)
            if (shape.name, name) in _ALWAYS_KEEPS_EMPTY:
                (below if member.type_name == "string" else below.children.setdefault("[]", Rule())).keeps_empty = True
            checks[name] = (self._codec.wire_name(name, member), self._compile(member, below))
        required = [(name, checks[name][0]) for name in shape.required_members]
        drops_empty, is_honoured = self._codec.drops_empty, rule.is_honoured or bool(rule.children)

        def check(value: Mapping[str, Any], path: str) -> Any:
            kept = {}
            for name, item in value.items():
                wire_name, check_member = checks[name]
                checked = check_member(item, f"{path}.{wire_name}" if path else wire_name)
                if checked is not _NOTHING:
                    kept[name] = checked
            if not kept and path:
                if drops_empty:
                    return _NOTHING
                if not is_honoured:
                    raise errors.unsupported_parameter(path)
            for name, wire_name in required:
                if name not in kept:
                    raise errors.missing_parameter(f"{path}.{wire_name}" if path else wire_name)
            return kept

        return check

    def _list(self, shape: Shape, rule: Rule) -> _Check:
        check_element = self._compile(shape.member, rule.below("[]"))
        bounds, drops_empty = _Bounds.of(shape), self._codec.drops_empty
        is_honoured = rule.is_honoured or bool(rule.children)

        def check(value: list[Any], path: str) -> Any:
            elements = (check_element(item, f"{path}.{index}") for index, item in enumerate(value, 1))
            kept = [element for element in elements if element is not _NOTHING]
            if not kept:
                if drops_empty:
                    return _NOTHING
                if not is_honoured:
                    raise errors.unsupported_parameter(path)
            bounds.check(len(kept), path, f"{len(kept)} elements")
            return kept

        return check

    def _map(self, shape: Shape, rule: Rule) -> _Check:
        below = Rule(is_honoured=rule.is_honoured, keeps_empty=True)
        check_key, check_value = self._compile(shape.key, below), self._compile(shape.value, below)
        bounds = _Bounds.of(shape)

        def check(value: Mapping[str, Any], path: str) -> Any:
            if not rule.is_honoured:
                raise errors.unsupported_parameter(path)
            bounds.check(len(value), path, f"{len(value)} members")
            return {check_key(key, path): check_value(item, f"{path}.{key[:100]}") for key, item in value.items()}

        return check


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    """The model's min and max: of a number itself, of a text's length, of a list's length."""

    minimum: float | None
    maximum: float | None

    @classmethod
    def of(cls, shape: Shape) -> "_Bounds":
        return cls(minimum=shape.metadata.get("min"), maximum=shape.metadata.get("max"))

    def check(self, size: float, path: str, shown: object) -> None:
        if self.minimum is not None and size < self.minimum:
            raise errors.invalid_value_for(path, shown, f"The minimum is {self.minimum}.")
        if self.maximum is not None and size > self.maximum:
            raise errors.invalid_value_for(path, shown, f"The maximum is {self.maximum}.")


def _scalar(shape: Shape, rule: Rule, codec: Codec) -> _Check:
    honoured, harmless, keeps_harmless = rule.is_honoured, rule.harmless, rule.keeps_harmless
    keeps_empty = rule.keeps_empty or not codec.drops_empty
    is_text = shape.type_name in ("string", "blob")
    # Ansible sends "LaunchPermission" for launchPermission; no enum of EC2's has two values that differ in
    # case only.
    fold = str.lower if codec.drops_empty else str
    enum = {} if rule.has_own_code else {fold(word): word for word in getattr(shape, "enum", ())}
    bounds = _Bounds(minimum=None, maximum=None) if rule.has_own_code else _Bounds.of(shape)
    # EC2 has a code for each kind of id that is out of form; the others say no more than that.
    matches = patterns.find_match(shape) if codec.service != "ec2" and not rule.has_own_code else None

    def check(value: Any, path: str) -> Any:
        if value in ("", b"") and not keeps_empty:
            return _NOTHING
        if not honoured:
            if any(value == one and type(value) is type(one) for one in harmless):
                return value if keeps_harmless else _NOTHING
            raise errors.unsupported_parameter(path)
        if enum:
            if fold(value) not in enum:
                raise errors.invalid_value_for(path, value[:100])
            return enum[fold(value)]
        if (value not in ("", b"") or not codec.drops_empty) and not isinstance(value, bool):
            if is_text or isinstance(value, int | float):
                size = len(value) if is_text else value
                bounds.check(size, path, f"{size} long" if is_text else value)
            if matches is not None and not matches(value):
                reason = "It must satisfy regular expression pattern: "
                raise errors.invalid_value_for(path, value[:100], reason + shape.metadata["pattern"])
        return value

    return check
