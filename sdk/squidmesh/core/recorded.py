"""What a history has recorded of the commands of a run, for the interpreter to check a replay against.

The rule of this file: a command is known by its position. Kind, name and input must be what they were; a command that
history lacks while it has later ones, or one that history has and the code never yields, is a change of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.events import Event
from squidmesh.core.payloads import dumps, mask
from squidmesh.core.turn import Place
from squidmesh.errors import NonDeterminism

COMMANDS = (ev.StepScheduled, ev.TimerSet, ev.ValuePublished, ev.MessageLogged)
CONSEQUENCES = (ev.StepCancelled, ev.TimerCancelled, ev.RaceWon, ev.RunCompleted, ev.RunFailed, ev.RunCancelled)
ENDS = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled)


class Recorded:
    """Commands by position, not yet met by the replay; consequences and patches by what they say."""

    __slots__ = ("_commands", "_names", "_consequences", "_patches", "_ended")

    def __init__(self) -> None:
        self._commands: dict[str, Event] = {}
        self._names: dict[str, str] = {}
        self._consequences: set[tuple[str, str]] = set()
        self._patches: set[str] = set()
        self._ended = False

    def load(self, history: Iterable[Event]) -> None:
        for event in history:
            match event:
                case ev.PatchTaken(name=name):
                    self._patches.add(name)
                case ev.StepScheduled() | ev.TimerSet() | ev.ValuePublished() | ev.MessageLogged():
                    self._commands[event.position] = event
                    self._names[event.position] = told(event)
                case _ if isinstance(event, CONSEQUENCES):
                    self._consequences.add((event.kind, getattr(event, "position", "")))
                    self._ended = self._ended or isinstance(event, ENDS)
                case _:
                    pass

    def claim(self, asked: Any, place: Callable[[], Place]) -> Event | None:
        """The recorded event of a command that is yielded now; None when it is new.

        :raises NonDeterminism: history has something else there, or went on without it.
        """
        if not self._commands and not self._ended:
            return None
        found = self._commands.pop(asked.position, None)
        if found is None:
            blocking = [p for p in self._commands if _top(p) >= _top(asked.position)]
            if not blocking and not self._ended:
                return None
            first = min(blocking, key=_order, default=asked.position)
            had = self.told(first) if blocking else "the end of the run"
            at = place()
            raise NonDeterminism(first, had, f"yields {told(asked)}", at.file, at.line)
        difference = _difference(found, asked)
        if difference is not None:
            at = place()
            raise NonDeterminism(asked.position, difference[0], f"yields {difference[1]}", at.file, at.line)
        return found

    def had(self, event: Event) -> bool:
        return (event.kind, getattr(event, "position", "")) in self._consequences

    def patched(self, name: str) -> bool:
        return name in self._patches

    def replaying(self) -> bool:
        """Whether history has commands, or an end, that the code has not come to yet."""
        return bool(self._commands) or self._ended

    def left(self) -> str | None:
        """The first position that history has and the code has not yielded yet."""
        return min(self._commands, key=_order) if self._commands else None

    def told(self, position: str) -> str:
        return self._names.get(position, "something")


def told(event: Event) -> str:
    """How messages name a recorded command."""
    match event:
        case ev.StepScheduled(step=step):
            return f"`{step}`"
        case ev.TimerSet():
            return "`sleep`"
        case ev.ValuePublished(name=name):
            return f"`publish` of {name!r}"
        case ev.MessageLogged():
            return "`log`"
        case _:
            return event.kind


def _difference(found: Event, asked: Event) -> tuple[str, str] | None:
    match found, asked:
        case ev.StepScheduled(step=was, input=had), ev.StepScheduled(step=step, input=has) if was == step:
            if had == has:
                return None
            changed = {k for k in had.keys() | has.keys() if had.get(k) != has.get(k)}
            return f"`{step}` with {_some(had, changed)}", f"`{step}` with {_some(has, changed)}"
        case ev.ValuePublished(name=was), ev.ValuePublished(name=name) if was == name:
            return None
        case ev.TimerSet(), ev.TimerSet():
            return None
        case ev.MessageLogged(), ev.MessageLogged():
            return None
        case _:
            return told(found), told(asked)


def _some(values: dict[str, Any], names: set[str]) -> str:
    shown = dumps(mask({k: values[k] for k in sorted(names) if k in values}))
    return shown if len(shown) <= 200 else shown[:200] + "…"


def _top(position: str) -> int:
    return int(position.partition(".")[0])


def _order(position: str) -> tuple[int, ...]:
    return tuple(int(part) for part in position.split("."))
