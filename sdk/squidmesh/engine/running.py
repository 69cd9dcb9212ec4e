"""A call under way, as its body sees it through ``context()``, and within its limits.

The rule of this file: what a body says through its context is durable when the method returns, or refused. In a
database transaction it is collected instead (``said``), and durable with it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.codec import decode, decode_rows
from squidmesh.core.effects import Applied, Cleaned, NotApplied, RetryStep, StillUnknown
from squidmesh.core.events import Event
from squidmesh.core.payloads import Value, size_check
from squidmesh.core.stepcontext import StepContext, current_step
from squidmesh.engine import bodies
from squidmesh.engine.called import Called
from squidmesh.engine.calling import CallKind, Trial
from squidmesh.engine.engine import Engine
from squidmesh.errors import Cancelled, DefinitionError, StoreUnavailable

_CHECKPOINT = Value(Any, "a checkpoint")
_NO_ANSWER = (BaseException, Awaitable, Generator, Cleaned, RetryStep, Applied, NotApplied, StillUnknown)
"""What an undo may not return."""
LOOK_EVERY = 0.5
"""Seconds between two looks of ``heartbeat()`` at whether the run still wants the step."""

_ENDS = ('"CancelRequested"', '"FailRequested"', '"RunTerminated"')


class Running:
    """``connection`` is that of a database transaction; ``before`` are events of it that history does not have yet."""

    __slots__ = (
        "engine", "trial", "beat", "wanted", "said", "inside", "_connection", "_before", "_known", "_looked", "_over",
        "_saving",
    )  # fmt: skip

    def __init__(self, engine: Engine, trial: Trial, connection: Any = None, before: Sequence[Event] = ()) -> None:
        self.engine, self.trial = engine, trial
        self.beat = self._looked = time.monotonic()
        self.wanted = True
        self.said: list[Event] = []
        self.inside = False  # a sync body is at work
        self._connection, self._before = connection, before
        self._known: list[ev.UndoRegistered] | None = None
        self._over = False
        self._saving = threading.Lock()

    # ------------------------------------------------------------------------------------------------ the body

    def run(self, called: Called) -> Any:
        """Run the body here, or on another thread where it has limits."""
        if called.is_async:
            return bodies.run_async(self._awaiting(called), *self._limits())
        if self.trial.timeout is None and self.trial.heartbeat_timeout is None:
            return self.direct(called)
        return bodies.run_limited(lambda: self.direct(called), *self._limits())

    async def awaited(self, called: Called) -> Any:
        return await bodies.limited(self._awaiting(called), *self._limits())

    def direct(self, called: Called) -> Any:
        """Run a sync body on this very thread."""
        tracing = self.engine.tracing
        token, self.inside = current_step.set(self.context()), True
        traced = tracing.enter(self.trial)
        try:
            return self._answer(called.fn(*called.args, **called.kwargs))
        finally:
            self.inside = False
            tracing.leave(traced)
            current_step.reset(token)

    async def _awaiting(self, called: Called) -> Any:
        current_step.set(self.context())  # the task's own copy of the context
        self.engine.tracing.enter(self.trial)
        try:
            return self._answer(await called.fn(*called.args, **called.kwargs))
        except (SystemExit, KeyboardInterrupt) as error:
            raise bodies.Carried(error) from None

    def _answer(self, value: Any) -> Any:
        """What it returned. An undo is done when it returns: not by a slip, with what was to be raised or awaited."""
        kind = value if isinstance(value, type) else type(value)
        if self.trial.kind is CallKind.UNDO and issubclass(kind, _NO_ANSWER):
            raise TypeError(
                f"{self.trial.told} returned {kind.__name__}, which does not say that it is done: return None or "
                "NotNeeded(…); raise GiveUp, Irreversible or any other error; await a coroutine (`async def`)"
            )
        return value

    def _limits(self) -> tuple[str, float | None, float | None, Callable[[], float]]:
        trial = self.trial
        return trial.told, trial.timeout, trial.heartbeat_timeout, lambda: self.beat

    def end(self) -> None:
        """The call has an outcome: what its body still does, should it go on, is not recorded."""
        with self._saving:
            self._over = True

    # ---------------------------------------------------------------------------------------------- its context

    def context(self) -> StepContext:
        trial = self.trial
        return StepContext(
            run_id=trial.run_id, step=trial.name, position=trial.position, attempt=trial.number, key=trial.key,
            progress=trial.progress, mesh=self.engine.mesh, _attempt=self,
            forward_key=f"{trial.run_id}:{trial.position}", rollback=trial.rollback,
        )  # fmt: skip

    def connection(self) -> Any:
        return self._connection

    def state(self) -> Mapping[str, list[Any]]:
        """Results by step name: as of when the step was scheduled, or (in an undo) as of now."""
        names: dict[str, str] = {}
        results: dict[str, list[Any]] = {}
        for event in (*self._history(), *self._before):
            if event.seq and self.trial.scheduled_seq and event.seq >= self.trial.scheduled_seq:
                continue
            match event:
                case ev.StepScheduled(position=position, step=step):
                    names[position] = step
                case (
                    ev.StepCompleted(position=position, result=result)
                    | ev.TransactionCommitted(position=position, result=result)
                    | ev.StepSkipped(position=position, value=result)
                ) if position in names:
                    results.setdefault(names[position], []).append(result)
                case _:
                    pass
        return results

    def checkpoint(self, value: Any) -> None:
        stored = _CHECKPOINT.encode(value)
        size_check(stored, self.engine.settings.max_payload, f"a checkpoint of {self.trial.told}")
        with self._saving:
            self.check()
            if self._connection is None:
                self.trial.save(stored)
            else:
                self._tell(ev.CheckpointSaved(position=self.trial.home, value=stored))
        self.beat = time.monotonic()

    def add_undo(self, function: str, input: dict[str, Any]) -> None:
        self._not_in_an_undo("add_undo")
        size_check(input, self.engine.settings.max_payload, f"the arguments of undo {function!r}")
        with self._saving:
            self.check()
            if self._known is None:
                self._known = self._registered()
            if not any((known.function, known.input) == (function, input) for known in self._known):
                number = max((known.number for known in self._known), default=0) + 1
                registered = ev.UndoRegistered(
                    position=self.trial.position, number=number, function=function, input=input
                )
                self._tell(registered)
                self._known.append(registered)

    def mark_irreversible(self, note: str) -> None:
        self._not_in_an_undo("mark_irreversible")
        with self._saving:
            self.check()
            self._tell(ev.StepMarkedIrreversible(position=self.trial.position, note=note))

    def _tell(self, event: Event) -> None:
        event = replace(event, at=self.engine.clock.now())
        if self._connection is None:
            self.trial.tell(event)
        else:
            self.said.append(event)

    def check(self) -> None:
        """Refuse what comes after the outcome."""
        if self._over:
            raise Cancelled(f"attempt {self.trial.number} of {self.trial.told} is over: this is too late")

    def _not_in_an_undo(self, what: str) -> None:
        if self.trial.kind is CallKind.UNDO:
            raise DefinitionError(
                f"context().{what}() in {self.trial.told}: the plan of a rollback is made before its first undo; an "
                "undo does what is left to do itself, or raises Irreversible"
            )

    def _registered(self) -> list[ev.UndoRegistered]:
        """The undos that earlier attempts have registered: in the inbox first, from where they come into history.

        In a database transaction there are none: they went with it.
        """
        if self._connection is not None:
            return []
        waiting = [
            decode(row.events) for row in self.engine.store.inbox(self.trial.run_id) if _REGISTERED in row.events
        ]
        return [
            event
            for events in (*waiting, self._history())
            for event in events
            if isinstance(event, ev.UndoRegistered) and event.position == self.trial.position
        ]

    def _history(self, after: int = 0) -> Iterable[Event]:
        rows = self.engine.store.history(self.trial.run_id, after, self._connection)
        return decode_rows([(row.seq, row.events) for row in rows])

    # ------------------------------------------------------------------------------------------ is it wanted?

    def heartbeat(self) -> None:
        self.check()
        self.beat = time.monotonic()
        if self.wanted and self.beat - self._looked >= LOOK_EVERY and not self._alone():
            self._looked = self.beat
            with contextlib.suppress(StoreUnavailable):  # an outage is no reason to fail: asked again at the next
                self.wanted = self._still_wanted()
        if not self.wanted:
            raise Cancelled(f"run {self.trial.run_id} does not need {self.trial.told} any more")

    def _alone(self) -> bool:
        """Whether nobody can say anything meanwhile: in SQLite, who has a transaction open is the one that writes."""
        return self._connection is not None and self._connection.dialect.name == "sqlite"

    def _still_wanted(self) -> bool:
        """Whether the run goes on and needs this step. What is done about a step that has ended is needed to the end.

        A run that is undoing may be so for one of its scopes or races only, and need the step nevertheless.
        """
        trial, store = self.trial, self.engine.store
        row = store.run(trial.run_id)
        if row is None or row.ended_at is not None:
            return False
        ends = _ENDS if trial.kind is CallKind.ATTEMPT else _ENDS[-1:]
        if any(end in message.events for message in store.inbox(trial.run_id) for end in ends):
            return False
        if trial.kind is not CallKind.ATTEMPT:
            return True
        if row.reason == "draining":
            return False
        if "." not in trial.position:
            return True
        races = [event.position for event in self._history(trial.scheduled_seq) if isinstance(event, ev.RaceWon)]
        return not any(trial.position.startswith(f"{race}.") for race in races)


_REGISTERED = '"UndoRegistered"'
