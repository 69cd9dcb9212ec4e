"""What is read from the store and written to it, as values.

The rule of this file: frozen values without behaviour. JSON that the engine writes and reads is text here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# ------------------------------------------------------------------------------------------------- rows, read


@dataclass(frozen=True, slots=True)
class RunRow:
    run_id: str
    workflow: str
    version: int
    key: str | None
    status: str
    reason: str | None
    queue: str
    priority: int
    attributes: Mapping[str, Any] | None
    parent: str | None
    created_at: int
    ended_at: int | None
    deadline: int | None
    due_at: int | None
    worker: str | None
    epoch: int
    length: int
    code: str | None
    rollback: str | None = None
    chain: str | None = None  # the first run of those that continue one another
    orphans: int = 0


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One append: ``events`` is the JSON text of an array; the first event has number ``seq``."""

    run_id: str
    seq: int
    events: str


@dataclass(frozen=True, slots=True)
class InboxRow:
    id: int
    run_id: str
    events: str
    at: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that this worker holds from now on. ``history`` starts after the event number that was asked for."""

    run: RunRow
    history: list[HistoryRow]
    inbox: list[InboxRow]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A step that somebody must pick up; after a claim, the attempt ``number`` is the claimer's."""

    run_id: str
    position: str
    step: str
    queue: str
    priority: int
    due_at: int
    worker: str | None
    number: int
    lost: int
    max_lost: int
    join_position: str | None
    spec: str  # JSON text, as placed
    progress: str | None  # JSON text, the latest checkpoint
    claimed_at: int | None
    scheduled_seq: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    worker: str
    host: str
    pid: int
    queues: list[str]
    code: Any
    started_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    name: str
    workflow: str
    version: int
    definition: str  # JSON text
    origin: str | None
    created_at: int
    anchor: int
    revision: int
    due_at: int | None
    queued_at: int | None = None
    paused_at: int | None = None
    actor: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule with a tick that is due, or that may start now; ``busy``: a run that it may meet goes on."""

    row: ScheduleRow
    now: int  # by the clock that found it due
    busy: bool


@dataclass(frozen=True, slots=True)
class TickRow:
    schedule: str
    at: int
    outcome: str
    run_id: str | None = None


# ----------------------------------------------------------------------------------------------- rows, written


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be started: its row, and the JSON text of its first history row."""

    run_id: str
    workflow: str
    version: int
    key: str | None
    queue: str
    priority: int
    attributes: Mapping[str, Any] | None
    parent: str | None
    created_at: int
    due_at: int
    deadline: int | None
    events: str
    count: int
    chain: str | None = None
    trace: str | None = None  # what it hangs under; it is in ``events``, too


@dataclass(frozen=True, slots=True)
class NewTask:
    position: str
    step: str
    queue: str
    priority: int
    due_at: int
    max_lost: int
    join_position: str | None
    spec: str
    scheduled_seq: int


@dataclass(frozen=True, slots=True)
class Join:
    """How many outcomes of a group's tasks are still out, and when somebody must look.

    ``added`` is added to what the row says remains (an upsert, from 0): reports that came meanwhile stay counted.
    The run is pinged by the report (or append) after which ``remaining <= wake_at``. A withdrawn task is taken off.
    """

    position: str
    added: int
    wake_at: int = 0


@dataclass(frozen=True, slots=True)
class RunChange:
    """What an append changes in the run's row. The holder lets the run go when ``release`` is set.

    ``due_at`` is used only with ``release``: when somebody must look again; a ping that arrived meanwhile wins.
    With ``ended_at`` the run is over: no due time is kept, and its tasks, joins and inbox rows are removed. But what
    is in the inbox and was not ``taken`` must be looked at first: such a run is let go as if a message had opened it
    again just after its end (``status`` as given, no ``ended_at``, due now), and ``Appended.pinged`` says so.
    ``rollback`` is the outcome of the newest rollback, or "walking", ``orphans`` how many effects its rollbacks have
    left that nobody has answered for; None leaves what is there.
    ``chain``: the run is a link of this chain from now on, and its key is the successor's.
    """

    status: str
    reason: str | None = None
    release: bool = False
    due_at: int | None = None
    ended_at: int | None = None
    code: str | None = None
    rollback: str | None = None
    orphans: int | None = None
    chain: str | None = None


