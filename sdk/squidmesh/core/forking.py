"""A fork: the history that a new run begins with, which goes on from a position of an old one.

    what came out before the position ─▶ copied as it came out      what is from there on ─▶ left out, and runs anew

"Before" is the order of positions, in which commands are yielded: a spawned step keeps its result, late as it came.
Copied are the commands that precede the position, with what became of them; the scopes entered and left on the way,
and their rollbacks; the branches that were taken (``patched``); and every message that was ever received, so that those
are there again which the old run took further on. Left out is what people said of the run itself, and how it ended.

What had not come out although it precedes (the old run ended over a spawned step) is tried anew by the new run. The
effects of all that was copied stay the old run's to undo: ``RunStarted.kept`` says where they end, and the chain of the
new run begins behind it.

The rule of this file: a pure function of the old history. What no fork can keep is refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain, Rollback
from squidmesh.core.events import Event
from squidmesh.core.past import order
from squidmesh.core.places import hindrance, position_of
from squidmesh.core.recorded import COMMANDS

GAP = (ev.ScopeEntered, ev.ScopeLeft, ev.PatchTaken)
"""Events whose position is that of the next command."""

CAME_OUT = (
    ev.StepCompleted, ev.StepFailed, ev.StepSkipped, ev.StepCancelled, ev.TransactionCommitted, ev.ChildEnded,
)  # fmt: skip

GIVEN_UP = (ev.StepCancelled, ev.TimerCancelled, ev.ChildCancelRequested)
"""Events that follow from others; from the position on they may follow from how the run ended."""

OF_THE_RUN = (ev.RunBlocked, ev.RunJoined)
"""Events that have a position, and are not of the command there: that of ``RunJoined`` is another run's."""

TO_ITS_END = (ev.CancelRequested, ev.FailRequested, ev.RunTerminated, ev.RunFailed, ev.RunCancelled)


class Unforkable(Exception):
    """No fork keeps what precedes a position; the message says why."""


@dataclass(frozen=True, slots=True)
class Forked:
    """``events`` are what follows the first event of the new run; the first ``kept`` of the history are not its own."""

    events: tuple[Event, ...]
    kept: int
    anew: frozenset[str]  # steps that precede the position, and are tried anew
    at: tuple[int, ...]

    def again(self, position: str) -> bool:
        """Whether what stands at a position of the old run may run again."""
        return position in self.anew or order(position) >= self.at


def fork(history: Sequence[Event], position: str, actor: str, note: str) -> Forked:
    """What a new run begins with that goes on from a position of this history, which has come to it.

    :raises Unforkable: it is no place; what precedes it was undone, or is not there to be kept.
    """
    if (hindered := hindrance(history, position)) is not None:
        raise Unforkable(f"it cannot go on from there, for {hindered.why}: name position {hindered.nearest}")
    copy = _Copy(history, position)
    copy.refuse()
    kept = [_as_new(event) for event in map(copy.taken, history) if event is not None]
    retried = [ev.StepRetried(position=at, actor=actor, note=note) for at in sorted(copy.anew, key=order)]
    last = max((event.at for event in kept), default=0)
    events = [*kept, *(replace(event, at=last) for event in retried)]
    numbered = tuple(replace(event, seq=n) for n, event in enumerate(events, 2))
    return Forked(numbered, 1 + len(kept), frozenset(copy.anew), copy.at)


def undone(history: Sequence[Event], position: str) -> list[str]:
    """What precedes a position, which a fork has kept, and was undone since: ``step at position``."""
    return _Copy(history, position).undone()


def _as_new(event: Event) -> Event:
    """An event without the key that a person's command had in the old run; messages are known by theirs for ever."""
    if isinstance(event, ev.SignalReceived) or getattr(event, "key", None) is None:
        return event
    return replace(event, key=None)  # type: ignore[call-arg]


