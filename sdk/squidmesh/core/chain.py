"""The chain of a run: what it has done that could be undone, its scopes, and its rollbacks, folded from history.

Every completed step is one entry, armed by the very event that records its completion; there is no second place. Order
is the order of the events, never of time stamps. Live runs, views and the guards of people's commands all fold the
same events with this, and see the same.

The rule of this file: a fold, and total: whatever order a database gives, it does not raise, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from squidmesh.core import events as ev
from squidmesh.core.effects import Effect, Trait
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure


class Settled(NamedTuple):
    """What became of an entry, in one rollback."""

    state: str  # undone, irreversible, failed, unaccounted, skipped
    reason: str | None
    by: str | None
    note: str | None
    at: int


class Scheduled(NamedTuple):
    """What is known of a step that has not ended."""

    step: str
    input: dict[str, Any]
    traits: list[str]
    scope: str | None
    undo: str | None


@dataclass(slots=True)
class Entry:
    """One thing that may have to be undone, and how far its undo is."""

    id: str
    kind: str  # step, child, transaction, registered
    step: str
    position: str
    seq: int
    scope: str | None
    traits: list[str] = field(default_factory=list)
    input: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    certain: bool = True  # False: it failed, and its effect may be there
    failure: Failure | None = None  # of the step, where it is not certain
    function: str | None = None  # of a registered undo, or of a transaction's own: module:name
    members: tuple[Entry, ...] = ()
    mark: str | None = None  # the note of a step that marked itself irreversible
    attempts: int = 0  # of its undo, in all
    spent: int = 0  # of these, failed in this budget
    lost: int = 0
    running: bool = False
    elsewhere: bool = False  # a task has it
    worker: str = ""
    first_at: int = 0
    retry_at: int | None = None
    failed: ev.UndoFailed | None = None  # for good, as far as the engine can do
    skip: ev.UndoSkipped | None = None
    done: bool = False  # its undo has completed
    note: str | None = None  # of its undo
    progress: Any = None  # of its undo: what that has given to checkpoint() last
    settled: Settled | None = None

    def has(self, trait: Trait) -> bool:
        return trait.value in self.traits

    @property
    def irreversible(self) -> str | None:
        """Why it cannot be undone: ``declared`` or ``marked``; None: it may be."""
        if self.mark is not None:
            return "marked"
        declared = self.has(Trait.IRREVERSIBLE) or (
            self.kind == "transaction" and self.function is None and any(m.irreversible for m in self.members)
        )
        return "declared" if declared else None

    @property
    def undoable(self) -> bool:
        """Whether an undo was there for it when it ran."""
        if self.irreversible is not None:
            return False
        match self.kind:
            case "step":
                return self.has(Trait.UNDO) and (self.certain or self.has(Trait.ATTEMPTED))
            case "transaction":
                return self.function is not None or all(member.has(Trait.UNDO) for member in self.members)
            case _:
                return True


@dataclass(slots=True)
class Scope:
    id: str
    name: str
    parent: str | None
    commit: bool
    on_irreversible: str | None
    on_undo_failure: str | None
    seq: int = 0  # of the event that it was entered by
    left: bool = False
    failed: bool = False

    @property
    def committed(self) -> bool:
        return self.commit and self.left and not self.failed


@dataclass(slots=True)
class Rollback:
    """One execution of a chain of undos. ``at`` is where its walk stands in ``planned``."""

    number: int
    begun: ev.RollbackStarted
    planned: list[str] | None = None
    settled: dict[str, Settled] = field(default_factory=dict)  # in the order they were settled
    at: int = 0
    look: str | None = None  # an irreversible entry just met, where the walk may have to halt
    halted: ev.UndoHalted | None = None
    abandoned: ev.RollbackAbandoned | None = None
    outcome: str | None = None
    ended: bool = False  # it came to its end, and was not cut off by a termination
    revision: int = 1
    stale: bool = False  # an entry was settled anew since the report was issued
    walked: bool = False  # something of it was undone, or settled otherwise


class Chain:
    """See the module. ``entries`` are in the order in which they were armed."""

    __slots__ = (
        "entries", "scopes", "rollbacks", "races", "watched", "active", "ended", "undone", "pivots", "kept",
        "_stack", "_open", "_scope_of", "_groups", "_nested", "_stale", "_planned", "_registered", "_marks", "_seq",
    )  # fmt: skip

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.scopes: dict[str, Scope] = {}
        self.rollbacks: list[Rollback] = []
        self.races: dict[str, int] = {}  # position of a race, and the index of what won it
        self.watched: dict[str, None] = {}  # races whose losers may still be in flight, or not be undone
        self.active: list[Rollback] = []  # not over, the oldest first
        self.ended: Event | None = None  # how the run ended, however often it was opened again
        self.undone = False  # a run that had completed, later
        self.pivots: dict[str, str | None] = {}  # positions of completed pivots, with their scopes
        self.kept = 0  # number of the last event that a fork has from another run: what that did is not its to undo
        self._stack: list[str] = []
        self._open: dict[str, Scheduled] = {}
        self._scope_of: dict[str, str | None] = {}  # by the first part of a position; only where there are scopes
        self._groups: dict[str, list[Entry]] = {}
        self._nested: dict[str, list[str]] = {}  # ids of entries of members, by the first part of their positions
        self._stale: dict[int, Rollback] = {}
        self._planned: dict[str, Rollback] = {}  # by entry, the newest that it is planned in
        self._registered: dict[str, int] = {}
        self._marks: dict[str, str] = {}
        self._seq = 0

    @classmethod
    def of(cls, history: Iterable[Event]) -> Chain:
        """The chain of a whole history."""
        chain = cls()
        for event in history:
            chain.apply(event)
        return chain

    # ------------------------------------------------------------------------------------------- what it has

    def within(self, scope: str | None, outer: str | None) -> bool:
        """Whether a scope is another one or inside it; None is the run itself."""
        while outer is not None and scope is not None and scope != outer:
            scope = self.scopes[scope].parent if scope in self.scopes else None
        return outer is None or scope == outer

    def committed(self, entry: Entry, outer: str | None) -> bool:
        """Whether a scope between the entry and an outer one has committed it."""
        at = entry.scope
        while at is not None and at != outer and at in self.scopes:
            if self.scopes[at].committed:
                return True
            at = self.scopes[at].parent
        return False

    def stale(self) -> Rollback | None:
        """A rollback that is over and whose report is to be issued again."""
        return next(iter(self._stale.values()), None)

    def armed(self) -> Iterator[Entry]:
        """What could still be rolled back, newest first."""
        return (entry for entry in reversed(self.entries.values()) if self._is_armed(entry))

    def _is_armed(self, entry: Entry) -> bool:
        return entry.settled is None and entry.seq > self.kept and not self.covered(entry)

    def covered(self, entry: Entry) -> bool:
        """Whether undos that the step registered while it ran stand for an undo of its own."""
        return (
            entry.kind == "step"
            and entry.certain
            and entry.irreversible is None
            and not entry.has(Trait.UNDO)
            and bool(self._registered.get(entry.position))
        )

    def registered(self, position: str) -> int:
        """How many undos were registered at a position."""
        return self._registered.get(position, 0)

    def scope_at(self, position: str) -> str | None:
        """The scope that a command belongs to; work that outlived its scope belongs to the one around it."""
        scope = self._scope_of.get(position.partition(".")[0])
        while scope is not None and scope in self.scopes and self.scopes[scope].left and not self.scopes[scope].failed:
            scope = self.scopes[scope].parent
        return scope

    def past_pivot(self, scope: str | None) -> str | None:
        """The position of a completed pivot of this scope (clean inner ones included), which it cannot go behind."""
        for position, home in self.pivots.items():
            if self.within(home, scope) and not self._rolled_back(position):
                return position
        return None

    def _rolled_back(self, position: str) -> bool:
        entry = self.entries.get(position)
        return entry is not None and entry.settled is not None

    # ------------------------------------------------------------------------------------------------ folding

    def apply(self, event: Event, seq: int = 0) -> None:  # noqa: C901 - one flat table
        """Take in one event; ``seq`` is the number that it will have, where it has none yet."""
        self._seq = event.seq or seq
        match event:
            case ev.StepScheduled():
                self._schedule(event)
            case ev.StepCompleted() | ev.StepFailed() | ev.TransactionCommitted():
                self._end(event)
            case ev.StepRetried():
                self._reopen(event.position)
            case ev.UndoRegistered():
                self._register(event)
            case ev.CheckpointSaved(position=home) if ":undo" in home:  # of an undo, not of the step
                if (entry := self.entries.get(home.removesuffix(":undo"))) is not None:
                    entry.progress = event.value
            case ev.StepMarkedIrreversible():
                self._marks[event.position] = event.note
                if (entry := self.entries.get(event.position)) is not None:
                    entry.mark = event.note
            case ev.RaceWon():
                self.races[event.position] = event.index
                self.watched[event.position] = None
            case ev.ScopeEntered():
                self.scopes[event.scope] = Scope(
                    event.scope, event.name, event.parent, event.commit, event.on_irreversible, event.on_undo_failure,
                    self._seq,
                )  # fmt: skip
                self._stack.append(event.scope)
            case ev.ScopeLeft():
                if (scope := self.scopes.get(event.scope)) is not None:
                    scope.left, scope.failed = True, event.failed
                    self._stack = [open_ for open_ in self._stack if open_ != event.scope]
            case ev.TimerSet() | ev.ValuePublished() | ev.MessageLogged():
                self._place(event.position)
            case ev.RunStarted():
                self.kept = event.kept
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunTerminated():
                self.ended = self.ended or event
                if isinstance(event, ev.RunTerminated):
                    self._stand_still(event)
            case ev.RunUndone():
                self.undone = True
            case ev.RollbackStarted() if event.number:
                self.rollbacks.append(Rollback(event.number, event))
                self.active.append(self.rollbacks[-1])
            case ev.RollbackPlanned():
                self._plan(event)
            case ev.UndoStarted() | ev.UndoFailed() | ev.UndoCompleted() | ev.UndoRetried() | ev.UndoSkipped():
                if (entry := self.entries.get(event.entry)) is not None:
                    self._undo(entry, event)
            case ev.UndoHalted():
                if (rollback := self._numbered(event.number)) is not None:
                    rollback.halted, rollback.look = event, None
            case ev.EntrySettled():
                if (entry := self.entries.get(event.entry)) is not None:
                    self._settle(entry, event)
            case ev.RollbackAbandoned():
                if self.active:
                    self.active[0].abandoned, self.active[0].halted, self.active[0].at = event, None, 0
            case ev.RollbackEnded():
                self._over(event)
            case _:
                pass

    def _stand_still(self, event: ev.RunTerminated) -> None:
        """The run was terminated: no undo is waited for. What was not undone is armed, for another rollback."""
        for rollback in self.active:
            rollback.outcome, rollback.halted = "abandoned", None
            for entry in map(self.entries.__getitem__, rollback.planned or ()):
                state, reason = ("failed", entry.failed.reason) if entry.failed else ("skipped", "abandoned")
                rollback.settled.setdefault(entry.id, Settled(state, reason, event.actor, event.note, event.at))
                if entry.settled is None:
                    entry.running, entry.failed, entry.skip, entry.spent, entry.lost = False, None, None, 0, 0
        self.active.clear()

    def in_flight(self) -> list[str]:
        """Positions of steps that were scheduled and have not ended."""
        return list(self._open)

    def _schedule(self, event: ev.StepScheduled) -> None:
        if event.position in self._open:
            return  # again, as a task; it stays where it was
        self._place(event.position)
        scope = self._scope_of.get(event.position.partition(".")[0]) if self._scope_of else None
        self._open[event.position] = Scheduled(event.step, event.input, event.traits, scope, event.undo)
        if Trait.GROUP in event.traits:
            self._groups.setdefault(event.position, [])

    def _place(self, position: str) -> None:
        if self.scopes:
            self._scope_of.setdefault(position.partition(".")[0], self._stack[-1] if self._stack else None)

    def _end(self, event: ev.StepCompleted | ev.StepFailed | ev.TransactionCommitted) -> None:
        position = event.position
        late = self.entries.get(position)
        if late is not None:
            if late.settled is None and isinstance(event, ev.StepCompleted):
                # what stood as unaccounted has turned out to be there
                late.certain, late.failure, late.result, late.seq = True, None, event.result, self._seq
                self.entries[position] = self.entries.pop(position)
            return
        known = self._open.get(position)
        if not isinstance(event, ev.StepFailed):  # which a person may have tried again
            self._open.pop(position, None)
        if known is None or Trait.PURE in known.traits:
            return
        if isinstance(event, ev.StepFailed) and event.effect == Effect.NONE:
            return
        self._arm(event, known)

    def _reopen(self, position: str) -> None:
        """The failure of a step is not let stand: what is left of it is for its next attempts to say."""
        entry = self.entries.get(position)
        if entry is not None and entry.settled is None:
            del self.entries[position]
            if position in (nested := self._nested.get(position.partition(".")[0], [])):
                nested.remove(position)

    def _arm(self, event: ev.StepCompleted | ev.StepFailed | ev.TransactionCommitted, known: Scheduled) -> None:
        position = event.position
        scope = self.scope_at(position) if self._scope_of else None
        entry = Entry(position, "step", known.step, position, self._seq, scope, known.traits, known.input)
        entry.mark = self._marks.get(position)
        match event:
            case ev.StepCompleted(result=result):
                entry.result = result
            case ev.StepFailed(failure=failure):
                entry.certain, entry.failure = False, failure
            case ev.TransactionCommitted(result=result):
                entry.kind, entry.result, entry.function = "transaction", result, known.undo
                entry.members = tuple(self._groups.pop(position, ()))
        if (group := self._group_of(position)) is not None:
            group.append(entry)
        elif entry.kind == "step" or entry.members or entry.function is not None:
            self.entries[position] = entry
            if "." in position:
                self._nested.setdefault(position.partition(".")[0], []).append(position)
            if entry.has(Trait.PIVOT) and entry.certain:
                self.pivots[position] = scope

    def _group_of(self, position: str) -> list[Entry] | None:
        return next((members for at, members in self._groups.items() if position.startswith(f"{at}.")), None)

    def branch(self, race: str) -> list[Entry]:
        """What is armed under the members of a race."""
        known = self._nested.get(race.partition(".")[0], ())
        return [self.entries[at] for at in known if at.startswith(f"{race}.") and self._is_armed(self.entries[at])]

    def _register(self, event: ev.UndoRegistered) -> None:
        self._place(event.position)
        self._registered[event.position] = max(event.number, self._registered.get(event.position, 0))
        entry_id = f"{event.position}:undo:{event.number}"
        if "." in event.position:
            self._nested.setdefault(event.position.partition(".")[0], []).append(entry_id)
        name = event.function.rpartition(":")[2]
        scope = self.scope_at(event.position) if self._scope_of else None
        self.entries[entry_id] = Entry(
            entry_id, "registered", name, event.position, self._seq, scope, input=event.input, function=event.function
        )

    # ---------------------------------------------------------------------------------------------- rollbacks

    def _numbered(self, number: int) -> Rollback | None:
        return next((rollback for rollback in reversed(self.rollbacks) if rollback.number == number), None)

    def _plan(self, event: ev.RollbackPlanned) -> None:
        rollback = self._numbered(event.number)
        if rollback is None:
            return
        rollback.planned = [entry for entry in event.entries if entry in self.entries]
        for entry in rollback.planned:
            self._planned[entry] = rollback
            if (settled := self.entries[entry].settled) is not None:  # by a scope, whose failure was let out
                rollback.settled[entry] = settled

    def _undo(
        self,
        entry: Entry,
        event: ev.UndoStarted | ev.UndoFailed | ev.UndoCompleted | ev.UndoRetried | ev.UndoSkipped,
    ) -> None:
        entry.elsewhere = False
        match event:
            case ev.UndoStarted():
                entry.running, entry.worker, entry.attempts, entry.retry_at = True, event.worker, event.number, None
                entry.first_at = entry.first_at or event.at
                if (rollback := self._planned.get(entry.id)) is not None:
                    rollback.walked = True
            case ev.UndoFailed():
                entry.running, entry.retry_at = False, event.retry_at
                if event.reason == "lost":
                    entry.lost += 1
                else:
                    entry.spent += 1
                if event.retry_at is None:
                    entry.failed = event
            case ev.UndoCompleted():
                entry.running, entry.done, entry.note = False, True, event.note
            case ev.UndoRetried():
                entry.failed, entry.spent, entry.lost, entry.first_at, entry.retry_at = None, 0, 0, 0, None
                self._resume(entry)
            case ev.UndoSkipped():
                if entry.settled is not None:  # irreversible, and stays so: a person has seen it
                    self._record(entry, entry.settled._replace(by=event.actor, note=event.note))
                else:
                    entry.skip = event
                self._resume(entry)

    def _resume(self, entry: Entry) -> None:
        rollback = self._planned.get(entry.id)
        if rollback is not None and rollback.outcome is None:
            rollback.halted, rollback.at = None, 0

    def _settle(self, entry: Entry, event: ev.EntrySettled) -> None:
        settled = Settled(event.state, event.reason, event.actor, event.note, event.at)
        entry.running = False
        self._record(entry, settled)
        if event.actor is not None:
            entry.failed = entry.failed if event.state == "failed" else None
            self._resume(entry)
        elif event.state == "irreversible" and self.active:
            self.active[0].look = entry.id

    def _record(self, entry: Entry, settled: Settled) -> None:
        entry.settled = settled
        if (newest := self._planned.get(entry.id)) is not None:
            newest.settled.pop(entry.id, None)  # settled anew, it stands behind what was settled meanwhile
            newest.settled[entry.id] = settled
            newest.walked = True
            if newest.outcome is not None:
                newest.stale, self._stale[newest.number] = True, newest

    def _over(self, event: ev.RollbackEnded) -> None:
        rollback = self._numbered(event.number)
        if rollback is None:
            return
        rollback.outcome, rollback.revision, rollback.stale = event.outcome, event.revision, False
        rollback.ended = True
        rollback.halted = None
        self._stale.pop(event.number, None)
        self.active = [other for other in self.active if other is not rollback]
        if event.outcome == "refused":
            self.watched.pop(rollback.begun.position or "", None)  # or the losers of a race would be refused for ever
            for entry_id in rollback.planned or ():
                entry = self.entries[entry_id]
                state = ("irreversible", entry.irreversible) if entry.irreversible else ("skipped", "refused")
                rollback.settled.setdefault(entry_id, Settled(*state, None, None, event.at))


NOTHING_TO_UNDO = frozenset({ev.AttemptStarted, ev.AttemptFailed, ev.AttemptLost, ev.TimerFired})
"""Kinds of events that change nothing here, and are many."""
