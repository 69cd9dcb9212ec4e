"""The chain of a run: what it has done that could be undone, its scopes, and its rollbacks, folded from history.

Every completed step is one entry, armed by the very event that records its completion; there is no second place. Order
is the order of the events, never of time stamps. Live runs, views and the guards of people's commands all fold the
same events with this, and see the same.

The rule of this file: a fold, and total: whatever order a database gives, it does not raise, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from squidmesh.core import events as ev
from squidmesh.core.children import EARLIER
from squidmesh.core.effects import Effect, Trait
from squidmesh.core.entries import Entry, Rollback, Scheduled, Scope, Settled
from squidmesh.core.events import Event

__all__ = ["NOTHING_TO_UNDO", "Chain", "Entry", "Rollback", "Scope", "Settled"]


class Chain:
    """See the module. ``entries`` are in the order in which they were armed."""

    __slots__ = (
        "entries", "scopes", "rollbacks", "races", "watched", "active", "ended", "undone", "pivots", "kept",
        "deferred",
        "_stack", "_open", "_children", "_scope_of", "_groups", "_nested", "_stale", "_planned",
        "_registered", "_marks", "_seq",
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
        self._children: dict[str, ev.ChildStarted] = {}  # that have not ended
        self.deferred: dict[str, ev.StepDeferred] = {}  # that have not come out
        self._scope_of: dict[str, str | None] = {}  # by the first part of a position; only where there are scopes
        self._groups: dict[str, list[Entry]] = {}
        self._nested: dict[str, dict[str, None]] = {}  # ids of entries of members, by the first part of their positions
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
        return entry.settled is None and not self.inherited(entry) and not self.covered(entry)

    def inherited(self, entry: Entry) -> bool:
        """Whether a fork has an entry from another run, whose it stays (one without a number has only just arrived)."""
        return 0 < entry.seq <= self.kept

    def covered(self, entry: Entry) -> bool:
        """Whether undos that the step registered while it ran stand for an undo of its own."""
        return (
            entry.position in self._registered
            and entry.kind == "step"
            and entry.certain
            and entry.irreversible is None
            and not entry.has(Trait.UNDO)
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
            case ev.ChildStarted() | ev.ChildEnded() | ev.StepDeferred():
                self._child(event)
            case ev.RunStarted(continues=before, carried=carried, kept=kept):
                self.kept = kept
                if before is not None and carried is not None and carried.get("armed"):
                    self._arm_child(EARLIER, event.workflow, before, carried["queue"])
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
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunTerminated() | ev.RunContinued():
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

    def children_out(self) -> dict[str, ev.ChildStarted]:
        """Children that have not ended, by position."""
        return self._children

    def _child(self, event: ev.ChildStarted | ev.ChildEnded | ev.StepDeferred) -> None:
        """A child belongs to the chain from its end on; one that is deferred, and may end later than this run, at once.

        So does neither one that is detached nor one that was there already.
        """
        self._place(event.position)
        match event:
            case ev.ChildStarted():
                self._children.setdefault(event.position, event)
            case ev.StepDeferred():
                self.deferred.setdefault(event.position, event)
                self._arm_child(event.position, event.workflow, event.run_id, event.queue)
            case ev.ChildEnded():
                started = self._children.pop(event.position, None)
                self.deferred.pop(event.position, None)
                if started is not None and not (started.joined or started.options.get("detached")):
                    if event.effects:
                        self._arm_end(event, started.workflow, started.queue)
                elif (late := self.entries.get(event.position)) is not None and late.id not in self._planned:
                    del self.entries[late.id]  # what was deferred has come out; where something is left, it counts anew
                    if event.effects:
                        self._arm_end(event, late.step, late.queue)

    def _arm_end(self, event: ev.ChildEnded, workflow: str, queue: str) -> None:
        entry = self._arm_child(event.position, workflow, event.run_id, queue)
        entry.certain = event.outcome == "completed"
        entry.result, entry.failure, entry.report = event.result, event.failure, event.rollback

    def _arm_child(self, position: str, workflow: str, run_id: str, queue: str) -> Entry:
        scope = self.scope_at(position) if self._scope_of else None
        entry = Entry(position, "child", workflow, position, self._seq, scope, child=run_id, queue=queue)
        self._keep(entry)
        return entry

    def _keep(self, entry: Entry) -> None:
        self.entries[entry.id] = entry
        if "." in entry.position:
            self._nested.setdefault(entry.position.partition(".")[0], {})[entry.id] = None

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
            self._nested.get(position.partition(".")[0], {}).pop(position, None)

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
        if self._groups and (group := self._group_of(position)) is not None:
            group.append(entry)
        elif entry.kind == "step" or entry.members or entry.function is not None:
            self._keep(entry)
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
        name = event.function.rpartition(":")[2]
        scope = self.scope_at(event.position) if self._scope_of else None
        entry = Entry(entry_id, "registered", name, event.position, self._seq, scope)
        entry.input, entry.function = event.input, event.function
        self._keep(entry)

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
                if entry.kind == "child":
                    entry.report = event.result
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
