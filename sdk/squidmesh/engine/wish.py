"""What is said about a start besides the call: checked and translated, before anything is written.

The rule of this file: what one of the databases would refuse, or could not look for later, is refused for all of them,
by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from squidmesh.core.calls import queue_name, seconds, whole_number
from squidmesh.core.commands import micros
from squidmesh.core.payloads import Value
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError

LONGEST_KEY = 2_000
"""Bytes of UTF-8; an entry of a PostgreSQL index takes no more than 2,704."""

_ATTRIBUTES = Value(dict[str, Any], "attributes=")


@dataclass(frozen=True, slots=True)
class Wish:
    """How runs are to be started; times in microseconds since the epoch."""

    queue: str | None = None
    priority: int = 0
    attributes: Mapping[str, Any] | None = None
    at: int | None = None
    deadline: int | None = None


def wish(
    now: int,
    *,
    queue: object = None,
    priority: object = 0,
    attributes: object = None,
    deadline: float | timedelta | datetime | None = None,
    at: datetime | None = None,
) -> Wish:
    """The wish of ``mesh.start(…)``, as people write it.

    A deadline that is a duration begins with the run: at ``at``, or now.

    Raises: DefinitionError for a queue or priority that is none, InvalidPayload for attributes that cannot be stored,
    TypeError and ValueError for times that are none.
    """
    begins = None if at is None else micros("at", at)
    return Wish(
        queue=queue_name("start", queue),
        priority=whole_number("start: priority", priority) or 0,
        attributes=None if attributes is None else storable("attributes=", attributes),
        at=begins,
        deadline=None if deadline is None else _ends(deadline, max(now, begins or now)),
    )


def _ends(deadline: float | timedelta | datetime, begins: int) -> int:
    if isinstance(deadline, datetime):
        return micros("deadline", deadline)
    return begins + round(seconds("deadline", deadline) * 1e6)


def storable(what: str, attributes: object) -> dict[str, Any]:
    """The JSON form of attributes, which every database can store and look for.

    Raises: InvalidPayload, naming each that is wrong.
    """
    if not isinstance(attributes, Mapping):
        raise InvalidPayload(what, {"value": f"it takes a dict of names and JSON values, not {attributes!r}"})
    try:
        stored: dict[str, Any] = _ATTRIBUTES.encode(dict(attributes))
    except PayloadError as error:
        raise InvalidPayload(what, {"value": str(error)}) from error
    if wrong := dict.fromkeys(_with_nul(stored), "a NUL character, which PostgreSQL cannot look for"):
        raise InvalidPayload(what, wrong)
    return stored


def _with_nul(value: Any, path: str = "") -> Iterator[str]:
    match value:
        case str() if "\0" in value:
            yield path
        case dict():
            for name, inner in value.items():
                here = f"{path}.{name}" if path else name
                yield from [here] if "\0" in name else _with_nul(inner, here)
        case list():
            for n, inner in enumerate(value):
                yield from _with_nul(inner, f"{path}.{n}")
        case _:
            pass


def checked_key(key: object) -> str | None:
    """The key of a start; None is none.

    Raises: DefinitionError for one that cannot be stored or found again.
    """
    match key:
        case None:
            return None
        case str() if key and "\0" not in key and len(key.encode("utf-8", "replace")) <= LONGEST_KEY:
            return key
        case str() if key:
            told = f"{key!r:.40}…" if len(key) > LONGEST_KEY // 4 else repr(key)
            raise DefinitionError(f"key= takes up to {LONGEST_KEY:,} bytes of text without NUL characters, not {told}")
        case _:
            raise DefinitionError(f"key= takes a string that is not empty, not {key!r}")
