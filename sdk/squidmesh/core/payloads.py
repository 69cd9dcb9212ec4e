"""Payloads: arguments, results and messages as JSON values, by the types that the code declares.

A payload is JSON as Python has it (dict, list, str, int, float, bool, None) in which secrets are marked
(secrecy.py). The rule of this file: what comes in is checked whole and every problem is named by its
path; what is read back is decoded anew each time, tolerant of fields that other versions of the code have
written.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Final, NotRequired, get_type_hints

from pydantic_core import from_json, to_json
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on only

from squidmesh.core.secrecy import MASK, mask, secrets_in
from squidmesh.core.shape import Problems, Refused, Shape
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError

__all__ = [
    "MASK",
    "Parameters",
    "Value",
    "dumps",
    "loads",
    "mask",
    "secrets_in",
    "size_check",
    "type_hints",
]

_LISTED: Final = Parameter.VAR_POSITIONAL
_NAMED: Final = Parameter.VAR_KEYWORD
_BY_PLACE: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def dumps(value: Any) -> str:
    """The JSON text of a payload.

    Raises: PayloadError for what JSON does not have.
    """
    try:
        text = to_json(value)
        if b"NaN" in text or b"Infinity" in text:
            from_json(text, allow_inf_nan=False)  # these may stand in a string, but not as a number
        return text.decode()
    except ValueError as error:
        raise PayloadError(f"this value has no JSON form: {error}") from None


def loads(text: str | bytes) -> Any:
    """The payload of a JSON text.

    Raises: ValueError when it is none.
    """
    return from_json(text, allow_inf_nan=False)


def size_check(value: Any, limit: int, what: str) -> None:
    """Refuse a payload whose JSON is over ``limit`` bytes.

    ``value`` is the payload, or its JSON text as bytes; ``what`` names it in the error.

    Raises: PayloadError, with the size and the limit.
    """
    size = len(value if isinstance(value, bytes) else to_json(value))
    if size > limit:
        raise PayloadError(
            f"{what} is too large: {size:,} bytes of JSON, the limit is {limit:,}; "
            "store it elsewhere and pass a reference, or raise max_payload"
        )


def type_hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, evaluated.

    Names are looked up in its module and, as far as they are still there, in the functions around it.

    Raises: DefinitionError for a name that cannot be found.
    """
    try:
        return get_type_hints(fn, localns=_surroundings(fn), include_extras=True)
    except Exception as error:  # annotations are code, which may raise anything
        raise DefinitionError(
            f"the annotations of {fn.__qualname__} at {_place(fn)} cannot be evaluated: {error}; "
            "types that it names must be there at run time, not only under TYPE_CHECKING"
        ) from error


class Value:
    """One declared type: results, messages, published values.

    ``what`` names the value in errors ("the result of step 'charge'").

    Raises: DefinitionError for a type that has no JSON form.
    """

    __slots__ = ("_shape", "what")

    def __init__(self, annotation: Any, what: str) -> None:
        self.what = what
        try:
            self._shape = Shape(annotation)
        except Exception as error:  # pydantic has many ways to refuse a type
            raise DefinitionError(f"{what}: {_no_form(annotation, error)}") from error

    def encode(self, value: Any) -> Any:
        """The JSON form of a value, validated against the type.

        Raises: PayloadError, which names the value and each problem.
        """
        try:
            return self._shape.encode(value)
        except Refused as refused:
            raise PayloadError(f"{self.what} cannot be stored: {refused}") from refused.__cause__

    def decode(self, stored: Any) -> Any:
        """The value, anew, from its JSON form.

        Raises: InvalidPayload, which names each problem.
        """
        try:
            return self._shape.decode(stored)
        except Refused as refused:
            raise InvalidPayload(self.what, _named(refused.problems, "value")) from refused.__cause__


