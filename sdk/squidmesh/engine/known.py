"""What is known of a run when a person's command comes: its row, its history with what waits for its holder, the chain.

The rule of this file: a look, which decides nothing but what can be done now. Whoever is refused is told just that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain, Entry, Rollback
from squidmesh.core.codec import decode, decode_rows
from squidmesh.core.events import Event
from squidmesh.core.gates import APPROVAL, PAUSE, Gates, Opened, came_out, label
from squidmesh.core.report import RollbackReport, report
from squidmesh.core.rollback import plan
from squidmesh.core.status import CODE_REASONS, ENDED, Reason, RunStatus
from squidmesh.engine.engine import Engine
from squidmesh.errors import IllegalState, NoSuchEntry, NothingOpen, RunNotFound
from squidmesh.ports import RunRow

OWN = ("failure", "cancel", "operator", "parent")
"""Causes of a rollback of the whole run; a scope's or a race's goes on beside it."""

SHOWN = 3
"""Gates that were open once, of which whoever comes too late is told."""

LOOKS = 5
"""Times that history and inbox are read, until nothing was moved from one to the other in between."""


@dataclass(slots=True)
class Known:
    """One run, as it stands. ``arrived`` is what its holder has not folded into the history yet."""

    row: RunRow
    history: list[Event]
    arrived: list[Event]
    chain: Chain = field(init=False)
    gates: Gates = field(default_factory=Gates)
    held: ev.RunHeld | None = None  # by an operator
    steps: dict[str, str] = field(default_factory=dict)  # names by position
    in_doubt: dict[str, ev.StepInDoubt] = field(default_factory=dict)
    stuck: str | None = None  # position of the step whose failure has blocked the run past its pivot
    ending: Event | None = None  # what asked for its end, which is not reached yet
    requested: ev.RollbackStarted | None = None  # by an operator, and not taken up yet
    posted: Event | None = None  # by the command that this look was for

    def __post_init__(self) -> None:
        self.chain = Chain.of(self.events)
        for event in self.events:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        self.gates.apply(event)
        match event:
            case ev.StepScheduled():
                self.steps[event.position] = event.step
            case ev.StepInDoubt():
                self.in_doubt[event.position] = event
            case ev.StepCompleted() | ev.StepFailed() | ev.StepCancelled() | ev.StepResolved():
                self.in_doubt.pop(event.position, None)
            case ev.RunBlocked(reason=Reason.PAST_PIVOT):  # the deadline, if it was that, has not ended it
                self.stuck, self.ending = event.position, None
            case ev.StepRetried() | ev.StepSkipped() | ev.RunUnblocked():
                self.stuck = None
            case ev.RunHeld():
                self.held = event
            case ev.RunReleased():
                self.held = None
            case ev.CancelRequested() | ev.FailRequested() | ev.TimerFired(position="deadline"):
                self.stuck, self.ending, self.held = None, event, None
            case ev.RunTerminated(seq=0):
                self.ending = event
            case (
                ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunTerminated() | ev.RunUndone()
                | ev.RunContinued()
            ):  # fmt: skip
                self.stuck, self.ending, self.held = None, None, None
            case ev.RollbackStarted():
                self.requested = None if event.number or event.asked_by else event
            case _:
                pass

    @property
    def events(self) -> list[Event]:
        return [*self.history, *self.arrived]

    @property
    def ended(self) -> bool:
        return self.row.status in ENDED

    @property
    def own(self) -> Rollback | None:
        """The rollback of the whole run that is not over."""
        return next((rollback for rollback in self.chain.active if rollback.begun.cause in OWN), None)

    @property
    def newest(self) -> Rollback | None:
        """The newest rollback of the whole run, over or not."""
        return next((rollback for rollback in reversed(self.chain.rollbacks) if rollback.begun.cause in OWN), None)

    @property
    def closing(self) -> bool:
        """Whether the run is on its way to its end, or to that of a rollback, already."""
        return bool(self.ending or self.own or self.requested) or self.row.reason == Reason.DRAINING

    @property
    def wants_code(self) -> bool:
        """Whether the run is blocked by code or a value."""
        return self.row.status == RunStatus.BLOCKED and self.row.reason in CODE_REASONS

    def is_open(self, gate: Opened, now: int) -> bool:
        """Whether somebody's word counts at a gate; past its deadline it does not, though nobody has noted that yet."""
        late = gate.event.due is not None and gate.event.due <= now
        return gate.open and not late and not self.ended

    def keyed(self, key: str) -> Event | None:
        """The event that a command with this key has put down."""
        of_people = (event for event in self.events if not isinstance(event, ev.RunStarted))
        return next((event for event in of_people if getattr(event, "key", None) == key), None)

    def report(self, rollback: Rollback) -> RollbackReport:
        return report(self.chain, rollback, self.row.run_id, self.row.workflow)

    # ------------------------------------------------------------------------------------- what can be done

    def failed(self) -> list[Entry]:
        """Entries whose undo has failed for good, and of which nothing was decided yet."""
        return [
            entry
            for entry in self._planned(self.chain.active)
            if entry.settled is None and entry.skip is None and _for_a_person(entry.failed)
        ]

    def skippable(self) -> list[Entry]:
        """Those, and the entry that a halt stands at."""
        found = {entry.id: entry for entry in self.failed()}
        for rollback in self.chain.active:
            if rollback.halted is not None and (at := self.chain.entries.get(rollback.halted.entry or "")) is not None:
                found[at.id] = at
        return list(found.values())

    def not_undone(self) -> list[Entry]:
        """Entries of any rollback that are not undone, nor about to be."""
        mine = (entry for entry in self._planned(self.chain.rollbacks) if not self.chain.inherited(entry))
        planned = (entry for entry in mine if not (entry.running or entry.done))
        return [entry for entry in planned if entry.settled is None or entry.settled.state != "undone"]

    def halted(self) -> bool:
        return any(rollback.halted is not None for rollback in self.chain.active)

    def pivot(self) -> Entry | None:
        """The completed pivot that the run cannot go behind."""
        position = self.chain.past_pivot(None)
        return None if position is None else self.chain.entries.get(position)

    def _planned(self, rollbacks: Iterable[Rollback]) -> Iterator[Entry]:
        ids = dict.fromkeys(entry for rollback in rollbacks for entry in rollback.planned or ())
        return (self.chain.entries[entry] for entry in ids)

    def allowed(self) -> tuple[str, ...]:
        """The commands that would do something now, what needs a person first."""
        return tuple(self._allowed())

    def _allowed(self) -> Iterator[str]:
        if self.in_doubt and not self.ended:
            yield "resolve_step"
        if self.stuck is not None and not self.ended:
            yield from ("retry_step", "skip_step")
        if self.failed():
            yield "undo_retry"
        if self.skippable():
            yield "undo_skip"
        if self.not_undone():
            yield "undo_mark_done"
        if self.halted():
            yield "undo_abandon"
        if not self.ended:
            if any(gate.open for gate in self.gates.of(APPROVAL)):
                yield from ("approve", "reject")
            if any(gate.open for gate in self.gates.of(PAUSE)):
                yield "resume"
            if self.held is not None or self.wants_code:
                yield "release"
            if not self.closing:
                yield from ("cancel" if self.pivot() is None else "cancel(force=True)", "fail")
                if self.held is None:
                    yield "hold"
            yield "terminate"
        else:
            if plan(self.chain, ev.RollbackStarted(cause="operator")):
                yield "rollback"
            yield "rerun"

    def refusal(self, command: str, why: str = "") -> IllegalState:
        return IllegalState(self.row.run_id, self.row.status, command, self.allowed(), why)

    # ---------------------------------------------------------------------------------- finding what is named

    def entry(self, command: str, wanted: object, among: Sequence[Entry]) -> Entry:
        """The one of these entries that is named by its step, its position or its id.

        :raises IllegalState: there is none of its kind at all.
        :raises NoSuchEntry: this one is not among them, or several are, or none was named and there are several.
        """
        if not among:
            raise self.refusal(command)
        if wanted is None:
            fits: Sequence[Entry] = among
        else:
            name = _name(wanted)
            ways = ([entry for entry in among if getattr(entry, by) == name] for by in ("id", "position", "step"))
            fits = next((found for found in ways if found), ())
        if len(fits) != 1:
            told = tuple(f"{entry.step} at {entry.id}" for entry in among)
            raise NoSuchEntry(self.row.run_id, "" if wanted is None else _name(wanted), told)
        return fits[0]

    def step(self, command: str, wanted: object, among: Sequence[str]) -> str:
        """The position of the one of these steps that is named; raises as ``entry`` does."""
        if not among:
            raise self.refusal(command)
        name = _name(wanted)
        fits = [at for at in among if at == name] or [at for at in among if self.steps.get(at) == name]
        if len(fits) != 1:
            told = tuple(f"{self.steps.get(at, 'a step')} at {at}" for at in among)
            raise NoSuchEntry(self.row.run_id, name, told, "step")
        return fits[0]

    def gate(self, command: str, kind: str, wanted: object, now: int) -> Opened:
        """The one open gate of a kind that is named, or that there is.

        :raises NothingOpen: there is none (any more); it says how those came out that were.
        :raises NoSuchEntry: this one is not among those that are open, or several are, and none was named.
        """
        mine, name = self.gates.of(kind), "" if wanted is None else _name(wanted)
        ways = ([gate for gate in mine if getattr(gate.event, by) == name] for by in ("position", "name"))
        named = mine if wanted is None else next((found for found in ways if found), [])
        fits = [gate for gate in named if self.is_open(gate, now)]
        there = [gate for gate in mine if self.is_open(gate, now)]
        if len(fits) == 1:
            return fits[0]
        if not there or (named and not fits):
            other = [gate for gate in self.gates.by_position.values() if gate not in mine and self.is_open(gate, now)]
            told = [came_out(gate) for gate in (named or mine)[-SHOWN:]] + [f"{label(gate)} is open" for gate in other]
            raise NothingOpen(self.row.run_id, self.row.status, command, tuple(told))
        raise NoSuchEntry(self.row.run_id, name, tuple(map(label, fits or there)), kind)


