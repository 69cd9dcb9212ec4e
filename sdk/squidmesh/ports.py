"""What the engine needs from outside: a store, a doorbell and a clock.

The rule of this file: values and protocols only. The engine knows these and no SQL, the store knows rows and no
workflow rules, and neither knows a broker. Times are integer microseconds since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

# ------------------------------------------------------------------------------------------- clock and doorbell


class Clock(Protocol):
    """Gives the time; never goes by the machine's clock where a database has one of its own."""

    def now(self) -> int:
        """The time now, in microseconds since the epoch."""
        ...


class BellKind(StrEnum):
    ADVANCE = "advance"  # this run is due
    ATTEMPTS = "attempts"  # this run has tasks on this queue
    DRAIN = "drain"  # this queue has due work: take until there is none


@dataclass(frozen=True, slots=True)
class Bell:
    """A message that says that work is due. It carries ids only; a lost or doubled one changes nothing but latency."""

    kind: BellKind
    queue: str
    run_id: str | None = None


class Doorbell(Protocol):
    """Tells workers that work is due. Never raises for a broker that is away: the sweep finds what was not rung."""

    def ring(self, bells: Sequence[Bell]) -> None: ...

    def close(self) -> None: ...


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
    With ``ended_at`` the run is over: no due time is kept, and its tasks, joins and inbox rows are removed.
    """

    status: str
    reason: str | None = None
    release: bool = False
    due_at: int | None = None
    ended_at: int | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """The events of one decision for one run, fenced by its holder; all of it is written, or nothing.

    Without events (``count`` 0) only the run's row changes.
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


