"""The handle of a run: read it, wait for it, steer it.

The rule of this file: every method asks the database; nothing is cached, and nothing is run from here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from squidmesh.core import events as ev
from squidmesh.core.calls import seconds
from squidmesh.core.codec import decode, decode_rows
from squidmesh.core.events import Event
from squidmesh.core.payloads import Value, mask
from squidmesh.core.status import ENDED, RunStatus
from squidmesh.engine.post import cancel
from squidmesh.errors import RunBlocked, RunCancelled, RunFailed, RunNotFound, RunTerminated, RunUndone
from squidmesh.ports import RunRow, Store
from squidmesh.views.explanation import Explanation, explain
from squidmesh.views.folding import folded
from squidmesh.views.published import NEVER, published
from squidmesh.views.run import RunView, fold
from squidmesh.views.wording import failed_step

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh

T_co = TypeVar("T_co", covariant=True)

QUICK, SLOW = 0.002, 0.25
"""Seconds between two looks of ``result()``: a tenth of the time waited so far, within these."""


class Handle(Generic[T_co]):
    """One run, by its id. ``await handle`` is ``result()`` without blocking the event loop."""

    __slots__ = ("run_id", "_mesh", "_workflow")

    def __init__(self, mesh: Mesh, run_id: str, workflow: Any = None) -> None:
        self._mesh = mesh
        self.run_id = run_id
        self._workflow = workflow

    # ---------------------------------------------------------------------------------------- reading

    def status(self) -> str:
        """``pending``, ``running``, ``waiting``, ``paused``, ``blocked``, ``undoing``, or how it ended."""
        return RunStatus(self._row().status).value

    def result(self, timeout: float | timedelta | None = None, wait_blocked: bool = False) -> T_co:
        """Wait until the run has ended, and give its result.

        :param timeout: seconds (or a timedelta); then ``TimeoutError``, with what the run waits for.
        :param wait_blocked: wait on when the run is blocked, instead of raising ``RunBlocked`` at once.
        :raises RunFailed: with its ``failure``. Also ``RunCancelled``, ``RunTerminated``, ``RunUndone``.
        """
        began = self._time()
        until = None if timeout is None else began + seconds("timeout", timeout)
        while not self._settled(wait_blocked):
            now = self._time()
            if until is not None and now >= until:
                raise TimeoutError(f"run {self.run_id} has not ended: {self.explain().summary}")
            pause = min(SLOW, max(QUICK, (now - began) / 10))
            self._pause(pause if until is None else min(pause, max(0.0, until - now)))
        return self._outcome()

    def __await__(self) -> Generator[Any, None, T_co]:
        return asyncio.to_thread(self.result).__await__()

    def inspect(self) -> RunView:
        """The run with its steps and their attempts, as fresh as the database."""
        row, tasks, inbox = self._row(), self._store.tasks(self.run_id), self._arrived()
        return fold(row, self.history(), tasks, inbox)

    def explain(self) -> Explanation:
        """Why the run is where it is, and what to do next."""
        row, tasks, inbox = self._row(), self._store.tasks(self.run_id), self._arrived()
        workers, now = self._store.workers(), self._mesh.connect_engine().clock.now()
        return explain(row, [*self.history(), *inbox], tasks, workers, now, inbox=len(inbox))

    def history(self) -> list[Event]:
        """All recorded events of the run, in order."""
        rows = self._store.history(self.run_id)
        if not rows:
            raise RunNotFound(self.run_id)
        return decode_rows([(row.seq, row.events) for row in rows])

    def published(self, name: str, type: Any = None, timeout: float | timedelta | None = None) -> Any:
        """The value that the workflow published last under a name; None if it never did.

        :param type: what to decode it as (a pydantic model, ``list[int]`` …); else JSON values.
        :param timeout: seconds (or a timedelta) to wait for the first one.
        """
        until = self._time() + (0 if timeout is None else seconds("timeout", timeout))
        while (found := published(self.history(), name)) is NEVER:
            if self._time() >= until or self._row().ended_at is not None:
                return None
            self._pause(min(0.05, max(0.0, until - self._time())))
        return mask(found) if type is None else Value(type, f"published value {name!r}").decode(found)

    # --------------------------------------------------------------------------------------- steering

    def cancel(self, *, actor: str | None = None, note: str | None = None, key: str | None = None) -> None:
        """Ask the run to end: nothing new starts, what is in flight settles, then it is ``cancelled``.

        Does not wait. :raises IllegalState: it has ended already.
        """
        cancel(self._mesh.connect_engine(), self.run_id, actor, note, key)

    # ---------------------------------------------------------------------------------------- within

    @property
    def _store(self) -> Store:
        return self._mesh.connect_engine().store

    def _row(self) -> RunRow:
        row = self._store.run(self.run_id)
        if row is None:
            raise RunNotFound(self.run_id)
        return row

    def _arrived(self) -> list[Event]:
        """What waits to be folded into the history."""
        return [event for message in self._store.inbox(self.run_id) for event in decode(message.events)]

    def _pause(self, duration: float) -> None:
        time.sleep(duration)

    def _time(self) -> float:
        return time.monotonic()

    def _settled(self, wait_blocked: bool) -> bool:
        status = self._row().status
        if status == RunStatus.BLOCKED and not wait_blocked:
            raise RunBlocked(self.run_id, self.explain())
        return status in ENDED

    def _outcome(self) -> T_co:
        last = self._store.last(self.run_id)
        if last is None:
            raise RunNotFound(self.run_id)
        end = decode(last.events, last.seq)[-1]
        match end:
            case ev.RunCompleted(result=result):
                decoded: T_co = self._workflow.result.decode(result) if self._workflow is not None else result
                return decoded
            case ev.RunFailed(failure=failure):
                raise RunFailed(self.run_id, failure, step=failed_step(folded(self.history()), failure))
            case ev.RunCancelled(note=note):
                raise RunCancelled(self.run_id, note)
            case _:
                undone = self._row().status == RunStatus.UNDONE
                raise RunUndone(self.run_id) if undone else RunTerminated(self.run_id)

    def __repr__(self) -> str:
        return f"<Handle of run {self.run_id}>"
