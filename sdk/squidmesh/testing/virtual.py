"""A mesh for tests: no threads, no broker, and a clock that moves only when told.

The rule of this file: the same engine, store and worker as in production; only who calls them differs, and the clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from squidmesh.core.calls import Call, seconds
from squidmesh.core.commands import micros
from squidmesh.core.deterministic import instant
from squidmesh.engine.engine import Engine
from squidmesh.engine.worker import Worker
from squidmesh.errors import MeshError
from squidmesh.handle import Handle
from squidmesh.mesh import Mesh
from squidmesh.ports import Bell, BellKind, Capability, Due, RunRow, Store
from squidmesh.testing import redriving
from squidmesh.testing.faults import Bells, Dies, Fault, injected
from squidmesh.testing.invariants import check
from squidmesh.testing.stub import MISSING, stubbed

T = TypeVar("T")

IN_VAIN = 10_000
"""Ticks of schedules that a run without a due time of its own lives to see before it is taken to be stuck."""

EVERYTHING = 1_000
"""Runs looked at in one round of a drain."""


class DrainLimit(MeshError):
    """``drain`` did more than its limit and was not done. ``explanations`` are those of the runs that are due."""

    def __init__(self, limit: int, explanations: list[Any]) -> None:
        self.explanations = explanations
        told = "; ".join(explanation.summary for explanation in explanations[:3])
        super().__init__(f"there was more to do after {limit} pieces of work (does a workflow loop?): {told}")


class Stuck(MeshError):
    """Nothing is due, now or later, and the run has not ended: only a person or a signal helps."""

    def __init__(self, explanation: Any, run_id: str = "") -> None:
        self.explanation = explanation
        super().__init__(f"run {run_id} has not ended, and nothing is due any more: {explanation.summary}")


class VirtualClock:
    """Gives the time it was set to."""

    def __init__(self, now: datetime) -> None:
        self._now = micros("now", now)

    def now(self) -> int:
        return self._now

    def set(self, at: int) -> None:
        if at < self._now:
            raise ValueError(f"the clock goes forward only: it is {instant(self._now)}, not yet {instant(at)}")
        self._now = at


class _Silent:
    """The doorbell of a mesh that nobody listens to: ``drain`` finds what is due."""

    def ring(self, bells: Any) -> None: ...

    def close(self) -> None: ...


class VirtualMesh(Mesh):
    """A mesh on a virtual clock, in memory by default. It migrates its database itself.

    :param now: where the clock starts, an aware datetime.
    """

    def __init__(
        self,
        database: Any = "sqlite://",
        *,
        workflows: Iterable[Any] | None = None,
        now: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        **settings: Any,
    ) -> None:
        self._clock = VirtualClock(now)
        self._faults: list[Fault] = []
        self._bells: tuple[Bells, list[Bell]] | None = None  # what becomes of bells, and of which it did
        self._worker: Worker | None = None
        self._waited: dict[str, tuple[int, int]] = {}  # per run that somebody waits for: its length, and ticks since
        super().__init__(database, workflows=workflows, **settings)
        self.broker = None
        self._doorbell = _Silent()

    def _open(self) -> Store:
        from squidmesh.store import migrate, open_store

        if str(getattr(self.database, "url", self.database)).startswith("postgres"):
            migrate(self.database)
        return open_store(self.database, clock=self._clock, lease=self.settings.lease)

    # ----------------------------------------------------------------------------------------- the clock

    @property
    def now(self) -> datetime:
        return instant(self._clock.now())

    def drain(self, limit: int = 1_000) -> int:
        """Run all that is due, on this thread; how many pieces of work that was.

        :raises DrainLimit: there was more than ``limit``.
        """
        done, todo = 0, deque(self._due())
        while todo:
            if done >= limit:
                raise DrainLimit(limit, self._explained(todo))
            todo.extend(self._serve(todo.popleft()))
            done += 1
            if not todo:
                todo.extend(self._due())
        return done

    def advance(self, by: float | timedelta | datetime) -> int:
        """Move the clock by a duration or to an instant, stopping at every due time on the way to drain."""
        done, end = self.drain(), self._instant(by)
        while (at := self._next()) is not None and at <= end:
            self._move(max(at, self._clock.now()))
            done += self.drain()
        self._move(max(end, self._clock.now()))  # a worker that died on the way has moved it
        return done + self.drain()

    def sleep_through(self, by: float | timedelta | datetime) -> None:
        """Let time pass while no worker is up: what falls due meanwhile is found late, and leases end."""
        self._put_away(leave=True)
        self._clock.set(self._instant(by))

    def restart(self, *, lose: str = "memory") -> None:
        """As after ``kill -9`` of the only worker, and a new one after its lease.

        :param lose: ``"memory"``: it died between two pieces of work, now. ``"attempt"``: it dies while the next
            attempt of a step runs, before its effect. ``"outcome"``: after the effect, before the outcome is recorded.
            Said again, it dies at the attempt after that, too.
        """
        if lose == "memory":
            self._die()
        elif lose in ("attempt", "outcome"):
            self.crash_at(None, lose)
        else:
            raise ValueError(f"lose is 'memory', 'attempt' or 'outcome', not {lose!r}")

    def crash_at(self, step: Any, lose: str = "attempt", *, times: int = 1) -> Fault:
        """The worker dies when it next calls this step, and another takes over: ``mesh.crash_at(charge, "outcome")``.

        :param step: a step, its name, or a handler of one (``charge.undo``); None: whichever is called next.
        :param lose: ``"attempt"``: before its body runs; ``"outcome"``: after it, before its outcome is recorded.
        :param times: how often in a row.
        :return: the ``Fault``: in a ``with`` block it is over at its end; ``.happened`` says how often it did.
        """
        fault = Fault.of(step, lose, times)
        fault._pending = self._faults
        self._faults.append(fault)
        return fault

    def drop_bells(self) -> AbstractContextManager[list[Bell]]:
        """Lose every message that says where there is work, while the ``with`` block lasts: it is found by looking.

        Gives the bells that were lost. (A doorbell changes when something is done, never whether.)
        """
        return self._with_bells("drop")

    def double_bells(self) -> AbstractContextManager[list[Bell]]:
        """Deliver every message twice, while the ``with`` block lasts. Gives the bells that were."""
        return self._with_bells("double")

    @contextmanager
    def _with_bells(self, how: Bells) -> Iterator[list[Bell]]:
        before, concerned = self._bells, list[Bell]()
        self._bells = (how, concerned)
        try:
            yield concerned
        finally:
            self._bells = before

    # -------------------------------------------------------------------------------------------- runs

    def run(self, call: Call[T], *, key: str | None = None, timeout: float | timedelta | None = None) -> T:
        """Start a run, and move the clock as far as it takes for it to end.

        :param timeout: virtual seconds (or a timedelta); past it ``TimeoutError``.
        :raises Stuck: only a person or a signal helps.
        """
        return self.start(call, key=key).result(timeout)

    def _handle(self, run_id: str, workflow: Any) -> Handle[Any]:
        return _VirtualHandle(self, run_id, workflow)

    def stub(
        self, step: Any, fn: Callable[..., Any] | None = None, *, returns: Any = MISSING, raises: Any = None
    ) -> Any:
        """Replace what a step does while the ``with`` block lasts; gives the ``Stub``, whose ``calls`` are recorded.

        :param fn: called in its stead with the step's arguments; or
        :param returns: what it returns;
        :param raises: the exception that it raises, or a list: one for each attempt, None for one that returns.
        """
        return stubbed(step, fn, returns, raises)

    def check(self, handle: Handle[Any]) -> None:
        """Check that a run's history keeps to the invariants of steps and rollbacks.

        :raises InvariantBroken: naming the event that cannot be, with those before it.
        """
        check(handle.history())

    # ------------------------------------------------------------------------------------------- within

    @property
    def worker_now(self) -> Worker:
        """The worker that drains, made when there is none."""
        if self._worker is None:
            self._worker = Worker(self.connect_engine(), threads=1)
            self._worker.enter()
        return self._worker

    @contextmanager
    def worker(self, threads: int = 4, queues: Any = None) -> Iterator[Worker]:
        """The worker that drains; nothing runs by itself."""
        yield self.worker_now

    def connect_engine(self) -> Engine:
        """The engine of this mesh, connected when first asked for."""
        engine = super().connect_engine()
        redriving.watch(self, engine)
        return engine

    def __exit__(self, *exc: object) -> None:
        if any(exc):
            redriving.forget(self)  # the test has failed already
        self.close()

    def close(self) -> None:
        try:
            redriving.check(self)
        finally:
            self._close()

    def _close(self) -> None:
        self._put_away(leave=True)
        super().close()
        self._doorbell = _Silent()

    def _serve(self, bell: Bell) -> list[Bell]:
        worker = self.worker_now
        try:
            with injected(self._faults, self) if self._faults else nullcontext():
                follow = worker.serve(bell, float("inf"))
        except Dies:
            self._faults[:] = [fault for fault in self._faults if not fault.over]
            self._die()
            return []
        return self._heard([after for after in follow if worker.serves(after.queue)])

    def _heard(self, bells: list[Bell]) -> list[Bell]:
        """What is heard of bells that were rung."""
        if self._bells is None:
            return bells
        how, concerned = self._bells
        concerned.extend(bells)
        return [] if how == "drop" else [bell for bell in bells for _ in range(2)]

    def _due(self) -> list[Bell]:
        self._renew()
        worker = self.worker_now
        store, can = self.connect_engine().store, worker.can
        found: list[Bell] = []
        due = store.due(can, EVERYTHING)
        for queue in can.queues:
            if due.tasks.get(queue):
                found.append(Bell(BellKind.ATTEMPTS, queue))
            if due.runs.get(queue):
                ids = store.due_runs(queue, can, EVERYTHING)
                found.extend(Bell(BellKind.ADVANCE, queue, run_id) for run_id in ids)
        return found

    def _next(self) -> int | None:
        return self._ahead().next_at

    def _ahead(self) -> Due:
        can: Capability = self.worker_now.can
        return self.connect_engine().store.due(can, 1)

    def due_in(self, timeout: float | timedelta | None) -> int | None:
        """When a timeout is over that begins now."""
        return None if timeout is None else self._clock.now() + math.ceil(seconds("timeout", timeout) * 1e6) + 1

    def waits_in_vain(self, run: RunRow) -> bool:
        """Whether tick after tick of schedules has brought a run nothing: they come for ever."""
        length, times = self._waited.get(run.run_id, (0, 0))
        goes_on = run.length != length or (run.due_at or 0) > self._clock.now()
        self._waited = {run.run_id: (run.length, 0 if goes_on else times + 1)}
        return times > IN_VAIN

    def _move(self, to: int) -> None:
        """Move the clock; the worker, which is up, keeps its lease."""
        worker, store, lease = self.worker_now, self.connect_engine().store, self.settings.lease
        store.renew(worker.id, (to - self._clock.now()) / 1e6 + lease)
        self._clock.set(to)
        self._renew()

    def _renew(self) -> None:
        worker = self.worker_now
        worker.heartbeat()
        worker.sweep()

    def _die(self) -> None:
        """The worker is gone without a word: its lease runs out, and another takes over."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cache.clear()
            self._clock.set(self._clock.now() + round(self.settings.lease * 1e6) + 1)
        self._renew()

    def _put_away(self, leave: bool) -> None:
        worker, self._worker = self._worker, None
        if worker is not None and self._engine is not None and leave:
            worker.leave()

    def _instant(self, by: float | timedelta | datetime) -> int:
        now = self._clock.now()
        to = micros("by", by) if isinstance(by, datetime) else now + round(seconds("by", by) * 1e6)
        if to < now:
            raise ValueError(f"the clock goes forward only: it is {instant(now)}, and {by!r} would turn it back")
        return to

    def _explained(self, due: Iterable[Bell]) -> list[Any]:
        ids = [bell.run_id for bell in due if bell.run_id is not None]
        return [self.handle(run_id).explain() for run_id in dict.fromkeys(ids[:10])]


