"""The handle of a run: read it, wait for it, steer it.

The rule of this file: every method asks the database; nothing is cached, and nothing is run from here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from squidmesh.core import events as ev
from squidmesh.core.calls import seconds
from squidmesh.core.codec import decode, decode_rows
from squidmesh.core.effects import Applied, NotApplied
from squidmesh.core.events import Event
from squidmesh.core.payloads import Value, mask
from squidmesh.core.report import RollbackReport
from squidmesh.core.signals import Signal
from squidmesh.core.status import ENDED, RunStatus
from squidmesh.engine import repair, steering, voting
from squidmesh.engine.continuing import newest
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import unfolded
from squidmesh.engine.rerun import rerun
from squidmesh.engine.sending import signal as send
from squidmesh.engine.undoing import rollback
from squidmesh.errors import RunBlocked, RunCancelled, RunFailed, RunNotFound, RunTerminated, RunUndone
from squidmesh.ports import RunFilter, RunRow, Store, TaskRow
from squidmesh.views.explanation import Explanation, explain
from squidmesh.views.folding import folded
from squidmesh.views.graph import Graph, graph
from squidmesh.views.published import NEVER, published
from squidmesh.views.run import RunView, fold, reports
from squidmesh.views.timeline import TimelineEntry, timeline
from squidmesh.views.wording import failed_step

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

STUCK = (RunStatus.BLOCKED, RunStatus.PAUSED)
"""What a child is that does not go on by itself."""
GENERATIONS = 8
"""How far down an explanation goes, and of how many children at once it looks for one that is stuck."""
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
        while (ended := self._ended(wait_blocked)) is None:
            now = self._time()
            if until is not None and now >= until:
                raise TimeoutError(f"run {self.run_id} has not ended: {self.explain().summary}")
            pause = min(SLOW, max(QUICK, (now - began) / 10))
            self._pause(pause if until is None else min(pause, max(0.0, until - now)))
        return self._outcome(ended)

    def __await__(self) -> Generator[Any, None, T_co]:
        return asyncio.to_thread(self.result).__await__()

    def inspect(self, history: bool = False) -> RunView:
        """The run with its steps and their attempts, and its rollbacks, as fresh as the database.

        :param history: with its events, as JSON.
        """
        row, tasks, recorded, waiting = self._facts()
        return fold(row, recorded, tasks, waiting, self._engine.clock.now(), history)

    def explain(self) -> Explanation:
        """Why the run is where it is, and what to do next."""
        return self._explained(GENERATIONS)

    def _explained(self, deep: int) -> Explanation:
        row, tasks, recorded, waiting = self._facts()
        workers, now = self._store.workers(), self._engine.clock.now()
        stuck = self._store.runs(RunFilter(parent=self.run_id, status=STUCK), GENERATIONS, None)

        def ask(run_id: str) -> Explanation | None:
            there = deep > 0 and self._store.run(run_id) is not None
            return self._of(run_id)._explained(deep - 1) if there else None

        return explain(
            row, [*recorded, *waiting], tasks, workers, now, inbox=len(waiting),
            stuck={child.run_id for child in stuck}, ask=ask,
        )  # fmt: skip

    def graph(self) -> Graph:
        """The run as nodes and edges, as it happened: sequence, parallel branches, children, scopes, undos."""
        row, tasks, recorded, waiting = self._facts()
        return graph(row, [*recorded, *waiting], tasks)

    def timeline(self) -> list[TimelineEntry]:
        """The run along time: attempts, waits, undos, and times it stood still, by when they began."""
        row, tasks, recorded, waiting = self._facts()
        return timeline(row, [*recorded, *waiting], tasks)

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
        while (found := published(self._newest().history(), name)) is NEVER:
            if self._time() >= until or self._newest()._row().ended_at is not None:
                return None
            self._pause(min(0.05, max(0.0, until - self._time())))
        return mask(found) if type is None else Value(type, f"published value {name!r}").decode(found)

    # --------------------------------------------------------------------------------------- steering

    @overload
    def signal(self, signal: Signal[bool], payload: bool = True, *, key: str | None = None) -> str: ...
    @overload
    def signal(self, signal: Signal[T], payload: T, *, key: str | None = None) -> str: ...
    @overload
    def signal(self, signal: str, payload: Any = True, *, key: str | None = None) -> str: ...
    def signal(self, signal: Signal[Any] | str, payload: Any = True, *, key: str | None = None) -> str:
        """Send the run a message; it is kept, in order, until the workflow waits for one of its name.

        :param signal: a ``Signal``, whose type the payload must fit; or its name, and the wait judges when it comes.
        :param key: sent again with the same key, a message is delivered once.
        :return: the status of the run.
        :raises InvalidPayload: the payload does not fit; nothing was sent. ``IllegalState``: the run is over.
        """
        return send(self._engine, self.run_id, signal, payload, key)

    def approve(self, gate: object = None, *, actor: str, note: str | None = None, key: str | None = None) -> str:
        """Vote for an approval. Of one actor the first vote counts.

        :param gate: its name, or its position; may be left out when exactly one is open.
        :param key: said again with the same key, a command records nothing. (So for all of these.)
        :return: the status of the run, which has not looked at it yet.
        :raises NothingOpen: none is, or it was decided already: it says how. ``NoSuchEntry``: it has ``candidates``.
        """
        return voting.vote(self._engine, self.run_id, gate, True, actor, note, key)

    def reject(self, gate: object = None, *, actor: str, note: str | None = None, key: str | None = None) -> str:
        """Vote against an approval, which decides it. As ``approve``."""
        return voting.vote(self._engine, self.run_id, gate, False, actor, note, key)

    def resume(
        self,
        payload: Any = None,
        *,
        gate: object = None,
        actor: str,
        note: str | None = None,
        key: str | None = None,
    ) -> str:
        """Let a run go on that has come to a ``pause``, with what that gives. As ``approve``.

        :param payload: what does not fit the type that the workflow wants is put on record, and the pause goes on.
        """
        return voting.resume(self._engine, self.run_id, payload, gate, actor, note, key)

    def hold(self, *, actor: str, note: str | None = None, key: str | None = None) -> str:
        """Have nothing new begin until ``release``: an operator's pause.

        Attempts that are in flight, about to begin, or with other workers already are recorded; timers fire after the
        release.

        :raises IllegalState: the run has ended, or is on its way there.
        """
        return steering.hold(self._engine, self.run_id, actor, note, key)

    def release(self, *, actor: str, note: str | None = None, key: str | None = None) -> str:
        """Let a held run go on; and try one again that is blocked by code or a value.

        :raises IllegalState: it is neither held nor so blocked.
        """
        return steering.release(self._engine, self.run_id, actor, note, key)

    def cancel(
        self,
        *,
        undo: bool = True,
        force: bool = False,
        actor: str | None = None,
        note: str | None = None,
        key: str | None = None,
    ) -> RollbackReport | None:
        """Ask the run to end: nothing new starts, what is in flight settles, what it did is undone; then ``cancelled``.

        :param undo: False leaves everything as it is; ``rollback`` can undo it later.
        :param force: although a pivot has completed; takes ``actor`` and ``note``.
        :return: the rollback as it stands: what there is to be undone by now, or how far it is if one walks already;
            None where nothing is undone.
        :raises IllegalState: it has ended already. ``PastPivot``: it can only go forward.
        """
        return steering.cancel(self._engine, self.run_id, undo, force, actor, note, key)

    def terminate(self, *, actor: str, note: str, key: str | None = None) -> str:
        """End the run at once: nothing is waited for and nothing undone, though ``rollback`` can do that later."""
        return steering.terminate(self._engine, self.run_id, actor, note, key)

    def rerun(
        self,
        *,
        from_position: str | None = None,
        allow_irreversible: bool = False,
        actor: str | None = None,
        note: str | None = None,
        key: str | None = None,
    ) -> Handle[T_co]:
        """Start a new run of the same workflow with the same input, once this one has ended.

        It is nobody's child and no link of a chain; of a run that was continued it is this one that runs again.

        :param from_position: the command there runs anew, and all that follow; what precedes it keeps its results,
            which stay this run's to undo, children and deferred calls among them. Without it, all runs again.
        :param allow_irreversible: ``True``, with ``actor`` and ``note``: although irreversible steps run again.
        :raises UnsafeRerun: irreversible steps that have completed, or may have, would run again: here, in a
            child, or in a run that this one was continued by.
        :raises NoSuchEntry: there is no such position; it has the ``candidates``.
        :raises IllegalState: it has not ended; what precedes the position was undone; or nothing can go on from there
            (a part of a race, a member whose elders have not come out well): it names the nearest that works.
        """
        started = rerun(self._engine, self.run_id, from_position, allow_irreversible, actor, note, key)
        return self._mesh.handle(started)

    # ---------------------------------------------------------------------------------------- repair

    def rollback(
        self,
        *,
        dry_run: bool = False,
        force: bool = False,
        on_irreversible: str | None = None,
        actor: str | None = None,
        note: str | None = None,
        key: str | None = None,
    ) -> RollbackReport:
        """Undo what the run did, which has ended; newest first. Does not wait.

        :param dry_run: say what a rollback would meet, and do nothing; takes neither ``actor`` nor ``note``.
        :param force: although the run is a child whose parent has used it.
        :param on_irreversible: ``"report"``, ``"halt"`` or ``"refuse"``; by default as the workflow says.
        :return: the rollback as it stands; the one that walks already, if one does.
        :raises IllegalState: it has not ended: ``cancel`` ends it and undoes it.
        :raises NothingToUndo: and why. ``OwnedByParent``: it is undone with its parent.
        """
        return rollback(self._engine, self.run_id, dry_run, force, on_irreversible, actor, note, key)

    def undo_retry(self, entry: object, *, actor: str, note: str, key: str | None = None) -> str:
        """Have an undo called again that has failed for good: fresh attempts, the same key.

        :param entry: the name of the step where that is unambiguous, else its position.
        :raises NoSuchEntry: no such entry, or several; it has the ``candidates``.
        """
        return repair.undo_retry(self._engine, self.run_id, entry, actor, note, key)

    def undo_skip(self, entry: object = None, *, actor: str, note: str, key: str | None = None) -> str:
        """Go on without an entry whose undo has failed, or which the rollback halts at; it is listed as skipped.

        :param entry: may be left out when exactly one fits.
        """
        return repair.undo_skip(self._engine, self.run_id, entry, actor, note, key)

    def undo_mark_done(self, entry: object, *, actor: str, note: str, key: str | None = None) -> str:
        """Say that an entry was undone by hand, also after the end: the report is issued again."""
        return repair.undo_mark_done(self._engine, self.run_id, entry, actor, note, key)

    def undo_abandon(self, *, actor: str, note: str, key: str | None = None) -> str:
        """End a rollback that stands: what is left is not undone."""
        return repair.undo_abandon(self._engine, self.run_id, actor, note, key)

    def resolve_step(
        self, step: object, verdict: Applied[Any] | NotApplied, *, actor: str, note: str, key: str | None = None
    ) -> str:
        """Say of a step in doubt whether its effect happened: ``Applied(value)`` or ``NotApplied()``.

        :param step: its name where that is unambiguous, else its position.
        :raises InvalidPayload: the value does not fit the type of the step's result.
        """
        return repair.resolve_step(self._engine, self.run_id, step, verdict, actor, note, key)

    def retry_step(self, step: object, *, actor: str, note: str, key: str | None = None) -> str:
        """Try a step again whose failure has blocked the run past its pivot."""
        return repair.retry_step(self._engine, self.run_id, step, actor, note, key)

    def skip_step(self, step: object, value: Any, *, actor: str, note: str, key: str | None = None) -> str:
        """Go on with ``value`` in place of the result of a step whose failure has blocked the run past its pivot.

        :raises InvalidPayload: the value does not fit the type of the step's result.
        """
        return repair.skip_step(self._engine, self.run_id, step, value, actor, note, key)

    def fail(self, *, undo: bool = True, actor: str, note: str, key: str | None = None) -> str:
        """End the run as failed; what it did is undone, unless ``undo`` is False."""
        return steering.fail(self._engine, self.run_id, undo, actor, note, key)

    # ---------------------------------------------------------------------------------------- within

    @property
    def _engine(self) -> Engine:
        return self._mesh.connect_engine()

    @property
    def _store(self) -> Store:
        return self._engine.store

    def _row(self) -> RunRow:
        row = self._store.run(self.run_id)
        if row is None:
            raise RunNotFound(self.run_id)
        return row

    def _newest(self) -> Handle[Any]:
        """Of runs that continue one another the newest."""
        return self._of(newest(self._engine, self._row()).run_id)

    def _of(self, run_id: str) -> Handle[Any]:
        return self if run_id == self.run_id else self._mesh.handle(run_id)

    def _facts(self) -> tuple[RunRow, list[TaskRow], list[Event], list[Event]]:
        """Its row, its tasks, its history, and what waits to be folded into that; the history is read last."""
        row, tasks, inbox = self._row(), self._store.tasks(self.run_id), self._arrived()
        history = self.history()
        return row, tasks, history, unfolded(history, inbox)

    def _arrived(self) -> list[Event]:
        """What waits to be folded into the history."""
        return [event for message in self._store.inbox(self.run_id) for event in decode(message.events)]

    def _pause(self, duration: float) -> None:
        time.sleep(duration)

    def _time(self) -> float:
        return time.monotonic()

    def _ended(self, wait_blocked: bool) -> RunRow | None:
        """The run's row, once it has ended; of runs that continue one another that of the newest."""
        row = newest(self._engine, self._row())
        if row.status == RunStatus.BLOCKED and not wait_blocked:
            raise RunBlocked(row.run_id, self._of(row.run_id).explain())
        return row if row.status in ENDED else None

    def _outcome(self, row: RunRow) -> T_co:
        """What it returned, or how else it ended: which the row says, for it may have been rolled back later."""
        if row.run_id != self.run_id:
            told: T_co = self._of(row.run_id)._outcome(row)
            return told
        if row.status == RunStatus.COMPLETED:
            return self._result()
        run = folded(self.history())
        rollback = next(iter(reversed(reports(run.chain, row))), None)
        match run.end:
            case _ if row.status == RunStatus.UNDONE:
                raise RunUndone(self.run_id, rollback)
            case ev.RunFailed(failure=failure) if row.status == RunStatus.FAILED:
                raise RunFailed(self.run_id, failure, rollback, step=failed_step(run, failure))
            case ev.RunCancelled(note=note) if row.status == RunStatus.CANCELLED:
                raise RunCancelled(self.run_id, note, rollback)
            case end:
                raise RunTerminated(self.run_id, end.note if isinstance(end, ev.RunTerminated) else None)

    def _result(self) -> T_co:
        last = self._store.last(self.run_id)
        end = decode(last.events, last.seq)[-1] if last is not None else None
        if not isinstance(end, ev.RunCompleted):  # somebody wanted it rolled back, which was refused
            end = next(event for event in reversed(self.history()) if isinstance(event, ev.RunCompleted))
        decoded: T_co = self._workflow.result.decode(end.result) if self._workflow is not None else end.result
        return decoded

    def __repr__(self) -> str:
        return f"<Handle of run {self.run_id}>"