def _name(wanted: object) -> str:
    """A name or position, or the name of a definition."""
    return str(getattr(wanted, "name", wanted))


def _for_a_person(failed: ev.UndoFailed | None) -> bool:
    """An undo that found its effect irreversible is settled by the walk itself."""
    return failed is not None and failed.reason != "irreversible"


def look(engine: Engine, run_id: str) -> Known:
    """Read a run as it stands.

    :raises RunNotFound: no such run.
    """
    store = engine.store
    rows, row, inbox = store.history(run_id), store.run(run_id), store.inbox(run_id)
    for _ in range(LOOKS):
        later = store.history(run_id, after=rows[-1].seq) if rows else []
        if not later:
            break
        rows, row, inbox = [*rows, *later], store.run(run_id), store.inbox(run_id)
    if row is None or not rows:
        raise RunNotFound(run_id)
    history = decode_rows([(found.seq, found.events) for found in rows])
    arrived = [event for message in inbox for event in decode(message.events)]
    return Known(row, history, unfolded(history, arrived))


def unfolded(history: Sequence[Event], arrived: Sequence[Event]) -> list[Event]:
    """What of an inbox that was read before the history is not in the history yet."""
    if not arrived:
        return []
    times = {event.at for event in arrived}
    known = [replace(event, seq=0) for event in history if event.at in times]
    return [event for event in arrived if event not in known]
