"""Gates: places where a workflow waits for a person. ``pause`` until somebody resumes, ``approval`` until enough vote.

    opened ─▶ people vote, or one resumes ─▶ decided, or expired

The rule of this file: what was promised when a gate was opened (how many, until when) is on record, and holds whatever
the code says later. One vote counts an actor, the first; what comes after the one that decided does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from squidmesh.core import events as ev
from squidmesh.core.calls import Command, seconds, whole_number
from squidmesh.core.commands import micros
from squidmesh.core.deterministic import instant
from squidmesh.core.nodes import GateNode, Ok
from squidmesh.core.payloads import Value
from squidmesh.errors import DefinitionError

T = TypeVar("T")

PAUSE, APPROVAL = "pause", "approval"


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said of an approval."""

    actor: str
    approved: bool
    note: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """How an approval came out: ``actor`` and ``note`` are of the vote that decided; ``expired``: none did in time."""

    approved: bool
    actor: str | None = None
    note: str | None = None
    at: datetime | None = None
    expired: bool = False
    votes: tuple[Vote, ...] = ()

    def __bool__(self) -> bool:
        return self.approved


class Gate(Command[Any]):
    """The deadline is ``within`` so many seconds of its opening, or ``until`` (microseconds since the epoch)."""

    __slots__ = ("kind", "name", "needed", "value", "within", "until")

    def __init__(
        self, kind: str, name: str, needed: int, value: Value | None, deadline: float | timedelta | datetime | None
    ) -> None:
        super().__init__(3)
        given: object = name
        if not isinstance(given, str) or not given.strip():
            raise DefinitionError(f"{kind}() takes a name, not {given!r}")
        self.kind, self.name, self.needed, self.value = kind, name, needed, value
        self.within: float | None = None
        self.until: int | None = None
        if isinstance(deadline, datetime):
            self.until = micros("deadline", deadline)
        elif deadline is not None:
            self.within = seconds("deadline", deadline)

    def due(self, now: int) -> int | None:
        """The deadline of one that is opened now, in microseconds since the epoch."""
        return self.until if self.within is None else now + round(self.within * 1e6)

    def told(self) -> str:
        return f"the {self.kind} {self.name!r}"


@overload
def pause(name: str, type: None = None, deadline: float | timedelta | datetime | None = None) -> Command[Any]: ...
@overload
def pause(name: str, type: type[T], deadline: None = None) -> Command[T]: ...
@overload
def pause(name: str, type: type[T], deadline: float | timedelta | datetime | None) -> Command[T | None]: ...
@overload
def pause(name: str, type: Any, deadline: float | timedelta | datetime | None = None) -> Command[Any]: ...
def pause(name: str, type: Any = None, deadline: float | timedelta | datetime | None = None) -> Command[Any]:
    """Wait until somebody resumes (``handle.resume(payload, actor=…)``); gives the payload, None at the deadline.

    :param type: what the payload is; without one any JSON value.
    :param deadline: a duration or an aware datetime.
    """
    return Gate(PAUSE, name, 1, Value(Any if type is None else type, f"the payload of pause {name!r}"), deadline)


def approval(name: str, needed: int = 1, deadline: float | timedelta | datetime | None = None) -> Command[Decision]:
    """Wait until ``needed`` different people approve, or one rejects; at the deadline it is ``expired``.

    :param deadline: a duration or an aware datetime.
    """
    if (whole_number("approval: needed", needed) or 0) < 1:
        raise DefinitionError(f"approval {name!r}: needed is a count of at least 1, not {needed!r}")
    return Gate(APPROVAL, name, needed, None, deadline)


# ------------------------------------------------------------------------------------------- at an open gate


def heard(node: GateNode, event: ev.VoteCast | ev.GateDecided | ev.GateExpired) -> Ok | None:
    """Take in what was said at a gate; its outcome, if that has decided it.

    :raises InvalidPayload: the payload of a pause does not fit.
    """
    votes = tuple(node.votes.values())
    match event:
        case ev.VoteCast():
            vote = Vote(event.actor, event.approved, event.note, instant(event.at))
            node.votes.setdefault(event.actor, vote)
            return None
        case ev.GateExpired():
            expired = Decision(approved=False, at=instant(event.at), expired=True, votes=votes)
            return Ok(None if node.gate.kind == PAUSE else expired)
        case _ if node.gate.value is not None:
            return Ok(node.gate.value.decode(event.payload))
        case _:
            return Ok(Decision(event.approved, event.actor, event.note, instant(event.at), votes=votes))


