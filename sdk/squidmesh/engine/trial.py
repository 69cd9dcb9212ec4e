"""One attempt of one step, run here: the body with its arguments, timeouts and context; then what became of it.

The rule of this file: whatever the body does, what comes out is events. A body that does not come back in time is let
be: its thread goes on, what it returns is ignored, and its attempt has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.calls import Options
from squidmesh.core.codec import decode_rows
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe
from squidmesh.core.payloads import Value, secrets_in, size_check
from squidmesh.core.retry import Retry, next_delay
from squidmesh.core.step import Step
from squidmesh.core.stepcontext import StepContext, current_step
from squidmesh.engine import bodies
from squidmesh.engine.engine import Engine
from squidmesh.errors import Cancelled, PayloadError, StoreUnavailable

_CHECKPOINT = Value(Any, "a checkpoint")
LOOK_EVERY = 0.5
"""Seconds between two looks of ``heartbeat()`` at whether the run still wants the step."""


@dataclass(slots=True)
class Trial:
    """What is known of an attempt that is about to run. ``failed`` counts those before it that failed."""

    run_id: str
    position: str
    step: Step[..., Any]
    number: int
    input: Mapping[str, Any]
    overrides: Options
    progress: Any
    failed: int
    first_at: int
    scheduled_seq: int
    save: Callable[[Any], None]  # store a checkpoint, fenced
    begun: int = 0
    saved: list[Any] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, str]:
        return self.run_id, self.position

    @property
    def timeout(self) -> float | None:
        return self.overrides.timeout or self.step.timeout

    @property
    def retry(self) -> Retry | None:
        return self.overrides.retry or self.step.retry


class Running:
    """A trial under way, as its body sees it through ``context()``."""

    __slots__ = ("engine", "trial", "beat", "wanted", "_looked", "_over", "_saving")

    def __init__(self, engine: Engine, trial: Trial) -> None:
        self.engine, self.trial = engine, trial
        self.beat = self._looked = time.monotonic()
        self.wanted = True
        self._over = False
        self._saving = threading.Lock()

    def end(self) -> None:
        """The attempt has an outcome: what its body still does, should it go on, is not recorded."""
        with self._saving:
            self._over = True

    def context(self) -> StepContext:
        trial = self.trial
        return StepContext(
            run_id=trial.run_id, step=trial.step.name, position=trial.position, attempt=trial.number,
            key=f"{trial.run_id}:{trial.position}", progress=trial.progress, mesh=self.engine.mesh, _attempt=self,
        )  # fmt: skip

    def state(self) -> Mapping[str, list[Any]]:
        rows = [(row.seq, row.events) for row in self.engine.store.history(self.trial.run_id)]
        names: dict[str, str] = {}
        results: dict[str, list[Any]] = {}
        for event in decode_rows(rows):
            if self.trial.scheduled_seq and event.seq >= self.trial.scheduled_seq:
                break
            match event:
                case ev.StepScheduled(position=position, step=step):
                    names[position] = step
                case ev.StepCompleted(position=position, result=result) if position in names:
                    results.setdefault(names[position], []).append(result)
        return results

    def checkpoint(self, value: Any) -> None:
        stored = _CHECKPOINT.encode(value)
        size_check(stored, self.engine.settings.max_payload, f"a checkpoint of step {self.trial.step.name!r}")
        with self._saving:
            self._check()
            self.trial.save(stored)
        self.beat = time.monotonic()

    def _check(self) -> None:
        if self._over:
            raise Cancelled(f"attempt {self.trial.number} of step {self.trial.step.name!r} is over: this is too late")

    def heartbeat(self) -> None:
        self._check()
        self.beat = time.monotonic()
        if self.wanted and self.beat - self._looked >= LOOK_EVERY:
            self._looked = self.beat
            with contextlib.suppress(StoreUnavailable):  # an outage is no reason to fail: asked again at the next
                self.wanted = _wanted(self.engine, self.trial)
        if not self.wanted:
            raise Cancelled(f"run {self.trial.run_id} does not need step {self.trial.step.name!r} any more")


def gone(run_id: str, step: str) -> Cancelled:
    """What is raised in a step whose worker has lost it: whatever it returns is not recorded."""
    return Cancelled(f"step {step!r} of run {run_id} goes on elsewhere: this worker has lost its lease")


def _wanted(engine: Engine, trial: Trial) -> bool:
    row = engine.store.run(trial.run_id)
    if row is None or row.ended_at is not None or row.status == "undoing":
        return False
    if any('"CancelRequested"' in message.events for message in engine.store.inbox(trial.run_id)):
        return False
    if "." not in trial.position:
        return True
    rows = engine.store.history(trial.run_id, after=trial.scheduled_seq)
    later = decode_rows([(row.seq, row.events) for row in rows])
    races = [event.position for event in later if isinstance(event, ev.RaceWon)]
    return not any(trial.position.startswith(f"{race}.") for race in races)


def run(engine: Engine, trial: Trial) -> list[Event]:
    """Run the attempt on this thread (its body may run on another) until it has an outcome; the events that tell it."""
    trial.begun = engine.clock.now()
    running = Running(engine, trial)
    try:
        args, kwargs = trial.step.parameters.decode(trial.input)
        if trial.step.is_async:
            value = bodies.run_async(_body_async(running, args, kwargs), *_limits(running))
        elif trial.timeout is None and trial.step.heartbeat_timeout is None:
            value = _body(running, args, kwargs)
        else:
            value = bodies.run_limited(lambda: _body(running, args, kwargs), *_limits(running))
    except BaseException as error:  # noqa: BLE001 - whatever a body raises is its attempt's failure
        return failed(engine, trial, error, running.wanted)
    finally:
        running.end()
    return completed(engine, trial, value)


async def run_beside(engine: Engine, trial: Trial) -> list[Event]:
    """The same for an async step, awaited on the event loop of this process together with others."""
    trial.begun = engine.clock.now()
    running = Running(engine, trial)
    try:
        args, kwargs = trial.step.parameters.decode(trial.input)
        value = await bodies.limited(_body_async(running, args, kwargs), *_limits(running))
    except BaseException as error:  # noqa: BLE001 - whatever a body raises is its attempt's failure
        return failed(engine, trial, error, running.wanted)
    finally:
        running.end()
    return completed(engine, trial, value)


def _body(running: Running, args: Any, kwargs: Any) -> Any:
    token = current_step.set(running.context())
    try:
        return running.trial.step.fn(*args, **kwargs)
    finally:
        current_step.reset(token)


async def _body_async(running: Running, args: Any, kwargs: Any) -> Any:
    current_step.set(running.context())  # the task's own copy of the context
    try:
        return await running.trial.step.fn(*args, **kwargs)
    except (SystemExit, KeyboardInterrupt) as error:
        raise Carried(error) from None


class Carried(Exception):
    """Takes what would end an event loop out of it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _limits(running: Running) -> tuple[str, float | None, float | None, Callable[[], float]]:
    step = running.trial.step
    return f"step {step.name!r}", running.trial.timeout, step.heartbeat_timeout, lambda: running.beat


