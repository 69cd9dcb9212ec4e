"""What of a history is not written into a file: secrets always, and what the user names.

A value that is left out stays as a mark with a stand-in of the same shape, ``{"$redacted": stand-in}``: a replay gives
the stand-in to the code, and accepts whatever comes where the code hands it on.

The rule of this file: what was left out in one place is left out in every text of the history, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Final, TypeAlias

from squidmesh.core import events as ev
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.secrecy import KEY, MASK, secrets_in

REDACTED: Final = "$redacted"

Redact: TypeAlias = Iterable[str] | Mapping[str, Any] | Callable[[str, Any], Any]
"""Names; names with what stands in for their values; or a function of the path and the value, which gives it."""

OF_VALUES: Final = ("input", "result", "value", "payload", "attributes")
"""Fields of events that hold values of the user's."""

OF_TEXT: Final = ("actor", "note", "key", "message")
"""Fields that hold text of the user's."""

SHORTEST: Final = 4
"""Characters from which on a text that was left out is looked for in others; a shorter one is found by chance."""

_LETTER, _CAPITAL, _DIGIT = re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]")


class Redacting:
    """Leaves values out of events. ``redact`` is as ``record`` has it."""

    def __init__(self, redact: Redact | None, history: Iterable[Event]) -> None:
        self._stand_in = _chooser(redact)
        self._texts: dict[str, str] = {}
        self._steps = {event.position: event.step for event in history if isinstance(event, ev.StepScheduled)}
        for event in history:  # first, for what is left out late may be told earlier
            self.event(event)

    def event(self, event: Event) -> Event:
        """The event without what is left out."""
        changed: dict[str, Any] = {}
        for field in fields(event):
            value = getattr(event, field.name)
            if field.name in OF_VALUES:
                changed[field.name] = self._value(f"{self._place(event)}{field.name}", value)
            elif field.name in OF_TEXT and isinstance(value, str):
                changed[field.name] = _plain(self._value(field.name, value))
            elif isinstance(value, Failure):
                changed[field.name] = self._failure(value)
        return replace(event, **changed)

    def _place(self, event: Event) -> str:
        """How paths of values in this event begin: with the name of the step or the signal, if it is of one."""
        position = getattr(event, "position", "")
        name = self._steps.get(position) or getattr(event, "name", None)
        return f"{name}." if isinstance(name, str) else ""

    def _value(self, path: str, value: Any) -> Any:
        if isinstance(value, dict) and KEY in value:
            for text in secrets_in(value):
                self._left_out(text, MASK)
            return {REDACTED: {**value, KEY: _masked(value)}}
        stand_in = self._stand_in(path, value)
        if stand_in is not value:
            self._left_out(value, stand_in)
            return {REDACTED: stand_in}
        match value:
            case dict():
                return {key: self._value(f"{path}.{key}", member) for key, member in value.items()}
            case list():
                return [self._value(path, member) for member in value]
            case str() if (scrubbed := self._scrubbed(value)) != value:
                return {REDACTED: scrubbed}
            case _:
                return value

    def _failure(self, failure: Failure) -> Failure:
        cause = None if failure.cause is None else self._failure(failure.cause)
        data = _plain(self._value("failure", failure.data))
        return failure.model_copy(update={"message": self._scrubbed(failure.message), "data": data, "cause": cause})

    def _left_out(self, value: Any, stand_in: Any) -> None:
        """Remember the texts of a value, to find them elsewhere."""
        match value, stand_in:
            case str(), str() if len(value) >= SHORTEST:
                self._texts[value] = stand_in
            case dict(), dict():
                for key, member in value.items():
                    self._left_out(member, stand_in.get(key))
            case list(), list():
                for member, other in zip(value, stand_in, strict=False):
                    self._left_out(member, other)
            case _:
                pass

    def _scrubbed(self, text: str) -> str:
        for left_out in sorted(self._texts, key=len, reverse=True):
            text = text.replace(left_out, self._texts[left_out])
        return text


def _chooser(redact: Redact | None) -> Callable[[str, Any], Any]:
    """Gives what stands in for the value at a path; the value itself, where it may be shown."""
    if redact is None:
        return lambda path, value: value
    if callable(redact):
        return redact
    if isinstance(redact, str):
        raise TypeError(f"redact= takes a list of names, not {redact!r}: write [{redact!r}]")
    known: Mapping[str, Any] = redact if isinstance(redact, Mapping) else dict.fromkeys(redact, _SAME_SHAPE)

    def chosen(path: str, value: Any) -> Any:
        for name, stand_in in known.items():
            if value is not None and (path == name or path.endswith(f".{name}")):
                return same_shape(value) if stand_in is _SAME_SHAPE else stand_in
        return value

    return chosen


_SAME_SHAPE: Final = object()


def same_shape(value: Any) -> Any:
    """A value that says nothing, and fits most types that the value fits: every letter an a, every digit a 1."""
    match value:
        case bool() | None:
            return value if value is None else False
        case int() | float():
            return type(value)(1)
        case str():
            return _DIGIT.sub("1", _CAPITAL.sub("A", _LETTER.sub("a", value)))
        case dict() if KEY in value:
            return {**value, KEY: _masked(value)}
        case dict():
            return {key: same_shape(member) for key, member in value.items()}
        case _:
            return [same_shape(member) for member in value]


def _masked(secret: Mapping[str, Any]) -> Any:
    if secret.get("form") == "base64":
        return "AAAA"
    return MASK if isinstance(secret[KEY], str) else same_shape(secret[KEY])


def _plain(value: Any) -> Any:
    """A value of which no place is kept: the stand-ins alone."""
    match value:
        case {"$redacted": stand_in}:
            return stand_in
        case dict():
            return {key: _plain(member) for key, member in value.items()}
        case list():
            return [_plain(member) for member in value]
        case _:
            return value


class Anything:
    """Stands for a value that was left out where the code hands it on: equal to whatever it hands on."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


ANYTHING: Final = Anything()


def restored(event: Event) -> Event:
    """An event as a replay takes it: its stand-ins as values, but where they are only compared."""
    compared = isinstance(event, (ev.StepScheduled, ev.UndoRegistered, ev.ChildStarted, ev.StepDeferred))
    changed = {
        field.name: _restored(value, compared and field.name == "input")
        for field in fields(event)
        if field.name in OF_VALUES and (value := getattr(event, field.name)) is not None
    }
    return replace(event, **changed) if changed else event


def _restored(value: Any, compared: bool) -> Any:
    match value:
        case {"$redacted": stand_in}:
            return ANYTHING if compared else stand_in
        case dict():
            return {key: _restored(member, compared) for key, member in value.items()}
        case list():
            return [_restored(member, compared) for member in value]
        case _:
            return value
