"""One declared type as the store sees it: values to JSON and back, by pydantic.

What is stored goes by field names (not aliases), in pydantic's JSON mode, and is read back in JSON mode,
so that strict models and types with a JSON form of their own come back as they went. The rule of this
file: problems are told by place and message; the value itself, which may be a secret, is in no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from squidmesh.core import secrecy

Problems = dict[str, str]
"""What is wrong with a value: path of the field (empty: the value itself) to what is wrong there."""

_LOOSE: Final = frozenset({"any", "is-instance", "is-subclass", "callable", "function-plain"})
_INSTANCES: Final = frozenset({"model", "dataclass", "is-instance", "json-or-python"})
_EXTRA: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
_NO_PLACE: Final = re.compile(r"(function-\w+|lax-or-strict|json-or-python|nullable|chain|constrained-\w+)\[.*")
_NO_SCHEMA: Final = frozenset({"metadata", "default", "expected", "serialization"})
_NO_TEXT: Final = (
    "bytes that are no UTF-8 text have no JSON form: give them as base64 text, or in a model with "
    "ConfigDict(ser_json_bytes='base64', val_json_bytes='base64')"
)
_VALUES: Final = re.compile(r"input_value=.*?, (?=input_type=)", re.DOTALL)


class Refused(Exception):
    """The value does not fit the type or has no JSON form; ``problems`` says where and why."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{path}: {why}" if path else why for path, why in problems.items()))


class Shape:
    """A type that values are validated by, encoded to JSON and decoded from it."""

    __slots__ = (
        "_bytes_of_its_own",
        "_checked",
        "_dump",
        "_from_json",
        "_keeps_extra",
        "_loose",
        "_sets",
        "_tolerance",
        "_validate",
    )

    def __init__(self, annotation: Any) -> None:
        """Raises: whatever pydantic raises for a type that it has no schema for."""
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        self._validate = adapter.validator.validate_python
        self._from_json = adapter.validator.validate_json
        self._dump = adapter.serializer.to_python
        nodes = list(_nodes(adapter.core_schema))
        kinds = {node.get("type") for node in nodes}
        self._keeps_extra = any(
            "allow" in (node.get("extra_behavior"), _config(node, "extra_fields_behavior")) for node in nodes
        )
        self._tolerance: Literal["ignore"] | None = None if self._keeps_extra else "ignore"
        self._loose = self._keeps_extra or not kinds.isdisjoint(_LOOSE)
        self._sets = not kinds.isdisjoint({"set", "frozenset"})
        # An instance is taken as it is: one that was changed since it was made shows when it is dumped.
        self._checked: dict[str, Any] = {} if kinds.isdisjoint(_INSTANCES) else {"warnings": "error"}
        self._bytes_of_its_own = any(_config(n, "val_json_bytes") is not None for n in nodes)

    def encode(self, value: Any, *, forbid_extra: bool = False) -> Any:
        """Validate the value (lax, as Python code gives it) and return its JSON form, secrets marked.

        ``forbid_extra``: a dict that stands for a model may have no fields that the model does not know.

        Raises: Refused.
        """
        try:
            if not forbid_extra:
                valid = self._validate(value)
            elif not self._keeps_extra:
                valid = self._validate(value, extra="forbid")
            else:
                valid = self._known_only(value)
            form = self._dump(valid, mode="json", by_alias=False, round_trip=True, **self._checked)
            text = to_json(form)
            if self._sets or secrecy.needs_mark(text) or (self._loose and (b"null" in text or b"[" in text)):
                return self._marked(form, valid)
            return form
        except Refused:
            raise
        except secrecy.NoJson as error:
            raise Refused({"": str(error)}) from None
        except ValidationError as error:
            raise Refused(problems_of(error)) from None
        except PydanticSerializationError as error:
            raise Refused({"": " ".join(_VALUES.sub("", str(error)).split())}) from None
        except UnicodeDecodeError as error:
            raise Refused({"": _NO_TEXT}) from error
        except Exception as error:  # validators and serializers of the user's own raise anything
            raise Refused({"": f"{type(error).__name__}: {error}"}) from error

    def decode(self, stored: Any) -> Any:
        """The value anew from its JSON form; fields that the type does not know (any more) are ignored.

        Raises: Refused.
        """
        try:
            text = to_json(stored)
            if not secrecy.is_marked(text):
                return self._read(stored, text)
            if self._loose or self._bytes_of_its_own or secrecy.has_binary(stored):
                objects = secrecy.reveal(stored, objects=True)
                try:  # JSON mode gives no secrets where anything may stand, nor such as are no text
                    return self._validate(objects, extra=self._tolerance, by_alias=True, by_name=True)
                except ValidationError:  # a strict type takes texts for dates and the like in JSON mode only
                    pass
            plain = secrecy.reveal(stored)
            return self._read(plain, to_json(plain))
        except ValidationError as error:
            raise Refused(problems_of(error)) from None
        except Exception as error:  # validators of the user's own raise anything
            raise Refused({"": f"{type(error).__name__}: {error}"}) from error

    def _marked(self, form: Any, valid: Any) -> Any:
        marked = secrecy.mark(form, self._dump(valid, mode="python", by_alias=False, round_trip=True))
        if self._bytes_of_its_own and marked != form and self.decode(marked) != valid:
            raise Refused({"": "its secrets would not come back: use SecretStr, or no val_json_bytes"})
        return marked

    def _known_only(self, value: Any) -> Any:
        """Validate, and refuse the fields that no model has taken.

        ``extra="forbid"`` overrules the models that allow extra fields too: what it finds is looked up in
        the valid value.
        """
        valid = self._validate(value)
        try:
            self._validate(value, extra="forbid")
        except ValidationError as error:
            extra = [found["loc"] for found in error.errors() if found["type"] in _EXTRA]
            dropped = [loc for loc in extra if not _taken(valid, loc)]
            if dropped:
                raise Refused({_path(loc): "unknown field" for loc in dropped}) from None
        return valid

    def _read(self, stored: Any, text: bytes) -> Any:
        try:
            return self._from_json(text, extra=self._tolerance, by_alias=True, by_name=True)
        except ValidationError as error:
            # models beside the one that allows extra fields may forbid them: leave out what they refuse
            extra = [p["loc"] for p in error.errors(include_url=False) if p["type"] in _EXTRA]
            if not extra:
                raise
            for loc in extra:
                stored = _without(stored, loc)
            return self._from_json(to_json(stored), by_alias=True, by_name=True)


