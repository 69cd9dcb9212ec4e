"""What a run waits for from outside, folded: messages, people at its gates, an operator who holds it; and as they read.

The rule of this file: as folding.py, it takes any events in any order and never raises. A message that nobody has
looked at yet counts as received.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.core.gates import PAUSE, Gates, Opened
from squidmesh.core.payloads import mask
from squidmesh.core.signals import Mailbox

WaitStatus = Literal["waiting", "received", "timed_out", "cancelled"]
GateStatus = Literal["open", "resumed", "approved", "rejected", "expired", "cancelled"]


class WaitView(BaseModel, frozen=True):
    """A wait for a signal. ``until`` is its timeout; ``rejected`` says of what came why it did not fit."""

    name: str
    position: str
    status: WaitStatus
    since: datetime
    until: datetime | None = None
    ended_at: datetime | None = None
    payload: Any = None
    rejected: list[str] = []


class VoteView(BaseModel, frozen=True):
    """What one person said of an approval."""

    actor: str
    approved: bool
    note: str | None = None
    at: datetime


class GateView(BaseModel, frozen=True):
    """A place where a person decides. ``kind`` is pause or approval; ``until`` its deadline, as promised.

    ``actor`` and ``note`` are of who has decided it; ``payload`` is what a pause was resumed with.
    """

    name: str
    position: str
    kind: str
    status: GateStatus
    needed: int = 1
    votes: list[VoteView] = []
    since: datetime
    until: datetime | None = None
    ended_at: datetime | None = None
    actor: str | None = None
    note: str | None = None
    payload: Any = None
    rejected: list[str] = []


class HeldView(BaseModel, frozen=True):
    """Who holds a run, and why."""

    actor: str
    note: str | None = None
    since: datetime


@dataclass(slots=True)
class Wait:
    """A wait for a signal. ``end`` is what it came to, ``payload`` what it took, ``refused`` what did not fit it."""

    event: ev.SignalAwaited
    end: ev.SignalTaken | ev.TimerFired | ev.TimerCancelled | None = None
    payload: Any = None
    refused: list[ev.SignalRejected] = field(default_factory=list)


class Outside:
    """``mail`` is what was sent and not taken; ``held`` who holds the run."""

    __slots__ = ("waits", "gates", "mail", "held", "_mailed")

    def __init__(self) -> None:
        self.waits: dict[str, Wait] = {}
        self.gates = Gates()
        self.mail = Mailbox()
        self.held: ev.RunHeld | None = None
        self._mailed = 0  # seq of the newest event that the mailbox has heard of

    def apply(self, event: Event) -> None:
        """Take in one event; most are of no concern here."""
        if type(event) not in OF_CONCERN:
            return
        self.gates.apply(event)
        match event:
            case ev.SignalAwaited():
                self.waits.setdefault(event.position, Wait(event))
            case ev.SignalReceived() | ev.SignalTaken() | ev.SignalRejected():
                self._mail(event)
            case ev.TimerFired() | ev.TimerCancelled() if (wait := self.waits.get(event.position)) is not None:
                wait.end = wait.end or event
            case ev.RunHeld():
                self.held = event
            case ev.RunReleased() | ev.CancelRequested() | ev.FailRequested() | ev.RunTerminated():
                self.held = None
            case _:
                pass

    def open_waits(self) -> Iterator[Wait]:
        """Those for which nothing has come."""
        for wait in self.waits.values():
            if wait.end is None and self.mail.first(wait.event.name) is None:
                yield wait

    def open_gates(self) -> Iterator[Opened]:
        return (gate for gate in self.gates.by_position.values() if gate.open)

    def _mail(self, event: ev.SignalReceived | ev.SignalTaken | ev.SignalRejected) -> None:
        if event.seq and event.seq <= self._mailed:
            return  # it was read twice
        self._mailed = max(self._mailed, event.seq)
        match event:
            case ev.SignalReceived(key=key) if key is not None and key in self.mail.keys:
                return  # its holder will drop it
            case ev.SignalTaken() if (wait := self.waits.get(event.position)) is not None and wait.end is None:
                wait.end, wait.payload = event, self.mail.take(event.name, event.number)
            case ev.SignalRejected() if (wait := self.waits.get(event.position or "")) is not None:
                wait.refused.append(event)
            case _:
                pass
        self.mail.apply(event)


OF_CONCERN = frozenset({
    ev.SignalAwaited, ev.SignalReceived, ev.SignalTaken, ev.SignalRejected, ev.GateOpened, ev.VoteCast, ev.GateDecided,
    ev.GateExpired, ev.TimerFired, ev.TimerCancelled, ev.RunHeld, ev.RunReleased, ev.CancelRequested, ev.FailRequested,
    ev.RunTerminated, ev.StepRetried, ev.StepSkipped,
})  # fmt: skip


# ------------------------------------------------------------------------------------------------ as people read


def waits(outside: Outside, over: bool) -> tuple[WaitView, ...]:
    """All waits for signals, in the order in which they began; of a run that is ``over`` none is open."""
    return tuple(_wait(wait, over) for wait in outside.waits.values())


def gates(outside: Outside, over: bool) -> tuple[GateView, ...]:
    """All gates, in the order in which they were opened; of a run that is ``over`` none is open."""
    return tuple(_gate(gate, over) for gate in outside.gates.by_position.values())


def held(outside: Outside) -> HeldView | None:
    by = outside.held
    return None if by is None else HeldView(actor=by.actor, note=by.note, since=instant(by.at))


def _wait(wait: Wait, over: bool) -> WaitView:
    status: WaitStatus
    match wait.end:
        case ev.SignalTaken():
            status = "received"
        case ev.TimerFired():
            status = "timed_out"
        case ev.TimerCancelled():
            status = "cancelled"
        case None:
            status = "cancelled" if over else "waiting"
    return WaitView(
        name=wait.event.name, position=wait.event.position, status=status, since=instant(wait.event.at),
        until=_instant(wait.event.due), ended_at=_when(wait.end), payload=mask(wait.payload),
        rejected=[refused.message for refused in wait.refused],
    )  # fmt: skip


def _gate(gate: Opened, over: bool) -> GateView:
    opened, end = gate.event, gate.decided or gate.end
    decided = end if isinstance(end, (ev.VoteCast, ev.GateDecided)) else None
    return GateView(
        name=opened.name, position=opened.position, kind=opened.gate, status=_came_out(gate, over),
        needed=opened.needed, votes=[_vote(vote) for vote in gate.votes.values()], since=instant(opened.at),
        until=_instant(opened.due), ended_at=_when(end), rejected=[refused.message for refused in gate.refused],
        actor=decided.actor if decided is not None else None, note=decided.note if decided is not None else None,
        payload=mask(decided.payload) if isinstance(decided, ev.GateDecided) else None,
    )  # fmt: skip


def _came_out(gate: Opened, over: bool) -> GateStatus:
    match gate.decided or gate.end:
        case ev.VoteCast() | ev.GateDecided() as by:
            return "resumed" if gate.event.gate == PAUSE else "approved" if by.approved else "rejected"
        case ev.GateExpired():
            return "expired"
        case ev.TimerCancelled():
            return "cancelled"
        case None:
            return "cancelled" if over else "open"


def _vote(vote: ev.VoteCast) -> VoteView:
    return VoteView(actor=vote.actor, approved=vote.approved, note=vote.note, at=instant(vote.at))


def _when(event: Event | None) -> datetime | None:
    return None if event is None else instant(event.at)


def _instant(at: int | None) -> datetime | None:
    return None if at is None else instant(at)
