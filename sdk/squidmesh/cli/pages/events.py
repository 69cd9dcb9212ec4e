"""The events of a history, one line each.

The rule of this file: it knows no kind by name: what an event has is shown, without what is at its default, and secrets
are masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from typing import Any

from squidmesh.cli.blocks import Cell, Column, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import mask

TIMES = frozenset({"at", "due", "retry_at", "start_at", "deadline", "tick"})
"""Fields that are points in time, in microseconds."""
_APART = frozenset({"seq", "at", "position", "actor", "note", "step"})
_STYLES = (
    ("Lost", "bad"), ("InDoubt", "bad"), ("Blocked", "bad"), ("Halted", "bad"), ("Failed", "warn"),
    ("Rejected", "warn"), ("RunCompleted", "good"), ("Undo", "warn"), ("Rollback", "warn"), ("Entry", "warn"),
)  # fmt: skip


def events(history: Sequence[Event], names: dict[str, str] | None = None) -> Table:
    """A table of events; ``names`` has those of steps by position, which it adds to."""
    columns = [Column("seq", right=True), Column("at"), Column("event"), Column("of"), Column("what", fold=True)]
    return Table(columns, list(rows(history, {} if names is None else names)))


def rows(history: Sequence[Event], names: dict[str, str]) -> Iterator[list[Cell]]:
    for event in history:
        position = getattr(event, "position", None) or getattr(event, "entry", None) or ""
        if step := getattr(event, "step", None):
            names[position] = step
        yield [
            Styled(str(event.seq), "quiet"),
            Styled(f"{instant(event.at):%m-%d %H:%M:%S.%f}"[:-3], "quiet"),
            Styled(event.kind, style(event)),
            f"{position} {names.get(position, '')}".rstrip(),
            Styled(what(event), "quiet"),
        ]


def what(event: Event) -> str:
    """All that it has besides its place, in a line."""
    told = [f"{name}={_shown(name, given)}" for name, given in data(event).items() if name != "entry"]
    actor, note = getattr(event, "actor", None), getattr(event, "note", None)
    if actor:
        told.insert(0, f"by {actor}")
    if note:
        told.append(f"note: {note}")
    return "  ".join(told)


def style(event: Event) -> str:
    return next((style for part, style in _STYLES if part in event.kind), "")


def data(event: Event) -> dict[str, Any]:
    """The fields of its kind, masked, without those at their defaults; times as text."""
    found: dict[str, Any] = {}
    for field in fields(event):
        given = getattr(event, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name in _APART or given == default:
            continue
        if isinstance(given, Failure):
            given = given.to_json()
        elif field.name in TIMES and isinstance(given, int):
            given = instant(given).isoformat()
        found[field.name] = mask(given)
    return found


def _shown(name: str, given: Any) -> str:
    if name == "failure" and isinstance(given, dict):
        return words.value(f"{str(given.get('type', '')).rpartition('.')[2]}: {given.get('message', '')}", 120)
    if name in TIMES and isinstance(given, str):
        return given[:19].replace("T", " ")
    return words.value(given, 80) or repr(given)
