"""Events to the JSON text of one history row, and back.

A row is an array of events, each ``[kind, time, *fields]``: the kind in full, the fields in the order of their class,
without those at its end that are at their defaults. The time is in microseconds: since the epoch for the first, since
the event before it for the others (from 10^12 on it is since the epoch again, so that rows can be strung together).

The rule of this file: what is stored is small, for every step is stored, and says itself what it is. Fields of an event
are only ever added at its end; what a newer version has added is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from operator import attrgetter
from typing import Any

from squidmesh.core.events import ALL, BY_KIND, Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import dumps, loads
from squidmesh.errors import PayloadError

EPOCH = 10**12
"""From here on a time is one since the epoch (of 1970-01-12 and later), below it is a distance."""


def _fields(cls: type[Event]) -> list[tuple[str, Any]]:
    """The fields of a class in order, each with its default (``MISSING``: it has none)."""
    own = (f for f in fields(cls) if f.name not in ("seq", "at"))
    return [(f.name, f.default_factory() if f.default_factory is not MISSING else f.default) for f in own]


_NAMES = {cls.__name__: tuple(name for name, _ in _fields(cls)) for cls in ALL}
_DEFAULTS = {cls: tuple(default for _, default in _fields(cls)) for cls in ALL}
_FAILURE = {cls: names.index("failure") + 2 for cls in ALL if "failure" in (names := _NAMES[cls.__name__])}
"""Where in its row a class has a failure, which is the one value that is no JSON yet."""


def _values(names: tuple[str, ...]) -> Callable[[Event], tuple[Any, ...]]:
    """Gives the values of these fields, faster than asking for each by name."""
    match names:
        case ():
            return lambda _: ()
        case (name,):
            only = attrgetter(name)
            return lambda event: (only(event),)
        case _:
            return attrgetter(*names)


_VALUES = {cls: _values(_NAMES[cls.__name__]) for cls in ALL}


_Read = Callable[[int, int, list[Any]], Event]


def _reader(cls: type[Event]) -> _Read:
    """Makes events of one class from their stored rows: what the class's own making does, without what that checks.

    Half of what a long history costs to read was in the making of frozen values, which set each field by its name.
    """
    new, put_seq, put_at, failure = object.__new__, _setter(cls, "seq"), _setter(cls, "at"), _FAILURE.get(cls, EPOCH)
    own = [f for f in fields(cls) if f.name not in ("seq", "at")]
    puts = [_setter(cls, f.name) for f in own]
    defaults = [(put, f.default, f.default_factory) for put, f in zip(puts, own, strict=True)]
    left_out = [defaults[n:] for n in range(len(own) + 1)]  # by how many values there are

    def read(seq: int, at: int, row: list[Any]) -> Event:
        event: Event = new(cls)
        put_seq(event, seq)
        put_at(event, at)
        if failure < len(row) and row[failure] is not None:
            row[failure] = Failure.from_json(row[failure])
        values = row[2:]
        for put, value in zip(puts, values, strict=False):
            put(event, value)
        if len(values) < len(puts):
            for put, default, made in left_out[len(values)]:
                if default is MISSING and made is MISSING:
                    raise PayloadError(f"event {seq} of kind {event.kind!r} lacks a field: its row is damaged")
                put(event, default if made is MISSING else made())
        return event

    return read


def _setter(cls: type[Event], name: str) -> Callable[[Event, Any], None]:
    """Sets a field of a new event, whatever class has its slot."""
    owner = next(base for base in cls.__mro__ if name in vars(base))
    put: Callable[[Event, Any], None] = vars(owner)[name].__set__
    return put


_READERS = {name: _reader(cls) for name, cls in BY_KIND.items()}


def encode(events: Iterable[Event]) -> str:
    """The JSON text of these events, in order."""
    rows: list[list[Any]] = []
    before: int | None = None
    for event in events:
        cls, at = type(event), event.at
        row = [cls.__name__, at if before is None or at - before >= EPOCH else at - before, *_VALUES[cls](event)]
        before = at
        for default in reversed(_DEFAULTS[cls]):
            if default is MISSING or row[-1] != default or type(row[-1]) is not type(default):  # 1 is not True
                break
            row.pop()
        if (place := _FAILURE.get(cls, EPOCH)) < len(row) and row[place] is not None:
            row[place] = row[place].to_json()
        rows.append(row)
    return dumps(rows)


def decode(text: str, first_seq: int = 0) -> list[Event]:
    """The events of one stored row; they get the numbers from ``first_seq`` on (0: not numbered, as in an inbox).

    :raises PayloadError: a kind that this version does not know.
    """
    events: list[Event] = []
    at = 0
    for n, row in enumerate(loads(text)):
        kind, time = row[0], row[1]
        at = time if n == 0 or time >= EPOCH else at + time
        if (read := _READERS.get(kind)) is None:
            raise PayloadError(
                f"event {first_seq + n if first_seq else n + 1} is of kind {kind!r}, which this version of Squid Mesh "
                "does not know: a newer one has written it; read it with that one"
            )
        events.append(read(first_seq + n if first_seq else 0, at, row))
    return events


def decode_rows(rows: Sequence[tuple[int, str]]) -> list[Event]:
    """The events of several stored rows ``(seq, text)``, which are in order."""
    return [event for seq, text in rows for event in decode(text, seq)]