class _VirtualHandle(Handle[T]):
    """A handle whose waiting moves the clock, as far as it has to and no further than its timeout."""

    __slots__ = ("_until",)

    def result(self, timeout: float | timedelta | None = None, wait_blocked: bool = False) -> T:
        self._virtual.drain()  # what is blocked may be due: its code may have been mended since
        self._until = self._virtual.due_in(timeout)
        return super().result(timeout, wait_blocked)

    def published(self, name: str, type: Any = None, timeout: float | timedelta | None = None) -> Any:
        self._until = self._virtual.due_in(timeout)
        return super().published(name, type, timeout)

    def __await__(self) -> Generator[Any, None, T]:
        """The result, on this thread: there is nothing to wait for but the clock."""
        yield from ()
        return self.result()

    def _pause(self, duration: float) -> None:
        if self._virtual.drain():
            return
        ahead = self._virtual._ahead()
        at = ahead.next_at
        if at is None or (at == ahead.next_tick and self._virtual.waits_in_vain(self._row())):
            raise Stuck(self.explain(), self.run_id)
        to = at if self._until is None else min(at, self._until)
        self._virtual.advance(instant(max(to, self._virtual._clock.now())))

    def _time(self) -> float:
        return self._virtual._clock.now() / 1e6

    @property
    def _virtual(self) -> VirtualMesh:
        assert isinstance(self._mesh, VirtualMesh)
        return self._mesh