def completed(engine: Engine, trial: Trial, value: Any) -> list[Event]:
    try:
        result = trial.step.result.encode(value)
        size_check(result, engine.settings.max_payload, f"the result of step {trial.step.name!r}")
    except PayloadError as refused:
        return _final(engine, trial, describe(refused, attempts=trial.failed + 1, secrets=secrets_in(trial.input)))
    return [ev.StepCompleted(at=engine.clock.now(), position=trial.position, result=result)]


def failed(engine: Engine, trial: Trial, error: BaseException, wanted: bool) -> list[Event]:
    """What a failed attempt leads to: another one later, or the step's failure; cancelled, if it was not wanted."""
    if isinstance(error, Carried):
        error = error.error
    if any(cls.__name__ == "Interrupt" and cls.__module__.startswith("dramatiq") for cls in type(error).__mro__):
        raise error  # the worker is being shut down: not of the step's own making
    now = engine.clock.now()
    if isinstance(error, Cancelled) and not wanted:
        return [ev.StepCancelled(at=now, position=trial.position)]
    if isinstance(error, asyncio.CancelledError):
        error = _as_failure(error)
    failure = describe(error, attempts=trial.failed + 1, secrets=secrets_in(trial.input))
    if isinstance(error, PayloadError):  # a checkpoint that cannot be stored: no attempt would
        return _final(engine, trial, failure)
    delay = next_delay(
        trial.retry, attempt=trial.failed + 1, error=error,
        elapsed=(now - (trial.first_at or trial.begun)) / 1e6, luck=random.random(),
    )  # fmt: skip
    if delay is None:
        return _final(engine, trial, failure)
    retry_at = now + round(delay * 1e6)
    return [ev.AttemptFailed(at=now, position=trial.position, number=trial.number, failure=failure, retry_at=retry_at)]


def _as_failure(error: BaseException) -> BaseException:
    return RuntimeError(f"the step cancelled itself: {error}" if str(error) else "the step cancelled itself")


def _final(engine: Engine, trial: Trial, failure: Failure) -> list[Event]:
    now = engine.clock.now()
    return [
        ev.AttemptFailed(at=now, position=trial.position, number=trial.number, failure=failure),
        ev.StepFailed(at=now, position=trial.position, failure=failure),
    ]