def problems_of(error: ValidationError) -> Problems:
    """What pydantic found wrong, by path, without the values."""
    problems: Problems = {}
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        path, why = _path(found["loc"]), _why(found["type"], found["msg"])
        known = problems.get(path)
        problems[path] = why if known is None or why in known else f"{known}; or: {why}"
    return problems


def _why(kind: str, message: str) -> str:
    match kind:
        case "missing" | "missing_argument":
            return "missing"
        case _ if kind in _EXTRA:
            return "unknown field"
        case _:
            return message.removeprefix("Value error, ")


def _path(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc if not (isinstance(part, str) and _NO_PLACE.match(part)))


def _nodes(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Every part of a core schema; what is not schema (defaults, functions, metadata) is passed over."""
    stack, seen = [schema], set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, dict):
            yield node
            stack.extend(v for k, v in node.items() if k not in _NO_SCHEMA)
        elif isinstance(node, list | tuple):
            stack.extend(node)


def _config(node: Mapping[str, Any], key: str) -> Any:
    config = node.get("config")
    return config.get(key) if isinstance(config, dict) else None


def _taken(valid: Any, loc: tuple[int | str, ...]) -> bool:
    """Whether the validated value has what was given at ``loc``, as a field or an extra one."""
    owner, known = valid, False
    for part in loc:
        found, inner = _member(owner, part)
        known = found
        if found:
            owner = inner
    return known


def _member(owner: Any, part: int | str) -> tuple[bool, Any]:
    """Whether an object has something under one part of a path, and what; a union's branch is a part, too."""
    match owner:
        case dict():
            return part in owner, owner.get(part)
        case list() | tuple() if isinstance(part, int):
            return part < len(owner), owner[part] if part < len(owner) else None
        case _ if isinstance(part, str):
            extra = getattr(owner, "__pydantic_extra__", None) or {}
            if part in extra:
                return True, extra[part]
            name = _field_named(owner, part)
            return name is not None, getattr(owner, name, None) if name else None
        case _:
            return False, None


def _field_named(owner: Any, part: str) -> str | None:
    fields: Mapping[str, Any] = getattr(type(owner), "__pydantic_fields__", None) or {}
    for name, field in fields.items():
        if part in (name, field.alias, field.validation_alias):
            return name
    return None


def _without(stored: Any, loc: tuple[int | str, ...]) -> Any:
    """A copy of JSON without what stands at ``loc``."""
    if not loc:
        return stored
    here, rest = loc[0], loc[1:]
    if isinstance(stored, dict) and here in stored:
        if not rest:
            return {k: v for k, v in stored.items() if k != here}
        return {k: _without(v, rest) if k == here else v for k, v in stored.items()}
    if isinstance(stored, list) and isinstance(here, int) and here < len(stored):
        return [_without(v, rest) if n == here else v for n, v in enumerate(stored)]
    return _without(stored, rest)  # a branch of a union
