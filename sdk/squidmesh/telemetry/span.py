"""A span as a value, and what is known of one while it is open.

The rule of this file: no OpenTelemetry. Places are those of core/trace.py; times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MOST_NOTES = 100
"""Events that one span has at most; the trace is no second history."""


Link = tuple[str, str, bool]
"""A run, a place in it, and whether that is in this trace; else in the one that the run begins."""


class Span(NamedTuple):
    """Something that has ended."""

    name: str
    place: str
    parent: str | None  # a place of this run; None: what the run itself hangs under
    start: int
    end: int
    attributes: dict[str, Any]
    failure: tuple[str, str] | None = None  # type and text
    wrong: bool = False  # it did not come out as it should
    links: Sequence[Link] = ()
    notes: Sequence[tuple[str, int, dict[str, Any]]] = ()


@dataclass(slots=True)
class Open:
    """Something that has begun. ``last`` is an attempt that is over, while nobody knows whether more will follow."""

    name: str
    place: str
    parent: str
    start: int
    attributes: dict[str, Any]
    what: str = ""  # the name of the step
    input: Any = None
    number: int = 0  # of the attempt under way, or the latest
    began: int = 0  # when it did
    first: int = 0  # when the first of them did
    due: int | None = None  # when it may
    elsewhere: bool = False
    compensating: int = 0
    last: Span | None = None
    several: bool = False
    links: list[Link] = field(default_factory=list)
    notes: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)

    def note(self, name: str, at: int, **attributes: Any) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes.append((name, at, attributes))
