"""What happened in a run besides its steps: timers, messages sent, scopes, races, undos, times it stood still.

The rule of this file: as folding.py, it takes any events in any order, applied twice or not, and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from squidmesh.core import events as ev
from squidmesh.core.events import Event


@dataclass(slots=True)
class Span:
    """Something that began, and perhaps ended; ``seq`` orders what begins at one time."""

    name: str
    position: str
    start: int
    status: str
    end: int | None = None
    seq: int = 0

    def close(self, at: int, status: str) -> None:
        if self.end is None:
            self.end, self.status = at, status


@dataclass(slots=True)
class Undo(Span):
    """One call of the undo of ``entry``, in the rollback ``rollback``."""

    entry: str = ""
    rollback: int = 0
    number: int = 1


@dataclass(slots=True)
class Happened:
    """``timers`` are all of them, ``sent`` messages to other runs; ``stood`` when it was blocked, or held."""

    timers: dict[str, Span] = field(default_factory=dict)
    sent: dict[str, Span] = field(default_factory=dict)
    scopes: dict[str, ev.ScopeEntered] = field(default_factory=dict)
    left: dict[str, ev.ScopeLeft] = field(default_factory=dict)
    races: dict[str, int] = field(default_factory=dict)
    undos: list[Undo] = field(default_factory=list)
    rollbacks: dict[int, Span] = field(default_factory=dict)
    stood: list[Span] = field(default_factory=list)
    continued: ev.RunContinued | None = None
    _walked: int = 0
    _calls: dict[tuple[str, int], Undo] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Take in one event; most are of no concern here."""
        if type(event) not in OF_CONCERN:
            return
        match event:
            case ev.TimerSet(position=at):
                self.timers.setdefault(at, Span("sleep", at, event.at, "waiting", seq=event.seq))
            case ev.TimerFired(position=at) | ev.TimerCancelled(position=at) if at in self.timers:
                self.timers[at].close(event.at, "fired" if isinstance(event, ev.TimerFired) else "cancelled")
            case ev.SignalSent(position=at):
                status = "delivered" if event.delivered else "undelivered"
                self.sent.setdefault(at, Span(event.name, at, event.at, status, event.at, event.seq))
            case ev.ScopeEntered():
                self.scopes.setdefault(event.scope, event)
            case ev.ScopeLeft():
                self.left.setdefault(event.scope, event)
            case ev.RaceWon():
                self.races[event.position] = event.index
            case ev.RollbackStarted() if event.number:
                self._walked = event.number
                started = Span(event.cause, event.position or "", event.at, "walking", seq=event.seq)
                self.rollbacks.setdefault(event.number, started)
            case ev.RollbackEnded() if event.number in self.rollbacks:
                self.rollbacks[event.number].close(event.at, event.outcome)
            case ev.UndoStarted() | ev.UndoFailed() | ev.UndoCompleted():
                self._undo(event)
            case ev.RunBlocked():
                self._stand("blocked", event.reason, event.position or "", event)
            case ev.RunHeld():
                self._stand("held", event.actor, "", event)
            case ev.RunUnblocked() | ev.CancelRequested() | ev.FailRequested() | ev.RunReleased():
                self._go_on(event.at)
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunTerminated():
                self._go_on(event.at)
            case ev.RunContinued():
                self.continued = event
                self._go_on(event.at)
            case _:
                pass

    def _undo(self, event: ev.UndoStarted | ev.UndoFailed | ev.UndoCompleted) -> None:
        known = self._calls.get((event.entry, event.number))
        if known is None:
            position = event.entry.partition(":")[0]
            known = Undo(
                "", position, event.at, "running", seq=event.seq, entry=event.entry, rollback=self._walked,
                number=event.number,
            )  # fmt: skip
            self._calls[event.entry, event.number] = known
            self.undos.append(known)
        match event:
            case ev.UndoCompleted():
                known.close(event.at, "completed")
            case ev.UndoFailed():
                known.close(event.at, "lost" if event.reason == "lost" else "failed")
            case _:
                pass

    def _stand(self, status: str, name: str, position: str, event: Event) -> None:
        if not any(span.seq == event.seq and span.start == event.at for span in self.stood):
            self.stood.append(Span(name, position, event.at, status, seq=event.seq))

    def _go_on(self, at: int) -> None:
        for span in self.stood:
            if span.end is None:
                span.end = at


OF_CONCERN = frozenset({
    ev.TimerSet, ev.TimerFired, ev.TimerCancelled, ev.SignalSent, ev.ScopeEntered, ev.ScopeLeft, ev.RaceWon,
    ev.RollbackStarted, ev.RollbackEnded, ev.UndoStarted, ev.UndoFailed, ev.UndoCompleted, ev.RunBlocked, ev.RunHeld,
    ev.RunUnblocked, ev.CancelRequested, ev.FailRequested, ev.RunReleased, ev.RunCompleted, ev.RunFailed,
    ev.RunCancelled, ev.RunTerminated, ev.RunContinued,
})  # fmt: skip


def happened(events: Iterable[Event]) -> Happened:
    """Fold events in order (history, then what waits in the inbox)."""
    told = Happened()
    for event in events:
        told.apply(event)
    return told