class _Copy:
    """What precedes one position of a history. See the module."""

    def __init__(self, history: Sequence[Event], position: str) -> None:
        self.position, self.at = position, order(position)
        self.chain = Chain.of(history)
        later = (e.seq for e in history if isinstance(e, COMMANDS) and order(e.position) >= self.at)
        self.reached = min(later, default=len(history) + 1)  # number of the first event that is left out
        ending = (e.seq for e in history if isinstance(e, TO_ITS_END) or _whole(e))
        self.ending = min(ending, default=len(history) + 1)
        self.came_out: set[str] = set()
        self.steps: dict[str, str] = {}
        self.children: dict[str, str] = {}
        left: list[tuple[ev.ScopeLeft, int]] = []
        for event in history:
            match event:
                case ev.StepScheduled():
                    self.steps.setdefault(event.position, event.step)
                case ev.ChildStarted() if not event.options.get("detached"):
                    self.children[event.position] = event.workflow
                case ev.StepRetried():
                    self.came_out.discard(event.position)
                case _ if isinstance(event, CAME_OUT) and self._stands(event):
                    self.came_out.add(event.position)
                case ev.ScopeLeft(failed=True):
                    left.append((event, int(event.position)))
                case _:
                    pass
        self.failed = {event.scope: at for event, at in left}
        self.gap = max((event.seq for event, at in left if at == self.at[0]), default=0)
        self.anew = {at for at in self.steps if "." not in at and self.precedes(at) and at not in self.came_out}
        self.numbers = {r.number: n for n, r in enumerate(filter(self._walked, self.chain.rollbacks), 1)}
        self.homes: dict[str, int] = {}  # of entries: the rollback that they are planned in, so far

    def precedes(self, position: str) -> bool:
        return order(position) < self.at

    def _stands(self, event: Event) -> bool:
        """Whether an outcome is one of the step, and not of the end of its run."""
        match event:
            case ev.StepCancelled():
                return event.seq < self.reached
            case ev.StepFailed(failure=failure):
                by_its_run = failure.type.endswith(".Cancelled") or event.seq > self.ending
                return event.seq < self.reached or not by_its_run
            case ev.ChildEnded(outcome=outcome):
                return outcome != "cancelled" or event.seq < self.reached
            case _:
                return True

    def _walked(self, rollback: Rollback) -> bool:
        """Whether a rollback is over, and belongs to what precedes the position."""
        begun = rollback.begun
        if not rollback.ended or begun.cause not in ("scope", "race"):
            return False
        if begun.position is not None:
            return self.precedes(begun.position)
        return self.failed.get(begun.scope or "", self.at[0] + 1) <= self.at[0]

    def undone(self) -> list[str]:
        """What precedes the position and was undone, or begun to be, by a rollback that does not precede it."""
        return list(dict.fromkeys(self._undone()))

    def refuse(self) -> None:
        """:raises Unforkable: what precedes the position is not there any more, or was never settled."""
        open_children = [at for at in self.children if self.precedes(at) and at not in self.came_out]
        if open_children:
            told = ", ".join(f"{self.children[at]} at {at}" for at in open_children)
            raise Unforkable(f"it ended before its child {told}: name that position, or an earlier one")
        if undone := self.undone():
            told = ", ".join(undone)
            raise Unforkable(
                f"what precedes position {self.position} was undone ({told}): name the first of these positions, "
                "or an earlier one"
            )

    def _undone(self) -> Iterator[str]:
        entries = self.chain.entries
        for rollback in self.chain.rollbacks:
            if rollback.number in self.numbers or rollback.begun.cause == "race":
                continue
            for entry in map(entries.__getitem__, sorted(rollback.planned or (), key=lambda one: entries[one].seq)):
                settled = rollback.settled.get(entry.id) or entry.settled
                touched = settled is not None and (settled.state == "undone" or settled.reason == "never_ran")
                touched = touched or (entry.attempts > 0 and (settled is None or settled.state != "irreversible"))
                if touched and self.precedes(entry.position) and entry.position not in self.anew:
                    yield f"{entry.step} at {entry.id}"

    def taken(self, event: Event) -> Event | None:
        """The event as the new run has it, or None."""
        match event:
            case ev.RunStarted():
                return None
            case ev.SignalReceived():
                return event
            case _ if isinstance(event, GAP):
                return event if self._on_the_way(event) else None
            case ev.RollbackStarted() | ev.RollbackPlanned() | ev.UndoHalted() | ev.RollbackEnded():
                return self._walk(event)
            case ev.RollbackAbandoned():
                mine = (r for r in self.chain.rollbacks if r.abandoned is event and r.number in self.numbers)
                return event if any(mine) else None
            case _ if (entry := _entry(event)) is not None:
                return event if self.homes.get(entry) in self.numbers else None
            case _ if isinstance(event, OF_THE_RUN):
                return None
            case _:
                return self._of_a_command(event)

    def _on_the_way(self, event: ev.ScopeEntered | ev.ScopeLeft | ev.PatchTaken) -> bool:
        before = int(event.position)
        if before != self.at[0] or len(self.at) > 1:
            return before <= self.at[0]
        return event.seq <= self.gap

    def _walk(self, event: ev.RollbackStarted | ev.RollbackPlanned | ev.UndoHalted | ev.RollbackEnded) -> Event | None:
        if isinstance(event, ev.RollbackPlanned):
            self.homes.update(dict.fromkeys(event.entries, event.number))
        number = self.numbers.get(event.number)
        return None if number is None else replace(event, number=number)

    def _of_a_command(self, event: Event) -> Event | None:
        position = position_of(event)
        if position is None or not self.precedes(position):
            return None
        if isinstance(event, GIVEN_UP):
            return event if event.seq < self.reached else None
        if position not in self.steps or position in self.came_out:
            return event
        if isinstance(event, ev.StepScheduled) and event.call == "attempt":
            return replace(event, elsewhere=False)  # nobody has it, in the new run
        return None


def _whole(event: Event) -> bool:
    late = isinstance(event, ev.TimerFired) and event.position == "deadline"
    return late or (isinstance(event, ev.RollbackStarted) and event.cause in ("failure", "cancel"))


def _entry(event: Event) -> str | None:
    """The entry that an event of an undo is of."""
    if isinstance(event, ev.CheckpointSaved) and event.position.endswith(":undo"):
        return event.position.removesuffix(":undo")
    found: str | None = getattr(event, "entry", None)
    return found
