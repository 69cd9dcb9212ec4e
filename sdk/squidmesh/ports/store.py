"""The database as the engine knows it.

The rule of this file: what each method promises on both databases stands here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from squidmesh.ports.health import Health
from squidmesh.ports.pruning import Prunable, Record, Tree
from squidmesh.ports.rows import (
    Append,
    Appended,
    Capability,
    Claimed,
    Due,
    HistoryRow,
    InboxRow,
    LostTasks,
    NewRun,
    Outcome,
    Reported,
    RunFilter,
    RunRow,
    ScheduleChange,
    ScheduleRow,
    TaskRow,
    TickRow,
    WorkerRow,
)


class Transaction(Protocol):
    """A transaction that user code shares with the engine: its rows and what became of it are written together.

    What is refused here is not written, and the rows of the user code are not either: whatever follows, a transaction
    with a refusal in it is rolled back at its end. It says nothing until the user code is done, and holds the rows
    that a take-over needs from then to the commit: who was not fenced off before can only be after it.
    """

    @property
    def connection(self) -> Any:
        """A SQLAlchemy Connection in this transaction. Savepoints are free to use; a commit on it is an error."""
        ...

    def append(self, append: Append) -> Appended:
        """As ``Store.append``, for a run that this worker holds."""
        ...

    def report(self, worker: str, outcomes: Sequence[Outcome]) -> Reported:
        """As ``Store.report``, for claimed tasks; all are accepted, or none."""
        ...


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
    def newest(self, chain: str) -> RunRow | None:
        """The newest of the runs that continue one another, by the id of the first."""
        ...

    def runs(self, wanted: RunFilter, limit: int, before: str | None) -> list[RunRow]:
        """Newest first (id descending), those with id < ``before``."""
        ...

    def counts(self, wanted: RunFilter) -> list[tuple[str, str, int]]:
        """How many runs there are, as ``(workflow, status, count)``."""
        ...

    def history(self, run_id: str, after: int = 0, connection: Any = None) -> list[HistoryRow]: ...
    def histories(self, run_ids: Sequence[str]) -> dict[str, list[HistoryRow]]:
        """The histories of several runs, by id, in one look."""
        ...

    def last(self, run_id: str) -> HistoryRow | None:
        """The newest history row: where an ended run has its result."""
        ...

    def count_open(self) -> dict[str, int]:
        """How many runs have not ended, by status."""
        ...

    def inbox(self, run_id: str) -> list[InboxRow]: ...
    def tasks(self, run_id: str) -> list[TaskRow]: ...
    def workers(self) -> list[WorkerRow]: ...
    def health(self) -> Health:
        """What is late, what nobody holds, how large the database is."""
        ...

    def holdings(self) -> dict[str, tuple[int, int]]:
        """How many runs and tasks each worker holds, as ``{worker: (runs, tasks)}``; who holds none is not in it."""
        ...

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
    def claim(
        self, worker: str, run_id: str, can: Capability, known: Callable[[str], int] | None = None
    ) -> Claimed | None:
        """Take one due run that nobody holds, if its code is known.

        ``known`` is asked, with the id of the run that was taken, how many of its events the cache has; perhaps again,
        should the answer be lost.
        """
        ...

    def claim_next(
        self,
        worker: str,
        queue: str,
        priority: int,
        can: Capability,
        known: Callable[[str], int],
        fresh: bool = False,
    ) -> Claimed | None:
        """Take the run of this queue and priority that is due first (SKIP LOCKED).

        ``fresh``: rather the first of those that have not begun yet, if there is one.
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

    def append(self, append: Append) -> Appended:
        """Write an append whole, durably, or leave it.

        :raises KeyTaken: a run that it starts has the key of another; nothing is written.
        :raises ReceiverGone: a run that must hear of it is not there; nothing is written.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction on a connection of the engine's own pool, at the isolation level that it has.

        Committed when the block ends (SQLite: it is the one that writes from its beginning), rolled back when it
        raises. A block that is left while another thread still talks on the connection ends that statement.

        :raises StoreUnavailable: the database went away. From the commit this may mean that all of it is written:
            look whether the events are there.
        """
        ...

    def collided(self, error: BaseException) -> bool:
        """Whether it came of others at work at the same time: a serialization failure, a deadlock, a busy file.

        An error of a database driver, or one raised from such. The transaction was rolled back, and can be run again.
        """
        ...

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
    def note(self, run_id: str, position: str, worker: str, number: int, events: str) -> bool:
        """Put events of a claimed attempt into its run's inbox before its outcome: durable, and nobody is woken.

        False when the attempt is not this worker's any more. An answer lost on its way may leave them there twice.
        """
        ...

    def hand_back(self, worker: str, claimed: Sequence[tuple[str, str, int]]) -> None:
        """Give claimed tasks back that were not begun: due now, and the attempt not counted."""
        ...

    def lose(self, worker: str, lost: LostTasks) -> None:
        """Give up attempts of this worker whose outcome cannot be recorded, as ``take_over`` does with all of one."""
        ...

    # -- messages
    def post(
        self,
        run_id: str,
        kind: str,
        events: str,
        key: str | None = None,
        connection: Any = None,
        reopen: str | None = None,
    ) -> tuple[bool, str] | None:
        """Put events down for the run's holder and ping it, unless it has ended.

        None: no such run. Else ``(posted, status)``; not posted when it has ended or the key is that of a message
        which still waits in the inbox. (What was folded in is not remembered here: its key is in the history.)

        ``reopen``: a run that has ended is opened again, with this status and no reason, and is due.
        """
        ...

    # -- schedules
    def schedule(self, name: str) -> ScheduleRow | None: ...
    def schedules(self) -> list[ScheduleRow]:
        """All of them, by name."""
        ...

    def ticks(self, schedule: str, first: int, last: int, limit: int) -> list[TickRow]:
        """Ticks recorded from ``first`` to ``last``, in order; of more than the limit the newest."""
        ...

    def met(self, schedule: str) -> list[str]:
        """The runs that the schedule's next tick meets: started by it, and not ended."""
        ...

    def change_schedule(self, change: ScheduleChange, wait: bool = True) -> bool:
        """Make a change, unless somebody else has made one, or (not ``wait``) is at it: then False, and nothing is.

        An answer that was lost on its way may come back as False, but for a change that starts runs.
        """
        ...

    # -- retention
    def trees(self, wanted: Prunable, after: str | None, limit: int) -> list[Tree]:
        """Trees with such roots, by the ids of these, from the first one after ``after``; as they are just now.

        Whole, and whether or not all of a tree has ended. A look, which takes nothing.
        """
        ...

    def records(self, run_ids: Sequence[str]) -> list[Record]:
        """The runs of these ids that are there, with their histories, in order of their ids."""
        ...

    def prune(self, trees: Sequence[Tree]) -> frozenset[str]:
        """Delete trees that are still as they were seen; the roots of those that went.

        One that somebody has opened since, or is at now (SKIP LOCKED), stays, all of it. What was started by a tick of
        a schedule stays on the list of its ticks.
        """
        ...

    def reclaim(self, step: int) -> bool:
        """One step, numbered from 0, of making room of what was deleted; whether there is another one."""
        ...

    # -- the sweep
    def due(self, can: Capability, limit: int) -> Due:
        """What is due now and unclaimed for this capability, per queue; and the next due time after now.

        And the schedules that are due, or whose queued tick may start: of workflows at hand in their version or a
        higher one, those of triggers only where the code has the trigger.
        """
        ...

    def unblock(self, can: Capability, codes: Mapping[tuple[str, int], str], limit: int) -> list[str]:
        """Make runs due again that are blocked by code, when the code at hand has not been tried on them."""
        ...

    def close(self) -> None: ...