class KeyTaken(Exception):
    """A run that an append would have started has the key of another one, which was started meanwhile."""


class ReceiverGone(Exception):
    """A run that must hear of an append is not there any more: it was pruned since we looked."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What an append puts into the inbox of another run, and pings it; not delivered to a run that is not there.

    ``queue``: where that run is driven, as far as the sender knows, for the bell. ``opens``: delivered also to a run
    that has ended, which is opened again: with this status, or (``""``) with the one that it has. None: only to one
    that has not. ``must``: if it is not delivered, nothing at all is written (``ReceiverGone``).
    """

    run_id: str
    kind: str
    events: str  # JSON text of an array of events
    queue: str
    key: str | None = None
    opens: str | None = None
    must: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """The events of one decision for one run, fenced by its holder; all of it is written, or nothing.

    Without events (``count`` 0) only the run's row changes, and what is told to others is.
    """

    run_id: str
    worker: str
    epoch: int
    seq: int  # number of the first event; what is written is ``length + 1`` of the history before
    events: str  # JSON text of the array
    count: int
    change: RunChange | None = None
    tasks: tuple[NewTask, ...] = ()
    joins: tuple[Join, ...] = ()
    taken: tuple[int, ...] = ()  # inbox rows that this append has folded in
    runs: tuple[NewRun, ...] = ()  # started with it: a key that is taken raises ``KeyTaken``, and nothing is written
    letters: tuple[Letter, ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """``awake``: receivers of its letters that need no bell: somebody holds them, or was called for them before."""

    accepted: bool
    pinged: bool  # something arrived for the run: look at its inbox
    awake: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claimed task: events for its run's holder, and either gone or due again."""

    run_id: str
    position: str
    number: int  # the fence, with the worker: only the claimer of this attempt may report it
    events: str  # JSON text of an array of events (for the inbox)
    kind: str  # kind of the outcome, e.g. "StepCompleted"
    retry_at: int | None = None  # due again then; None: the task is gone
    join_position: str | None = None
    ping: bool = False  # the holder must look now (a failure)


@dataclass(frozen=True, slots=True)
class Reported:
    accepted: frozenset[tuple[str, str]] = frozenset()  # (run_id, position)
    pinged: frozenset[str] = frozenset()  # runs that somebody should advance now


LostTasks = Mapping[tuple[str, str], tuple[str, bool]]
"""Attempts that were lost, by ``(run_id, position)``: ``(events JSON for the inbox, whether the task is over)``."""


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """What becomes of a schedule, all of it or nothing; nothing when somebody has changed it since.

    ``known`` is the revision that it was read with; None: it must not be there. ``row`` is how it is from now on; None:
    it goes. A tick that has a run keeps it: a change that names another one is refused. ``met`` are runs that later
    ticks may meet. ``messages`` are for runs, as ``Store.post`` has them: ``(run_id, kind, events)``.
    """

    name: str
    known: int | None
    row: ScheduleRow | None
    ticks: tuple[TickRow, ...] = ()
    runs: tuple[NewRun, ...] = ()
    met: tuple[str, ...] = ()
    messages: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What ``mesh.list`` asks for; None means any.

    ``reason``: of a run that is over, its status. ``deadline``: how an open run stands to its own, a state of
    core/deadlines.py. ``orphaned``: whether it has orphans.
    """

    status: Sequence[str] | None = None
    reason: Sequence[str] | None = None
    rollback: Sequence[str] | None = None
    workflow: Sequence[str] | None = None
    version: int | None = None
    key: str | None = None
    parent: str | None = None
    attributes: Mapping[str, Any] | None = None
    created_after: int | None = None
    created_before: int | None = None
    ended_after: int | None = None
    ended_before: int | None = None
    deadline: str | None = None
    has_rollback: bool | None = None
    orphaned: bool | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """What a worker serves: its queues and the code it has. ``triggers``: names of their schedules."""

    queues: tuple[str, ...]
    workflows: tuple[tuple[str, int], ...]
    steps: tuple[str, ...]
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """What the sweep found: how much is due per queue (counted up to the limit asked for), and when the next is.

    And the schedules that are due, whatever their queue; ``next_at`` may be the time of the next of their ticks.
    """

    runs: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    next_at: int | None = None
    schedules: Sequence[DueSchedule] = ()
    next_tick: int | None = None
