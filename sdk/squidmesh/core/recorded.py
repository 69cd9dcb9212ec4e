"""What a history has recorded of the commands of a run, for the interpreter to check a replay against.

The rule of this file: a command is known by its position. Kind, name and input must be what they were; a command that
history lacks while it has later ones, or one that history has and the code never yields, is a change of the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.effects import Trait
from squidmesh.core.events import Event
from squidmesh.core.past import order
from squidmesh.core.payloads import dumps, mask
from squidmesh.core.turn import Place
from squidmesh.errors import NonDeterminism

COMMANDS = (
    ev.StepScheduled, ev.TimerSet, ev.ValuePublished, ev.MessageLogged, ev.UndoRegistered, ev.SignalAwaited,
    ev.SignalSent, ev.GateOpened, ev.ChildStarted, ev.StepDeferred,
)  # fmt: skip
CALLS = (
    ev.AttemptStarted, ev.AttemptFailed, ev.AttemptLost, ev.CompensateStarted, ev.CompensateEnded, ev.StepChecked,
    ev.StepInDoubt, ev.StepResolved,
)  # fmt: skip
ENDS = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunContinued)
CONSEQUENCES = (ev.StepCancelled, ev.TimerCancelled, ev.ChildCancelRequested, ev.RaceWon, *ENDS)


class Recorded:
    """Commands by position, not yet met by the replay; consequences and patches by what they say."""

    __slots__ = (
        "_commands",
        "_names",
        "_consequences",
        "_patches",
        "_ended",
        "_groups",
        "_scopes",
        "_forked_at",
        "overruled",
        "calls",
    )

    def __init__(self) -> None:
        self._commands: dict[str, Event] = {}
        self._names: dict[str, str] = {}
        self._consequences: set[tuple[str, str]] = set()
        self._patches: set[str] = set()
        self._ended = False
        self._groups: list[str] = []  # prefixes of what runs inside of transactions
        self._scopes: dict[tuple[str, str], ev.ScopeEntered | ev.ScopeLeft] = {}  # not yet met by the replay
        self._forked_at: tuple[int, ...] = ()  # the place of a fork
        self.overruled: Counter[str] = Counter()  # positions of steps whose failure a person did not let stand
        self.calls: dict[str, list[Event]] = {}  # what was called about steps that have not ended

    def load(self, history: Iterable[Event]) -> None:
        for event in history:
            match event:
                case ev.RunStarted(from_position=str(place)):
                    self._forked_at = order(place)
                case ev.PatchTaken(name=name):
                    self._patches.add(name)
                case ev.StepScheduled(position=position) if position.startswith(tuple(self._groups)):
                    pass  # inside of a transaction, which is one command
                case ev.UndoRegistered(position=position) if position in self._names:
                    pass  # by the step that ran there
                case _ if isinstance(event, COMMANDS):
                    self._commands[event.position] = event
                    self._names[event.position] = told(event)
                    if isinstance(event, ev.StepScheduled) and Trait.GROUP in event.traits:
                        self._groups.append(f"{event.position}.")
                case ev.ScopeEntered() | ev.ScopeLeft():
                    self._scopes[event.kind, event.scope] = event
                case ev.StepRetried(position=position) | ev.StepSkipped(position=position):
                    self.overruled[position] += 1
                case _ if isinstance(event, CALLS):
                    self.calls.setdefault(event.position, []).append(event)
                case ev.StepCompleted(position=position) | ev.StepFailed(position=position):
                    self.calls.pop(position, None)
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
        self._no_scope_missed(asked, place)
        found = self._commands.pop(asked.position, None)
        if found is None:
            blocking = [p for p in self._commands if self._later(p, asked.position)]
            if not blocking and not self._ended:
                return None
            first = min(blocking, key=order, default=asked.position)
            had = self.told(first) if blocking else "the end of the run"
            at = place()
            raise NonDeterminism(first, had, f"yields {told(asked)}", at.file, at.line)
        difference = _difference(found, asked)
        if difference is not None:
            self._commands[asked.position] = found  # it is still to be met, should the run be ended
            at = place()
            raise NonDeterminism(asked.position, difference[0], f"yields {difference[1]}", at.file, at.line)
        return found

    def _later(self, known: str, asked: str) -> bool:
        """Whether history can have a command only after another was asked for.

        But a fork may ask for a member from its place on while elder members, which it has from another run, are still
        to be met: those come through the window of a ``fan_out``, one after another.
        """
        if self._forked_at and order(known) < self._forked_at <= order(asked):
            return False
        return _top(known) >= _top(asked)

    def scope(self, event: ev.ScopeEntered | ev.ScopeLeft, place: Callable[[], Place]) -> bool:
        """Whether history has recorded that a scope is entered, or left, here.

        :raises NonDeterminism: it has not, and went on; or it was another one.
        """
        found = self._scopes.pop((event.kind, event.scope), None)
        if found is None:
            if not self._commands and not self._ended:
                return False
            had, got = self.told(event.position), told(event)
        elif told(found) == told(event) and found.position == event.position:
            return True
        else:
            had, got = told(found), told(event)
        at = place()
        raise NonDeterminism(event.position, had, f"has {got}", at.file, at.line)

    def _no_scope_missed(self, asked: Any, place: Callable[[], Place]) -> None:
        for missed in self._scopes.values():
            if _top(missed.position) <= _top(asked.position):
                at = place()
                raise NonDeterminism(missed.position, told(missed), f"yields {told(asked)}", at.file, at.line)

    def scheduled(self, position: str) -> ev.StepScheduled | None:
        """A step that history has and the replay has not come to."""
        found = self._commands.get(position)
        return found if isinstance(found, ev.StepScheduled) else None

    def had(self, event: Event) -> bool:
        return (event.kind, getattr(event, "position", "")) in self._consequences

    def patched(self, name: str) -> bool:
        return name in self._patches

    def replaying(self) -> bool:
        """Whether history has commands, or an end, that the code has not come to yet."""
        return bool(self._commands) or self._ended

    def left(self) -> str | None:
        """The first position that history has and the code has not yielded yet."""
        return min(self._commands, key=order) if self._commands else None

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
        case ev.SignalAwaited(name=name):
            return f"the wait for signal {name!r}"
        case ev.SignalSent(name=name):
            return f"the sending of signal {name!r}"
        case ev.GateOpened(gate=gate, name=name):
            return f"the {gate} {name!r}"
        case ev.ChildStarted(workflow=workflow):
            return f"`{workflow}`"
        case ev.StepDeferred(workflow=workflow):
            return f"`defer` to {workflow!r}"
        case ev.UndoRegistered(function=function):
            return f"`add_undo` of {function.rpartition(':')[2]!r}"
        case ev.ScopeEntered(name=name):
            return f"the beginning of `saga` {name!r}"
        case ev.ScopeLeft(failed=failed):
            return f"the {'failure' if failed else 'end'} of a `saga`"
        case _:
            return event.kind


def _difference(found: Event, asked: Event) -> tuple[str, str] | None:
    match found, asked:
        case ev.StepScheduled(step=was, input=had), ev.StepScheduled(step=step, input=has) if was == step:
            return _other_input(step, had, has)
        case ev.ChildStarted(workflow=was, input=had), ev.ChildStarted(workflow=flow, input=has) if was == flow:
            return _other_input(flow, had, has)
        case ev.StepDeferred(workflow=was, input=had), ev.StepDeferred(workflow=flow, input=has) if was == flow:
            return _other_input(f"defer({flow})", had, has)
        case ev.ValuePublished(name=was), ev.ValuePublished(name=name) if was == name:
            return None
        case ev.TimerSet(), ev.TimerSet():
            return None
        case ev.MessageLogged(), ev.MessageLogged():
            return None
        case ev.UndoRegistered(function=was), ev.UndoRegistered(function=function) if was == function:
            return None
        case ev.SignalAwaited(name=was), ev.SignalAwaited(name=name) if was == name:
            return None
        case ev.SignalSent(name=was), ev.SignalSent(name=name) if was == name:
            return None
        case ev.GateOpened(gate=kind, name=was), ev.GateOpened(gate=gate, name=name) if (kind, was) == (gate, name):
            return None
        case _:
            return told(found), told(asked)


def _other_input(name: str, had: dict[str, Any], has: dict[str, Any]) -> tuple[str, str] | None:
    if had == has:
        return None
    changed = {k for k in had.keys() | has.keys() if had.get(k) != has.get(k)}
    return f"`{name}` with {_some(had, changed)}", f"`{name}` with {_some(has, changed)}"


def _some(values: dict[str, Any], names: set[str]) -> str:
    shown = dumps(mask({k: values[k] for k in sorted(names) if k in values}))
    return shown if len(shown) <= 200 else shown[:200] + "…"


def _top(position: str) -> int:
    return int(position.partition(".")[0])
