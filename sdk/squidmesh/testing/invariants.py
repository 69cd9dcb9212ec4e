"""What must hold of every history, whatever happened to processes on the way: the invariants of runs and rollbacks.

    a completed step is in the chain · one outcome for each planned entry · undos begin newest first, one at a time,
    each in a rollback that planned it · attempts are numbered from 1 without a gap · no undo begins while a step of
    its scope is being tried, or a child of it goes on · a run ends after its children · clean is said only where all
    was undone, never ran or was committed · after its end a run only goes on because a person, or the rollback of
    another run, wants it to

The rule of this file: read from the events alone, one after the other; the first that cannot be is named, with what
came before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from squidmesh.core import events as ev
from squidmesh.core.applying import is_asked_for
from squidmesh.core.chain import Chain, Rollback
from squidmesh.core.effects import Trait, told
from squidmesh.core.events import Event
from squidmesh.core.report import report
from squidmesh.core.rollback import lost_race, outcome
from squidmesh.errors import MeshError

ENDS = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunUndone, ev.RunTerminated, ev.RunContinued)
REOPENS = (ev.RollbackStarted, ev.EntrySettled)
LATE = (ev.ChildEnded, ev.RunJoined, ev.StepFailed)
"""What may be recorded of a run that is over, which stays so: of a terminated one, what was not waited for."""
OWN = ("failure", "cancel", "operator", "parent")
SHOWN = 12
"""Events before the one that cannot be, in the message."""


class InvariantBroken(MeshError, AssertionError):
    """A history that cannot be. ``problems`` says what is wrong with which events."""

    def __init__(self, problems: Sequence[str], shown: Sequence[Event]) -> None:
        self.problems = tuple(problems)
        lines = "\n  ".join(map(str, shown))
        super().__init__(f"{'; '.join(problems)}. The last events before:\n  {lines}")


def check(history: Sequence[Event]) -> None:
    """Check the history of a run, from its first event on.

    :raises InvariantBroken: naming what is wrong.
    """
    look = _Look()
    for n, event in enumerate(history):
        if problems := list(look.at(event)):
            raise InvariantBroken(problems, history[max(0, n - SHOWN) : n + 1])


class _Look:
    """What has happened so far. ``chain`` is that before the event that is looked at."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.seq = 0
        self.over: Event | None = None  # the run has ended, and was not opened again
        self.again = False  # it was, for a report to be issued again
        self.traits: dict[str, list[str]] = {}
        self.scheduled: set[str] = set()
        self.tried: dict[str, int] = {}  # number of the latest attempt
        self.running: set[str] = set()
        self.ended: dict[str, Event] = {}  # how a step ended
        self.children: dict[str, Event] = {}  # the latest of each
        self.undoing: str | None = None  # the entry whose undo is called
        self.number: dict[str, int] = {}  # of the latest call of its undo
        self.began: dict[int, list[str]] = {}  # entries whose undos have begun, by rollback
        self.outcomes: dict[str, list[ev.EntrySettled]] = {}

    def at(self, event: Event) -> Iterator[str]:
        """What is wrong with the next event; then it has happened."""
        self.seq += 1
        if event.seq != self.seq:
            yield f"event {event.seq} ({event.kind}) stands at place {self.seq}"
        if (self.seq == 1) is not isinstance(event, ev.RunStarted):
            yield f"{_told(event)}: a run starts once, with its first event"
        yield from self._after_the_end(event)
        yield from self._step(event)
        yield from self._rollback(event)
        self.chain.apply(event)
        yield from self._armed(event)
        yield from self._report(event)

    def _after_the_end(self, event: Event) -> Iterator[str]:
        if isinstance(event, ENDS):
            if not isinstance(event, ev.RunTerminated) and (out := self._children_out()):
                yield f"{_told(event)}: the child at position {', '.join(out)} goes on"
            if self.over is not None:
                yield f"{_told(event)}: the run had ended already ({_told(self.over)})"
            if self.chain.active and not isinstance(event, ev.RunTerminated):
                yield f"{_told(event)}: rollback {self.chain.active[0].number} is not over"
            self.over = event
        elif isinstance(event, ev.RollbackEnded) and self.again:
            self.over, self.again = event, False
        elif self.over is not None and not isinstance(event, LATE) and not is_asked_for(event):
            if not isinstance(event, REOPENS):
                yield f"{_told(event)}: the run had ended ({_told(self.over)})"
            elif event.actor is None and getattr(event, "asked_by", None) is None:
                yield f"{_told(event)}: the run had ended, and no person wanted this"
            self.over, self.again = None, isinstance(event, ev.EntrySettled)

    # ------------------------------------------------------------------------------------------------- steps

    def _step(self, event: Event) -> Iterator[str]:
        match event:
            case ev.ChildStarted(position=at) | ev.StepDeferred(position=at):
                if at in self.children:
                    yield f"{_told(event)}: it has a child already"
                self.children[at] = event
            case ev.ChildEnded(position=at):
                if not isinstance(self.children.get(at), (ev.ChildStarted, ev.StepDeferred)):
                    yield f"{_told(event)}: no child goes on there"
                self.children[at] = event
            case ev.StepScheduled(position=at):
                if at in self.scheduled and at in self.ended and not isinstance(self.ended[at], ev.StepCancelled):
                    yield f"{_told(event)}: the step has ended already"
                self.scheduled.add(at)
                self.traits[at] = event.traits
            case ev.AttemptStarted(position=at, number=number):
                yield from self._begun(event, at, number)
            case ev.AttemptFailed(position=at, number=number) | ev.AttemptLost(position=at, number=number):
                if at not in self.scheduled:
                    yield f"{_told(event)}: the step was never scheduled"
                if at in self.running and number != self.tried.get(at):
                    yield f"{_told(event)}: attempt {self.tried.get(at)} is under way"
                self.running.discard(at)
            case ev.StepCompleted(position=at):
                if at not in self.scheduled:
                    yield f"{_told(event)}: the step was never scheduled"
                elif at not in self.tried and not self._in_group(at):
                    yield f"{_told(event)}: no attempt of the step had started"
                yield from self._settled(event, at)
            case ev.StepFailed(position=at) | ev.StepCancelled(position=at) | ev.TransactionCommitted(position=at):
                yield from self._settled(event, at)
            case ev.StepSkipped(position=at) | ev.StepRetried(position=at):
                self.ended.pop(at, None)
                self.running.discard(at)
                if isinstance(event, ev.StepSkipped):
                    self.ended[at] = event
            case _:
                pass

    def _begun(self, event: Event, at: str, number: int) -> Iterator[str]:
        if at not in self.scheduled:
            yield f"{_told(event)}: the step was never scheduled"
        if at in self.running:
            yield f"{_told(event)}: attempt {self.tried[at]} is under way"
        if at in self.ended and not isinstance(self.ended[at], ev.StepCancelled):
            yield f"{_told(event)}: the step has ended already"
        if number != self.tried.get(at, 0) + 1:
            yield f"{_told(event)}: attempt {number} follows attempt {self.tried.get(at, 0)}"
        self.tried[at] = number
        self.running.add(at)

    def _settled(self, event: Event, at: str) -> Iterator[str]:
        before = self.ended.get(at)
        late = isinstance(event, ev.StepCompleted) and isinstance(before, (ev.StepFailed, ev.StepCancelled))
        if before is not None and not late:
            yield f"{_told(event)}: the step had ended already ({_told(before)})"
        self.running.discard(at)
        self.ended[at] = event

    def _armed(self, event: Event) -> Iterator[str]:
        if isinstance(event, ev.StepCompleted) and (traits := self.traits.get(event.position)) is not None:
            in_chain = event.position in self.chain.entries or self._in_group(event.position)
            if not in_chain and not told(traits, Trait.PURE):
                yield f"{_told(event)}: it has completed, and is not in the chain"

    def _children_out(self) -> list[str]:
        """Positions of children that this run has to wait for."""
        out = self.chain.children_out().items()
        return [at for at, child in out if not (child.joined or child.options.get("detached"))]

    def _in_group(self, at: str) -> bool:
        return any(told(self.traits[home], Trait.GROUP) for home in _above(at) if home in self.traits)

    # --------------------------------------------------------------------------------------------- rollbacks

    def _rollback(self, event: Event) -> Iterator[str]:
        match event:
            case ev.RollbackStarted(number=number) if not is_asked_for(event):
                if number != len(self.chain.rollbacks) + 1:
                    yield f"{_told(event)}: rollback {number} follows rollback {len(self.chain.rollbacks)}"
            case ev.RollbackPlanned(number=number, entries=entries):
                yield from self._planned(event, number, entries)
            case ev.UndoStarted(entry=entry, number=number):
                yield from self._undo_begun(event, entry, number)
            case ev.UndoCompleted(entry=entry) | ev.UndoFailed(entry=entry):
                if self.undoing != entry and not (isinstance(event, ev.UndoFailed) and event.retry_at is None):
                    yield f"{_told(event)}: its undo was not under way"
                self.undoing = None
            case ev.EntrySettled(entry=entry):
                yield from self._entry_settled(event, entry)
            case ev.RollbackEnded(number=number):
                rollback = self._numbered(number)
                if rollback is None or (rollback.outcome is not None) is not (event.revision > rollback.revision):
                    yield f"{_told(event)}: a rollback ends once, and its report is issued again with a new revision"
                elif event.outcome != "refused":
                    open_ = [entry for entry in rollback.planned or () if entry not in rollback.settled]
                    if open_:
                        yield f"{_told(event)}: nothing became of {', '.join(open_)}"
            case _:
                pass

    def _planned(self, event: Event, number: int, entries: list[str]) -> Iterator[str]:
        rollback = self._numbered(number)
        if rollback is None or rollback.planned is not None:
            yield f"{_told(event)}: a rollback is planned once, after its start"
        if strange := [entry for entry in entries if entry not in self.chain.entries]:
            yield f"{_told(event)}: nothing is armed as {', '.join(strange)}"
        seqs = [self.chain.entries[entry].seq for entry in entries if entry in self.chain.entries]
        if seqs != sorted(set(seqs), reverse=True):
            yield f"{_told(event)}: the entries do not stand in reverse order of their completion ({seqs})"

    def _undo_begun(self, event: Event, entry: str, number: int) -> Iterator[str]:
        rollback = next((r for r in self.chain.active if entry in (r.planned or ())), None)
        if rollback is None:
            yield f"{_told(event)}: no rollback that is under way has planned it"
            return
        if self.undoing is not None:
            yield f"{_told(event)}: the undo of {self.undoing} is under way"
        if self.chain.entries[entry].settled is not None:
            yield f"{_told(event)}: the entry is settled already"
        if number != self.number.get(entry, 0) + 1:
            yield f"{_told(event)}: call {number} follows call {self.number.get(entry, 0)}"
        began = self.began.setdefault(rollback.number, [])
        if entry not in began:
            if began and self.chain.entries[began[-1]].seq <= self.chain.entries[entry].seq:
                yield f"{_told(event)}: what is older, {began[-1]}, was undone before it"
            began.append(entry)
        if busy := sorted(at for at in self.running if self._concerned(rollback, at)):
            yield f"{_told(event)}: the step at position {', '.join(busy)} is being tried"
        if out := sorted(at for at in self._children_out() if self._concerned(rollback, at)):
            yield f"{_told(event)}: the child at position {', '.join(out)} goes on"
        self.undoing, self.number[entry] = entry, number

    def _concerned(self, rollback: Rollback, at: str) -> bool:
        begun = rollback.begun
        if begun.cause == "race":
            return lost_race(self.chain, begun.position or "", at)
        return begun.cause in OWN or (
            begun.scope is not None and self.chain.within(self.chain.scope_at(at), begun.scope)
        )

    def _entry_settled(self, event: ev.EntrySettled, entry: str) -> Iterator[str]:
        if not any(entry in (rollback.planned or ()) for rollback in self.chain.rollbacks):
            yield f"{_told(event)}: no rollback has planned it"
        before = self.outcomes.setdefault(entry, [])
        if before and not (event.actor is not None and event.state == "undone"):
            yield f"{_told(event)}: it was settled already ({before[-1].state})"
        if event.state == "undone" and event.actor is None and not self.chain.entries[entry].done:
            yield f"{_told(event)}: its undo has not completed"
        before.append(event)
        if self.undoing == entry:
            self.undoing = None

    def _report(self, event: Event) -> Iterator[str]:
        if not isinstance(event, ev.RollbackEnded) or (rollback := self._numbered(event.number)) is None:
            return
        issued = report(self.chain, rollback, "", "")
        lists = (issued.undone, issued.irreversible, issued.failed, issued.unaccounted, issued.skipped, issued.pending)
        count, wanted = sum(map(len, lists)), len(rollback.planned or ())
        if count != wanted:
            yield f"{_told(event)}: {wanted} entries were planned, the report has {count}"
        if event.outcome == "clean" and (told := [*issued.irreversible, *issued.failed, *issued.unaccounted]):
            yield f"{_told(event)}: clean is said of {told[0].step} at position {told[0].position}: {told[0].state}"
        if event.outcome in ("clean", "partial") and event.outcome != outcome(rollback):
            yield f"{_told(event)}: the outcome is {outcome(rollback)}"

    def _numbered(self, number: int) -> Rollback | None:
        return next((rollback for rollback in self.chain.rollbacks if rollback.number == number), None)


def _above(position: str) -> Iterator[str]:
    while "." in position:
        position = position.rpartition(".")[0]
        yield position


def _told(event: Event) -> str:
    where = getattr(event, "position", None) or getattr(event, "entry", None) or getattr(event, "number", None)
    return f"event {event.seq}, {event.kind}{f' of {where}' if where is not None else ''}"