@dataclass(frozen=True, slots=True)
class Appended:
    accepted: bool
    pinged: bool  # something arrived for the run: look at its inbox


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
class RunFilter:
    """What ``mesh.list`` asks for; None means any."""

    status: Sequence[str] | None = None
    reason: Sequence[str] | None = None
    workflow: Sequence[str] | None = None
    version: int | None = None
    key: str | None = None
    parent: str | None = None
    attributes: Mapping[str, Any] | None = None
    created_after: int | None = None
    created_before: int | None = None
    ended_after: int | None = None
    ended_before: int | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """What a worker serves: its queues and the code it has."""

    queues: tuple[str, ...]
    workflows: tuple[tuple[str, int], ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """What the sweep found: how much is due per queue (counted up to the limit asked for), and when the next is."""

    runs: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    next_at: int | None = None


# --------------------------------------------------------------------------------------------------- the store


class Store(Protocol):
    """The database as the engine knows it. Each method is one transaction (``start`` may join the caller's).

    Every method that needs the time takes it from the database (PostgreSQL) or the clock it was made with.
    Driver errors that a retry may heal (connection lost, server restarting, locked file) are retried with backoff
    inside ``append``, ``report`` and the claims, ambiguous commits included, until the worker's lease must be gone.
    """

    def now(self) -> int: ...

    def make_ready(self) -> None:
        """Look at the schema before anything else is said (SQLite: make it).

        :raises NotMigrated: it is not there, or of another revision.
        """
        ...

    def start(self, runs: Sequence[NewRun], connection: Any = None) -> list[str]:
        """Insert runs with their first history rows; return the ids really inserted.

        A run whose key exists already is left out (nothing of it is written). ``connection``: a SQLAlchemy
        Connection or Session on the same database, whose transaction is joined.
        """
        ...

    def after_commit(self, connection: Any, action: Any) -> None:
        """Call ``action()`` once the caller's transaction on ``connection`` has committed (best effort)."""
        ...

    # -- reading
    def run(self, run_id: str, connection: Any = None) -> RunRow | None: ...
    def run_by_key(self, key: str, workflow: str | None = None, connection: Any = None) -> RunRow | None: ...
    def runs(self, wanted: RunFilter, limit: int, before: str | None) -> list[RunRow]:
        """Newest first (id descending), those with id < ``before``."""
        ...

    def history(self, run_id: str, after: int = 0, connection: Any = None) -> list[HistoryRow]: ...
    def last(self, run_id: str) -> HistoryRow | None:
        """The newest history row: where an ended run has its result."""
        ...

    def inbox(self, run_id: str) -> list[InboxRow]: ...
    def tasks(self, run_id: str) -> list[TaskRow]: ...
    def workers(self) -> list[WorkerRow]: ...

    # -- workers and leases
    def register(self, worker: str, host: str, pid: int, can: Capability, lease: float) -> None: ...
    def renew(self, worker: str, lease: float) -> bool:
        """Prolong the lease; False when it is gone already (then nothing is written)."""
        ...

    def leave(self, worker: str, lost: LostTasks) -> None:
        """Hand back everything the worker holds, as ``take_over`` does with that of an expired one; its row goes.

        Tasks that are not in ``lost`` were never begun: they are due now, and their attempt is not counted.
        """
        ...

    def expired(self, limit: int = 10) -> list[str]:
        """Workers whose lease is over."""
        ...

    def take_over(self, worker: str, lost: LostTasks) -> int:
        """Free what an expired worker holds, in one transaction; nothing when its lease lives or it is gone.

        Its runs become due now. For each of its tasks ``lost`` has ``(events JSON for the inbox, gone)``: gone ones
        are deleted, the others due again with ``lost + 1``; the runs of both are pinged. A task that is not in ``lost``
        stays (it is found again at the next sweep, as is then the worker's row). Returns how much was freed.
        """
        ...

    def tasks_of(self, worker: str) -> list[TaskRow]: ...

    # -- holding runs
    def claim(self, worker: str, run_id: str, can: Capability, known: int = 0) -> Claimed | None:
        """Take one due run that nobody holds, if its code is known; ``known``: events that the cache has already."""
        ...

    def claim_next(
        self, worker: str, queue: str, priority: int, can: Capability, known: Callable[[str], int]
    ) -> Claimed | None:
        """Take the run of this queue and priority that is due first (SKIP LOCKED).

        ``known`` is asked, with the id of the run that was taken, how many of its events the cache has. A claim whose
        answer was lost is not repeated (``StoreUnavailable``); what was taken is then found with ``held``.
        """
        ...

    def priorities(self, queue: str) -> list[int]:
        """The priorities of the runs on the queue that are due now or later, the most urgent first."""
        ...

    def held(self, worker: str) -> list[tuple[str, int]]:
        """The runs that this worker holds, as ``(run_id, epoch)``."""
        ...

    def due_runs(self, queue: str, can: Capability, limit: int) -> list[str]:
        """Ids of due runs on the queue, by priority then due time; a look, which takes nothing."""
        ...

    def refresh(self, run_id: str, worker: str, epoch: int) -> list[InboxRow] | None:
        """For the holder: forget the ping, then read the inbox. None when the run is not held any more."""
        ...

    def append(self, append: Append) -> Appended: ...

    def let_go(self, run_id: str, worker: str, epoch: int, due_at: int | None) -> bool:
        """Release a run without an append, status as it is; due then, or (None) when the next ping comes.

        A ping that is there already wins. False when the run is not held by this worker and epoch.
        """
        ...

    def withdraw(self, run_id: str, worker: str, epoch: int, positions: Iterable[str]) -> list[str]:
        """Take tasks that nobody has claimed out of the market, fenced by the run's holder.

        They are deleted and taken off their joins; the positions really deleted are returned. Those claimed are
        left to report.
        """
        ...

    # -- tasks
    def claim_tasks(
        self, worker: str, queue: str, can: Capability, limit: int, run_id: str | None = None
    ) -> list[TaskRow]:
        """Claim due tasks (SKIP LOCKED) whose step is known, of one run or of any, by priority and due time."""
        ...

    def report(self, worker: str, outcomes: Sequence[Outcome]) -> Reported: ...
    def checkpoint(self, run_id: str, position: str, worker: str, number: int, progress: str) -> bool: ...
    def hand_back(self, worker: str, claimed: Sequence[tuple[str, str, int]]) -> None:
        """Give claimed tasks back that were not begun: due now, and the attempt not counted."""
        ...

    def lose(self, worker: str, lost: LostTasks) -> None:
        """Give up attempts of this worker whose outcome cannot be recorded, as ``take_over`` does with all of one."""
        ...

    # -- messages
    def post(
        self, run_id: str, kind: str, events: str, key: str | None = None, connection: Any = None
    ) -> tuple[bool, str] | None:
        """Put events down for the run's holder and ping it, unless it has ended.

        None: no such run. Else ``(posted, status)``; not posted when it has ended or the key was used before.
        """
        ...

    # -- the sweep
    def due(self, can: Capability, limit: int) -> Due:
        """What is due now and unclaimed for this capability, per queue; and the next due time after now."""
        ...

    def unblock(self, can: Capability, codes: Mapping[tuple[str, int], str], limit: int) -> list[str]:
        """Make runs due again that are blocked by code, when the code at hand has not been tried on them."""
        ...

    def close(self) -> None: ...
