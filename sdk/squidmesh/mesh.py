"""The mesh: where an application starts runs, looks at them, and lets a process serve them.

The rule of this file: it checks and translates what people give, and calls one use case of the engine. It connects when
first used.
"""

from __future__ import annotations

import builtins
import importlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from squidmesh.bulk import bulk as bulk_of_runs
from squidmesh.core.calls import Call, whole_number
from squidmesh.core.registry import select
from squidmesh.core.schedule import CatchUp, Cron, Every, Overlap
from squidmesh.core.signals import Signal
from squidmesh.engine import schedules
from squidmesh.engine.asking import Filters, asked
from squidmesh.engine.checking import open_runs
from squidmesh.engine.engine import Engine
from squidmesh.engine.ids import known_form
from squidmesh.engine.sending import signal as send
from squidmesh.engine.start import start
from squidmesh.engine.wish import checked_key, wish
from squidmesh.engine.worker import Worker
from squidmesh.errors import ConfigurationError, DefinitionError, RunNotFound
from squidmesh.handle import Handle
from squidmesh.ports import Clock, Doorbell, Store
from squidmesh.retention import export, prune
from squidmesh.scheduling import Schedule
from squidmesh.settings import Settings
from squidmesh.telemetry.instrument import Telemetry
from squidmesh.telemetry.logs import log_events
from squidmesh.views.checking import CheckReport, checked
from squidmesh.views.summary import Counts, Page, RunSummary, counted, summarise
from squidmesh.views.workers import WorkerView, worker_views

if TYPE_CHECKING:
    import sqlalchemy

T = TypeVar("T")

DEFAULT_DATABASE = "sqlite:///squidmesh.db"

NO_ID = "an id of a run looks like 01920e5a-7c1d-7000-8000-000000000000"