class Parameters:
    """The parameters of a step or workflow: arguments to JSON by name, and back.

    ``what`` names the function in errors ("step 'charge'"). Parameters without an annotation take any
    value that has a JSON form; one whose default is None takes None.

    Raises: DefinitionError for a parameter whose type has no JSON form.
    """

    __slots__ = ("_defaults", "_hints", "_parameters", "_places", "_required", "_shape", "_simple", "what")

    def __init__(self, fn: Callable[..., Any], what: str) -> None:
        self.what = what
        self._parameters = inspect.signature(fn).parameters
        hints = type_hints(fn)
        self._hints = {name: _annotation(p, hints.get(name, Any)) for name, p in self._parameters.items()}
        self._places = tuple(name for name, p in self._parameters.items() if p.kind in _BY_PLACE)
        self._defaults = {n: p.default for n, p in self._parameters.items() if p.default is not Parameter.empty}
        self._defaults |= {n: [] for n, p in self._parameters.items() if p.kind is _LISTED}
        self._defaults |= {n: {} for n, p in self._parameters.items() if p.kind is _NAMED}
        self._required = frozenset(self._parameters) - frozenset(self._defaults)
        self._simple = all(p.kind is Parameter.POSITIONAL_OR_KEYWORD for p in self._parameters.values())
        fields = {n: h if n in self._required else NotRequired[h] for n, h in self._hints.items()}
        try:
            self._shape = Shape(TypedDict("Arguments", fields))  # type: ignore[operator]
        except Exception as error:  # pydantic has many ways to refuse a type
            raise DefinitionError(f"{what} at {_place(fn)}: {self._unfit(error)}") from error

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call as JSON, by parameter name, defaults applied.

        ``*args`` is a list and ``**kwargs`` a dict under their names.

        Raises: InvalidPayload (a ValueError), which names each argument and field that is missing,
        unknown or wrong.
        """
        given, problems = self._given(args, kwargs)
        if problems:  # told together with what is wrong with the arguments that are there
            raise InvalidPayload(self.what, problems | self._problems(given))
        try:
            form: dict[str, Any] = self._shape.encode(given, forbid_extra=True)
        except Refused as refused:
            found = self._problems(given) or _named(refused.problems, "arguments")
            raise InvalidPayload(self.what, found) from refused.__cause__
        return form

    def decode(self, stored: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, kwargs)`` to call the function with, anew, from what ``bind`` gave.

        A parameter that the stored input lacks takes its default; what the function does not know is
        ignored.

        Raises: InvalidPayload, which names each problem.
        """
        try:
            values = self._shape.decode(stored)
        except Refused as refused:
            raise InvalidPayload(self.what, _named(refused.problems, "input")) from refused.__cause__
        if self._simple and len(values) == len(self._places):
            return tuple(values[name] for name in self._places), {}
        return self._call(values)

    def _call(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            value = values[name] if name in values else self._defaults[name]
            match parameter.kind:
                case Parameter.POSITIONAL_ONLY | Parameter.POSITIONAL_OR_KEYWORD:
                    args.append(value)
                case Parameter.VAR_POSITIONAL:
                    args.extend(value)
                case Parameter.KEYWORD_ONLY:
                    kwargs[name] = value
                case Parameter.VAR_KEYWORD:
                    kwargs.update(value)
        return tuple(args), kwargs

    def _given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Problems]:
        """Values by parameter name, and what is wrong with the call as a call."""
        given = dict(zip(self._places, args, strict=False))
        if self._simple and len(args) <= len(self._places) and given.keys().isdisjoint(kwargs):
            given.update(kwargs)
            if len(given) < len(self._parameters):
                given = {**self._defaults, **given}
            if given.keys() == self._parameters.keys():
                return given, {}
        return self._sorted_out(args, kwargs)

    def _sorted_out(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Problems]:
        given: dict[str, Any] = dict(zip(self._places, args, strict=False))
        problems: Problems = {}
        beyond = list(args[len(self._places) :])
        rest: dict[str, Any] = {}
        listed = next((n for n, p in self._parameters.items() if p.kind is _LISTED), None)
        named = next((n for n, p in self._parameters.items() if p.kind is _NAMED), None)
        for name, value in kwargs.items():
            parameter = self._parameters.get(name)
            if parameter is None or parameter.kind in (Parameter.POSITIONAL_ONLY, _LISTED, _NAMED):
                rest[name] = value
            elif name in given:
                problems[name] = "given twice, by position and by name"
            else:
                given[name] = value
        if listed is not None:
            given[listed] = beyond
        elif beyond:
            most = len(self._places)
            problems[f"argument {most + 1}"] = f"too many arguments: {len(args)} by position, {most} are taken"
        if named is not None:
            given[named] = rest
        else:
            problems |= {
                name: "taken by position only" if name in self._parameters else "unknown argument" for name in rest
            }
        lacking = (n for n in self._parameters if n in self._required and n not in given)
        problems |= {name: "missing" for name in lacking if name not in problems}
        return {**{n: d for n, d in self._defaults.items() if n not in given}, **given}, problems

    def _problems(self, given: Mapping[str, Any]) -> Problems:
        """What is wrong with each argument, one by one, of a call that is refused already.

        All at once would not do: a value without a JSON form shows only when all others fit, and has no
        path.
        """
        problems: Problems = {}
        for name, value in given.items():
            try:
                Shape(self._hints[name]).encode(value, forbid_extra=True)
            except Refused as refused:
                problems |= {f"{name}.{path}" if path else name: why for path, why in refused.problems.items()}
        return problems

    def _unfit(self, error: Exception) -> str:
        for name, hint in self._hints.items():
            try:
                Shape(hint)
            except Exception as own:  # noqa: BLE001 - as above: which of them is it
                return f"parameter {name!r}: {_no_form(hint, own)}"
        return str(error)


def _annotation(parameter: Parameter, hint: Any) -> Any:
    match parameter.kind:
        case Parameter.VAR_POSITIONAL:
            return list[hint]
        case Parameter.VAR_KEYWORD:
            return dict[str, hint]
        case _:
            return hint | None if parameter.default is None and hint is not Any else hint


def _no_form(annotation: Any, error: Exception) -> str:
    name = getattr(annotation, "__qualname__", None) or repr(annotation)
    return (
        f"the type {name} has no JSON form ({str(error).splitlines()[0]}); "
        "declare a pydantic model, a dataclass or a type that pydantic knows"
    )


def _named(problems: Problems, whole: str) -> Problems:
    """Problems of the value itself under a name of their own."""
    return {path or whole: why for path, why in problems.items()}


def _surroundings(fn: Callable[..., Any]) -> dict[str, Any] | None:
    """Names that a function inside another one sees: its closure, and that other one's if it still runs."""
    if "<locals>" not in fn.__qualname__:
        return None
    names: dict[str, Any] = {}
    outer = fn.__qualname__.rpartition(".<locals>")[0]
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_qualname == outer and frame.f_globals is fn.__globals__:
            names |= frame.f_locals
            break
        frame = frame.f_back  # type: ignore[assignment]
    return names | dict(inspect.getclosurevars(fn).nonlocals)


def _place(fn: Callable[..., Any]) -> str:
    code = getattr(fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(fn)
