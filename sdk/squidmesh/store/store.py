"""The store: the port that the engine knows, on one database.

The rule of this file: each method hands over to the module that has its statements. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from squidmesh.ports import (
    Append,
    Appended,
    Capability,
    Claimed,
    Clock,
    Due,
    Health,
    HistoryRow,
    InboxRow,
    LostTasks,
    NewRun,
    Outcome,
    Prunable,
    Record,
    Reported,
    RunFilter,
    RunRow,
    ScheduleChange,
    ScheduleRow,
    TaskRow,
    TickRow,
    Transaction,
    Tree,
    WorkerRow,
)
from squidmesh.store import (
    health,
    holding,
    leases,
    listing,
    messages,
    pruning,
    reading,
    reclaiming,
    schedules,
    tasks,
    transactions,
)
from squidmesh.store.committer import Committer
from squidmesh.store.database import Database


class SqlStore:
    """``squidmesh.ports.Store`` on SQLite or PostgreSQL; what each method promises is written there.

    Safe for use from several threads. ``own_engine`` is disposed of when the store is closed.
    """

    def __init__(self, database: Database, own_engine: Any = None) -> None:
        self.database = database
        self._own_engine = own_engine
        self._committer = Committer(lambda appends: database.dialect.write(database, appends), database.dialect.direct)
        self._claims = tasks.Claims()

    @property
    def engine(self) -> Any:
        """The SQLAlchemy engine that connections come from."""
        return self.database.engine

    @property
    def clock(self) -> Clock:
        """The clock that rules here: the one given, or one that follows the database's."""
        return self.database.clock

    def now(self) -> int:
        return self.database.clock.now()

    def make_ready(self) -> None:
        self.database.ensure_ready()

    def start(self, runs: Sequence[NewRun], connection: Any = None) -> list[str]:
        return messages.start(self.database, runs, connection)

    def after_commit(self, connection: Any, action: Any) -> None:
        messages.after_commit(connection, action)

    # ------------------------------------------------------------------------------------------------- reading

    def run(self, run_id: str, connection: Any = None) -> RunRow | None:
        return reading.run(self.database, run_id, connection)

    def run_by_key(self, key: str, workflow: str | None = None, connection: Any = None) -> RunRow | None:
        return reading.run_by_key(self.database, key, workflow, connection)

    def newest(self, chain: str) -> RunRow | None:
        return reading.newest(self.database, chain)

    def runs(self, wanted: RunFilter, limit: int, before: str | None) -> list[RunRow]:
        return listing.runs(self.database, wanted, limit, before)

    def counts(self, wanted: RunFilter) -> list[tuple[str, str, int]]:
        return listing.counts(self.database, wanted)

    def history(self, run_id: str, after: int = 0, connection: Any = None) -> list[HistoryRow]:
        return reading.history(self.database, run_id, after, connection)

    def histories(self, run_ids: Sequence[str]) -> dict[str, list[HistoryRow]]:
        return reading.histories(self.database, run_ids)

    def last(self, run_id: str) -> HistoryRow | None:
        return reading.last(self.database, run_id)

    def count_open(self) -> dict[str, int]:
        return reading.count_open(self.database)

    def inbox(self, run_id: str) -> list[InboxRow]:
        return reading.inbox(self.database, run_id)

    def tasks(self, run_id: str) -> list[TaskRow]:
        return reading.tasks(self.database, run_id)

    def holdings(self) -> dict[str, tuple[int, int]]:
        return reading.holdings(self.database)

    def workers(self) -> list[WorkerRow]:
        return reading.workers(self.database)

    def health(self) -> Health:
        return health.health(self.database)

    # ------------------------------------------------------------------------------------- workers and leases

    def register(self, worker: str, host: str, pid: int, can: Capability, lease: float) -> None:
        leases.register(self.database, worker, host, pid, can, lease)

    def renew(self, worker: str, lease: float) -> bool:
        return leases.renew(self.database, worker, lease)

    def leave(self, worker: str, lost: LostTasks) -> None:
        leases.leave(self.database, worker, lost)

    def expired(self, limit: int = 10) -> list[str]:
        return reading.expired(self.database, limit)

    def lose(self, worker: str, lost: LostTasks) -> None:
        leases.lose(self.database, worker, lost)

    def take_over(self, worker: str, lost: LostTasks) -> int:
        return leases.take_over(self.database, worker, lost)

    def tasks_of(self, worker: str) -> list[TaskRow]:
        return reading.tasks_of(self.database, worker)

    # -------------------------------------------------------------------------------------------- holding runs

    def claim(
        self, worker: str, run_id: str, can: Capability, known: Callable[[str], int] | None = None
    ) -> Claimed | None:
        return holding.claim(self.database, worker, run_id, can, known)

    def claim_next(
        self,
        worker: str,
        queue: str,
        priority: int,
        can: Capability,
        known: Callable[[str], int],
        fresh: bool = False,
    ) -> Claimed | None:
        return holding.claim_next(self.database, worker, queue, priority, can, known, fresh)

    def priorities(self, queue: str) -> list[int]:
        return reading.priorities(self.database, queue)

    def held(self, worker: str) -> list[tuple[str, int]]:
        return reading.held(self.database, worker)

    def due_runs(self, queue: str, can: Capability, limit: int) -> list[str]:
        return reading.due_runs(self.database, queue, can, limit)

    def refresh(self, run_id: str, worker: str, epoch: int) -> list[InboxRow] | None:
        return holding.refresh(self.database, run_id, worker, epoch)

    def append(self, append: Append) -> Appended:
        return holding.append(self.database, self._committer, append)

    def transaction(self) -> AbstractContextManager[Transaction]:
        return transactions.transaction(self.database)

    def collided(self, error: BaseException) -> bool:
        return transactions.collided(self.database, error)

    def let_go(self, run_id: str, worker: str, epoch: int, due_at: int | None) -> bool:
        return holding.let_go(self.database, run_id, worker, epoch, due_at)

    def withdraw(self, run_id: str, worker: str, epoch: int, positions: Iterable[str]) -> list[str]:
        return holding.withdraw(self.database, run_id, worker, epoch, positions)

    # --------------------------------------------------------------------------------------------------- tasks

    def claim_tasks(
        self, worker: str, queue: str, can: Capability, limit: int, run_id: str | None = None
    ) -> list[TaskRow]:
        return tasks.claim(self.database, self._claims, worker, queue, can, limit, run_id)

    def report(self, worker: str, outcomes: Sequence[Outcome]) -> Reported:
        return tasks.report(self.database, worker, outcomes)

    def checkpoint(self, run_id: str, position: str, worker: str, number: int, progress: str) -> bool:
        return tasks.checkpoint(self.database, run_id, position, worker, number, progress)

    def note(self, run_id: str, position: str, worker: str, number: int, events: str) -> bool:
        return tasks.note(self.database, run_id, position, worker, number, events)

    def hand_back(self, worker: str, claimed: Sequence[tuple[str, str, int]]) -> None:
        tasks.hand_back(self.database, worker, claimed)

    # ----------------------------------------------------------------------------------------------- schedules

    def schedule(self, name: str) -> ScheduleRow | None:
        return schedules.one(self.database, name)

    def schedules(self) -> list[ScheduleRow]:
        return schedules.every(self.database)

    def ticks(self, schedule: str, first: int, last: int, limit: int) -> list[TickRow]:
        return schedules.ticks(self.database, schedule, first, last, limit)

    def met(self, schedule: str) -> list[str]:
        return schedules.met(self.database, schedule)

    def change_schedule(self, change: ScheduleChange, wait: bool = True) -> bool:
        return schedules.change(self.database, change, wait)

    # ----------------------------------------------------------------------------------------------- retention

    def trees(self, wanted: Prunable, after: str | None, limit: int) -> list[Tree]:
        return pruning.trees(self.database, wanted, after, limit)

    def records(self, run_ids: Sequence[str]) -> list[Record]:
        return pruning.records(self.database, run_ids)

    def prune(self, trees: Sequence[Tree]) -> frozenset[str]:
        return pruning.prune(self.database, trees)

    def reclaim(self, step: int) -> bool:
        return reclaiming.reclaim(self.database, step)

    # -------------------------------------------------------------------------------- messages and the sweep

    def post(
        self,
        run_id: str,
        kind: str,
        events: str,
        key: str | None = None,
        connection: Any = None,
        reopen: str | None = None,
    ) -> tuple[bool, str] | None:
        return messages.post(self.database, run_id, kind, events, key, connection, reopen)

    def due(self, can: Capability, limit: int) -> Due:
        return reading.due(self.database, can, limit)

    def unblock(self, can: Capability, codes: Mapping[tuple[str, int], str], limit: int) -> list[str]:
        return messages.unblock(self.database, can, codes, limit)

    def close(self) -> None:
        """Write what waits, and close the connections. An engine that was given stays open."""
        self._committer.close()
        self.database.close()
        if self._own_engine is not None:
            self._own_engine.dispose()