class Mesh:
    """Durable workflows on one database.

    :param database: a URL (``sqlite:///file.db``, ``postgresql://…``) or a SQLAlchemy ``Engine``; else
        ``SQUIDMESH_DATABASE_URL``, else ``sqlite:///squidmesh.db``.
    :param broker: a URL (``redis://…``, ``amqp://…``) or a Dramatiq broker of the host's; else
        ``SQUIDMESH_BROKER_URL``, else the threads of this process.
    :param workflows: modules and workflows that this mesh is restricted to; else all that is imported.
    :param lease: seconds that a worker which is not heard of keeps what it holds (15).
    :param sweep: seconds between two looks for what is due, expired or was not rung (1).
    :param max_lost: attempts of a step that may be lost with their worker (5).
    :param max_payload: bytes that an input, a result or a checkpoint may have as JSON (1 MiB).
    :param drain_timeout: seconds that a run which is ending waits for attempts in flight (600).
    :param retention: how long runs are kept after their end: one duration, or one for each status that is not kept for
        ever, such as ``{"completed": timedelta(days=7)}``. Workers prune what is older. By default all are kept.
    :raises ConfigurationError: a setting or URL that cannot work.
    """

    def __init__(
        self,
        database: str | sqlalchemy.Engine | None = None,
        *,
        broker: Any = None,
        workflows: Iterable[Any] | None = None,
        lease: float | timedelta | None = None,
        sweep: float | timedelta | None = None,
        max_lost: int | None = None,
        max_payload: int | None = None,
        drain_timeout: float | timedelta | None = None,
        retention: float | timedelta | Mapping[str, float | timedelta] | None = None,
    ) -> None:
        given = {
            "lease": lease, "sweep": sweep, "max_lost": max_lost, "max_payload": max_payload,
            "drain_timeout": drain_timeout, "retention": retention,
        }  # fmt: skip
        self.settings = Settings.read(given)
        self.database = database or os.environ.get("SQUIDMESH_DATABASE_URL") or DEFAULT_DATABASE
        self.broker = broker or os.environ.get("SQUIDMESH_BROKER_URL") or None
        if not isinstance(self.database, str) and not hasattr(self.database, "dialect"):
            raise ConfigurationError(f"database= takes a URL or a SQLAlchemy Engine, not {self.database!r}")
        self._code = select(workflows)
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._doorbell: Doorbell | None = None
        if self.broker is not None and not isinstance(self.broker, str):
            if not hasattr(self.broker, "enqueue"):
                raise ConfigurationError(f"broker= takes a URL or a Dramatiq broker, not {self.broker!r}")
            self._ring()  # a host's broker learns of the mesh before its workers boot

    # ---------------------------------------------------------------------------------------- connecting

    def connect_engine(self) -> Engine:
        """The engine of this mesh, connected when first asked for."""
        with self._lock:
            if self._engine is None:
                store = self._open()
                try:
                    store.make_ready()
                except BaseException:
                    store.close()
                    raise
                clock: Clock = store.clock  # type: ignore[attr-defined]
                told = Telemetry(self, store)
                self._engine = Engine(
                    store, clock, self._code, self._ring(), self.settings, self, [log_events, told], told
                )
            return self._engine

    def _open(self) -> Store:
        from squidmesh.store import open_store

        return open_store(self.database, lease=self.settings.lease)

    def _ring(self) -> Doorbell:
        """The doorbell, from the worker package, which is the only one that knows Dramatiq."""
        with self._lock:
            if self._doorbell is None:
                package: Any = importlib.import_module("squidmesh_worker")
                self._doorbell = package.doorbell_for(self.broker, name="mesh", mesh=self)
            assert self._doorbell is not None
            return self._doorbell

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The SQLAlchemy engine of the mesh's database."""
        found: sqlalchemy.Engine = self.connect_engine().store.engine  # type: ignore[attr-defined]
        return found

    def migrate(self) -> None:
        """Bring the database's schema to this version's revision; nothing to do where it is there already."""
        from squidmesh.store import migrate

        migrate(self.database)

    def close(self) -> None:
        """Give connections back. The mesh connects again when it is used again."""
        with self._lock:
            engine, doorbell, self._engine, self._doorbell = self._engine, self._doorbell, None, None
        if doorbell is not None:
            doorbell.close()
        if engine is not None:
            engine.tracing.close()
            engine.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ starting

    def start(
        self,
        call: Call[T],
        *,
        key: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        attributes: Mapping[str, Any] | None = None,
        deadline: float | timedelta | datetime | None = None,
        at: datetime | None = None,
        connection: Any = None,
    ) -> Handle[T]:
        """Start a run of a workflow call, such as ``mesh.start(checkout(order), key=order.id)``.

        :param key: started again with the same key, workflow and input, it is the same run.
        :param queue: where it is driven; by default the workflow's queue.
        :param priority: the lower, the sooner, among what is due on a queue.
        :param attributes: JSON values to find the run by (``mesh.list(attributes=…)``).
        :param deadline: a duration or an aware datetime; past it the run fails with ``DeadlineExceeded``.
        :param at: when it begins, an aware datetime; now by default.
        :param connection: a SQLAlchemy ``Connection`` or ``Session`` on the mesh's database: the run starts with the
            commit of its transaction, or never was.
        :raises KeyConflict: the key belongs to a run of another workflow or input.
        :raises InvalidPayload: the input does not fit. Nothing is written.
        """
        engine = self.connect_engine()
        now = engine.clock.now()
        how = wish(now, queue=queue, priority=priority, attributes=attributes, deadline=deadline, at=at)
        (run_id,) = start(engine, [_workflow_call(call)], [key], how, connection)
        return self._handle(run_id, call.definition)

    def start_many(
        self,
        calls: Iterable[Call[T]],
        *,
        keys: Sequence[str | None] | None = None,
        queue: str | None = None,
        priority: int = 0,
        attributes: Mapping[str, Any] | None = None,
        deadline: float | timedelta | datetime | None = None,
        at: datetime | None = None,
        connection: Any = None,
    ) -> list[Handle[T]]:
        """Start many runs in one transaction; the handles are in the order of the calls. See ``start``."""
        wanted = [_workflow_call(call) for call in calls]
        if keys is not None and len(keys) != len(wanted):
            raise ValueError(f"start_many got {len(wanted)} calls and {len(keys)} keys: give one key a call")
        engine = self.connect_engine()
        now = engine.clock.now()
        how = wish(now, queue=queue, priority=priority, attributes=attributes, deadline=deadline, at=at)
        ids = start(engine, wanted, keys or [None] * len(wanted), how, connection) if wanted else []
        return [self._handle(run_id, call.definition) for run_id, call in zip(ids, wanted, strict=True)]

    def run(self, call: Call[T], *, key: str | None = None, timeout: float | timedelta | None = None) -> T:
        """Start a run, serve it in this process until it ends, and return its result.

        :param timeout: seconds (or a timedelta) to wait; then ``TimeoutError``, and the run stays as it is.
        """
        handle = self.start(call, key=key)
        with self.worker():
            return handle.result(timeout)

    # ---------------------------------------------------------------------------------------- schedules

    def schedule(
        self,
        name: str,
        when: Cron | Every,
        call: Call[T],
        *,
        catch_up: CatchUp = "last",
        overlap: Overlap = "allow",
        jitter: float | timedelta = 0,
        start: datetime | None = None,
        end: datetime | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Schedule[T]:
        """Start a run of a workflow call at each tick: ``mesh.schedule("nightly", Cron("0 2 * * *"), tidy())``.

        The same schedule again changes nothing; another one of the same name replaces what is ahead. The call is built
        once: its input is that of every run.

        :param when: ``Cron("0 9 * * 1-5", tz="Europe/Sofia")`` or ``Every(120)``.
        :param catch_up: what becomes of ticks that were missed while no worker was up: ``"last"`` runs the newest one,
            ``"all"`` each of them, ``"none"`` none. The others are recorded as missed: those that were found only when
            the next was due, or more than a lease and two sweeps late.
        :param overlap: what becomes of a tick while the run of an earlier one goes on: ``"allow"`` starts it,
            ``"skip"`` does not, ``"queue"`` has one wait for that run's end, ``"cancel"`` cancels that run and has the
            newest wait for its end.
        :param jitter: seconds (or a timedelta) by which the run of a tick is delayed at most.
        :param start: no tick before this aware datetime; ``Every`` counts from it.
        :param end: no tick after it.
        :param attributes: JSON values to find its runs by.
        :raises DefinitionError: a name, call or setting that cannot work.
        """
        engine = self.connect_engine()
        checked = _workflow_call(call)
        said = schedules.define(
            engine, when, checked, catch_up=catch_up, overlap=overlap, jitter=jitter, start=start, end=end,
            attributes=attributes,
        )  # fmt: skip
        return Schedule(self, schedules.put(engine, name, checked.definition, said))

    def schedules(self) -> list[Schedule[Any]]:
        """All schedules, by name; those of triggers, too."""
        return [Schedule(self, row) for row in self.connect_engine().store.schedules()]

    # ------------------------------------------------------------------------------------------- finding

    def handle(self, run_id: str, workflow: Any = None) -> Handle[Any]:
        """The handle of a run that is there already.

        :param workflow: its definition, for the type of its result; found by its name otherwise.
        :raises RunNotFound: no such run, or an id that cannot be one.
        """
        known = known_form(run_id)
        if known is None:
            raise RunNotFound(str(run_id), NO_ID)
        row = self.connect_engine().store.run(known)
        if row is None:
            raise RunNotFound(known)
        return self._handle(known, workflow or self._code.workflows.get((row.workflow, row.version)))

    def _handle(self, run_id: str, workflow: Any) -> Handle[Any]:
        return Handle(self, run_id, workflow)

    @overload
    def signal(self, run_id: str, signal: Signal[bool], payload: bool = True, *, key: str | None = None) -> str: ...
    @overload
    def signal(self, run_id: str, signal: Signal[T], payload: T, *, key: str | None = None) -> str: ...
    @overload
    def signal(self, run_id: str, signal: str, payload: Any = True, *, key: str | None = None) -> str: ...
    def signal(self, run_id: str, signal: Signal[Any] | str, payload: Any = True, *, key: str | None = None) -> str:
        """Send a run a message, from any process on this database: ``handle.signal``.

        :raises RunNotFound: no such run, or an id that cannot be one.
        """
        known = known_form(run_id)
        if known is None:
            raise RunNotFound(str(run_id), NO_ID)
        return send(self.connect_engine(), known, signal, payload, key)

    def find(self, key: str, workflow: Any = None) -> Handle[Any] | None:
        """The run that was started with this key (of this workflow, a definition or its name), or None."""
        name = getattr(workflow, "name", workflow)
        row = self.connect_engine().store.run_by_key(checked_key(key) or "", name)
        if row is None:
            return None
        return self._handle(row.run_id, self._code.workflows.get((row.workflow, row.version)))

    def list(self, *, limit: int = 50, after: str | None = None, **filters: Unpack[Filters]) -> Page[RunSummary]:
        """Runs, newest first, ``limit`` a page; ``after`` is the ``next`` of the page before.

        Filters: ``status``, ``reason``, ``workflow`` (one or several each), ``version``, ``key``, ``parent``,
        ``attributes`` (equal ones, whatever else a run has), ``created_after``, ``created_before``, ``ended_after``,
        ``ended_before``; ``deadline`` (of open runs: ``"on_time"``, ``"due_soon"``, ``"overdue"``), ``has_rollback``,
        ``orphaned`` (whether a rollback has left effects that nobody has answered for).

        :raises ValueError: a status, reason, deadline, time, limit or page that there cannot be.
        """
        if not 1 <= (whole_number("list: limit", limit) or 0) <= 1_000:
            raise ValueError(f"limit is a count from 1 to 1000, not {limit!r}")
        if after is not None and (after := known_form(after)) is None:
            raise ValueError("after takes the .next of the page before")
        rows = self.connect_engine().store.runs(asked(filters), limit + 1, after)
        shown = tuple(summarise(row) for row in rows[:limit])
        return Page(items=shown, next=shown[-1].run_id if len(rows) > limit else None)

    bulk = bulk_of_runs
    """One command for many runs; see ``squidmesh.bulk``."""

    def check_code(self, *, limit: int | None = None, after: str | None = None) -> CheckReport:
        """Before a deploy: which open runs would block with this mesh's code, and where. It only reads.

        :param limit: runs to look at, newest first; all by default. ``after``: the ``.next`` of the check before.
        """
        return checked(open_runs(self.connect_engine(), limit=limit, after=after), limit)

    def counts(self, **filters: Unpack[Filters]) -> Counts:
        """How many runs there are, by status and by workflow; filters as for ``list``."""
        return counted(self.connect_engine().store.counts(asked(filters)))

    def workers(self) -> builtins.list[WorkerView]:
        """The worker processes of this database, the longest at work first; those whose lease is over, too."""
        engine = self.connect_engine()
        return worker_views(engine.store.workers(), engine.store.holdings(), engine.clock.now())

    # ----------------------------------------------------------------------------------------- retention

    prune = prune
    export = export

    # ------------------------------------------------------------------------------------------- serving

    @contextmanager
    def worker(self, threads: int = 4, queues: Sequence[str] | None = None) -> Iterator[Worker]:
        """Serve in this process while the ``with`` block lasts.

        :param threads: how many runs and steps are worked on at once.
        :param queues: which queues; by default all that the imported code names.
        """
        if threads < 1:
            raise ConfigurationError(f"worker(threads=…) takes a count of at least 1, not {threads!r}")
        if queues is not None and (isinstance(queues, str) or not queues):
            raise ConfigurationError(f"worker(queues=…) takes a list of names, such as ['default'], not {queues!r}")
        engine = self.connect_engine()
        worker = Worker(engine, queues=queues, threads=threads)
        package: Any = importlib.import_module("squidmesh_worker")
        serving = package.serve(engine, worker, engine.doorbell, threads)
        try:
            yield worker
        finally:
            serving.stop()

    def __repr__(self) -> str:
        where = self.database if isinstance(self.database, str) else str(self.database.url)
        return f"<Mesh on {Path(where).name if where.startswith('sqlite') else where.rpartition('@')[2]}>"


def _workflow_call(call: Any) -> Call[Any]:
    if isinstance(call, Call):
        return call
    name = getattr(call, "name", None)
    told = f"write {name}(…) with its arguments" if name else "write checkout(order)"
    raise DefinitionError(f"start and run take the call of a workflow, not {call!r}: {told}")