def counted(node: GateNode, now: int) -> ev.GateDecided | None:
    """What follows from the votes so far."""
    vote = decisive(node.votes.values(), node.needed)
    if vote is None:
        return None
    return ev.GateDecided(at=now, position=node.position, approved=vote.approved, actor=vote.actor, note=vote.note)


V = TypeVar("V", Vote, ev.VoteCast)


def decisive(votes: Iterable[V], needed: int) -> V | None:
    """The vote that decides: the first rejection, or the approval that makes enough; None while there is none."""
    approvals = 0
    for vote in votes:
        approvals += vote.approved
        if not vote.approved or approvals == needed:
            return vote
    return None


# --------------------------------------------------------------------------------------- as history has them


@dataclass(slots=True)
class Opened:
    """A gate as it stands on record. ``end`` is how it came out; ``refused`` what was sent to it and did not fit."""

    event: ev.GateOpened
    votes: dict[str, ev.VoteCast] = field(default_factory=dict)
    end: ev.GateDecided | ev.GateExpired | ev.TimerCancelled | None = None
    refused: list[ev.SignalRejected] = field(default_factory=list)

    @property
    def decided(self) -> ev.VoteCast | None:
        """The vote that decides, whether or not that is on record yet."""
        return decisive(self.votes.values(), self.event.needed) if self.event.gate == APPROVAL else None

    @property
    def open(self) -> bool:
        """Whether somebody's word is still waited for."""
        return self.end is None and self.decided is None

    @property
    def approvals(self) -> int:
        return sum(vote.approved for vote in self.votes.values())


def label(gate: Opened) -> str:
    """How messages name a gate."""
    return f"{gate.event.gate} {gate.event.name!r} at {gate.event.position}"


def came_out(gate: Opened) -> str:
    """How a gate came out, in a clause."""
    match gate.decided or gate.end:
        case ev.VoteCast() | ev.GateDecided() as by:
            how = "resumed" if gate.event.gate == PAUSE else "approved" if by.approved else "rejected"
            return f"{label(gate)} was {how} by {by.actor} at {_time(by.at)}"
        case ev.GateExpired(at=at):
            return f"{label(gate)} expired at {_time(at)}"
        case ev.TimerCancelled():
            return f"{label(gate)} is closed: the run does not need it any more"
        case None if gate.event.due is not None:
            return f"the deadline of {label(gate)} is {_time(gate.event.due)}"
        case None:
            return f"{label(gate)} was open when the run ended"


def _time(at: int) -> str:
    return f"{instant(at):%Y-%m-%d %H:%M:%S} UTC"


class Gates:
    """The gates of a run by position, folded from any events in any order; applied twice, an event does no harm."""

    __slots__ = ("by_position",)

    def __init__(self) -> None:
        self.by_position: dict[str, Opened] = {}

    def apply(self, event: ev.Event) -> None:
        """Take in one event; most are of no concern here."""
        if isinstance(event, ev.GateOpened):
            self.by_position.setdefault(event.position, Opened(event))
        elif isinstance(event, (ev.StepRetried, ev.StepSkipped)):
            self._reopen(event.position)
        elif isinstance(event, OF_GATES) and (gate := self.by_position.get(event.position or "")) is not None:
            match event:
                case ev.VoteCast() if gate.open:
                    gate.votes.setdefault(event.actor, event)
                case ev.GateDecided() | ev.GateExpired() | ev.TimerCancelled():
                    gate.end = gate.end or event
                case ev.SignalRejected() if event not in gate.refused:
                    gate.refused.append(event)
                case _:
                    pass

    def _reopen(self, position: str) -> None:
        """A person did not let the failure of a step stand: what was closed for it, beside it, is open again."""
        for at, gate in self.by_position.items():
            if isinstance(gate.end, ev.TimerCancelled) and at.partition(".")[0] == position.partition(".")[0]:
                gate.end = None

    def of(self, kind: str) -> list[Opened]:
        """Those of a kind, in the order in which they were opened."""
        return [gate for gate in self.by_position.values() if gate.event.gate == kind]


OF_GATES = (ev.VoteCast, ev.GateDecided, ev.GateExpired, ev.TimerCancelled, ev.SignalRejected)
