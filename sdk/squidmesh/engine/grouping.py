"""A transaction of several steps: its generator, driven from step to step on one connection; and the undo of them all.

    yielded ─▶ a step: savepoint ─▶ body ─▶ release, and its events │ roll back, and again, or ``StepFailed``
               gather, fan_out: their members, one after the other

The rule of this file: nothing is run but steps that can be rolled back, and what they say is committed with the group,
or never was. A body that did not come back in time ends the group, for it may still be using the connection.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core import guards
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Call, Command
from squidmesh.core.commands import FanOut, FanOutCommand, Gather
from squidmesh.core.deterministic import RunInfo, instant
from squidmesh.core.effects import NotNeeded
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, failure_of
from squidmesh.core.transactions import Transaction
from squidmesh.core.turn import Body, Place, Raised, Returned, Turn, Yielded
from squidmesh.engine import outcomes
from squidmesh.engine.called import called
from squidmesh.engine.calling import Trial
from squidmesh.engine.engine import Engine
from squidmesh.engine.running import Running
from squidmesh.errors import DefinitionError, GatherFailed, InvalidPayload, PayloadError, StepFailed, WorkflowError

MOST_ATTEMPTS = 10
"""Attempts of a step whose ``retry`` has no limit: here they follow each other without a pause."""


class Group:
    """One transaction under way. ``events`` are those of its steps, to be committed with it."""

    def __init__(self, engine: Engine, trial: Trial, running: Running) -> None:
        args, kwargs = trial.step.parameters.decode(trial.input)
        self.events: list[Event] = []
        self._engine, self._trial, self._running = engine, trial, running
        self._connection = running.connection()
        self._overrun = False  # a body is still using the connection
        self._forgotten: list[tuple[Command[Any], guards.Drop]] = []
        self._body = Body(trial.step.fn, args, kwargs, self)
        # what the deterministic functions ask for: the same at every attempt of this group
        self.closing = False
        self.seed, self.moment, self.uuids = trial.key, trial.begun, 0
        self.random = random.Random(trial.key)

    def enter(self, scope: object) -> str:
        """A scope inside: there is nothing in one transaction that would be undone piece by piece."""
        raise DefinitionError(f"{scope!r} cannot be {_PART.format(f'transaction {self._trial.name!r}')}")

    def run(self) -> Any:
        """Drive the generator to its end; what it returns.

        :raises WorkflowError: what it let out.
        :raises Broken: it yields, or lets out, what it must not.
        """
        turn, count = self._body.begin(), 0
        try:
            while True:
                self._no_call_forgotten(turn)
                match turn:
                    case Returned(value):
                        return self._returned(value)
                    case Raised(error):
                        raise self._let_out(error)
                    case Yielded(value):
                        count += 1
                        turn = self._answer(value, f"{self._trial.position}.{count}")
        finally:
            self._body.close(self)

    def _answer(self, command: Any, position: str) -> Turn:
        try:
            value = self._do(command, position)
        except WorkflowError as failed:
            if self._overrun:
                raise
            return self._body.throw(failed)
        return self._body.send(value)

    def _do(self, command: Any, position: str) -> Any:
        match command:
            case Call():
                return self._call(command, position)
            case Gather(members=members, as_list=as_list):
                results, _ = self._all(members, position, tolerate=0)
                return list(results.values()) if as_list else tuple(results.values())
            case FanOutCommand(members=members, tolerate=tolerate):
                return FanOut(*self._all(members, position, tolerate))
            case Command():
                raise self._broken(f"{command.told()} cannot be {_PART}", position)
            case _:
                place = self._body.place()
                raise Broken("code_error", guards.foreign(command, place.file, place.line), place, position)

    def _all(
        self, members: Sequence[Command[Any]], position: str, tolerate: int
    ) -> tuple[dict[int, Any], dict[int, Failure]]:
        """Results and failures of members, by index; past the tolerance none is begun any more."""
        results: dict[int, Any] = {}
        failures: dict[int, Failure] = {}
        for n, member in enumerate(members):
            try:
                results[n] = self._do(member, f"{position}.{n + 1}")
            except WorkflowError as failed:
                if self._overrun:
                    raise
                failures[n] = failure_of(failed)
                if len(failures) > tolerate:
                    raise GatherFailed(failures, results, position) from None
        return results, failures

    # ------------------------------------------------------------------------------------------------- a step

    def _call(self, call: Call[Any], position: str) -> Any:
        self._fits(call, position)
        call.taken = True
        step: Any = call.definition
        scheduled = ev.StepScheduled(
            at=self._engine.clock.now(), position=position, step=step.name, input=call.input,
            options=call.overrides.to_json(), traits=step.traits,
        )  # fmt: skip
        policy = call.overrides.retry or step.retry
        most = MOST_ATTEMPTS if policy is None or policy.max_attempts is None else policy.max_attempts
        number = 0
        while True:
            number += 1
            said = self._tried(call, position, number, scheduled.at)
            match last := said[-1]:
                case ev.StepCompleted():
                    self.events += [scheduled, *said]
                    return self._decoded(call, last, position)
                case ev.AttemptFailed() if last.retry_at is None or number >= most or self._overrun:
                    failed = ev.StepFailed(at=last.at, position=position, failure=last.failure)
                    self.events += [scheduled, failed]
                    raise StepFailed(step.name, position, last.failure)
                case _:
                    pass  # again, at once

    def _tried(self, call: Call[Any], position: str, number: int, first_at: int) -> list[Event]:
        """One attempt of a step, in a savepoint of its own."""
        self._running.check()
        own = self._trial
        trial = Trial(
            run_id=own.run_id, position=position, step=call.definition, number=number, input=call.input,
            overrides=call.overrides, progress=None, failed=number - 1, first_at=first_at,
            scheduled_seq=own.scheduled_seq, save=lambda _: None, begun=self._engine.clock.now(),
            trace=own.trace, spot=f"{position}#1",
        )  # fmt: skip
        running = Running(self._engine, trial, self._connection, self.events)
        savepoint = self._connection.begin_nested()
        try:
            ended = outcomes.returned(self._engine, trial, running.run(called(trial)))
            if isinstance(ended[-1], ev.AttemptFailed):
                savepoint.rollback()
                return ended
            savepoint.commit()
        except BaseException as error:
            self._overrun = running.inside
            if self._engine.store.collided(error) or self._connection.invalidated:
                raise  # for all of it
            if not self._overrun:
                with contextlib.suppress(Exception):  # the connection is broken, or the body has ended the transaction
                    savepoint.rollback()
            ended = outcomes.raised(self._engine, trial, error, running.wanted)
            if isinstance(ended[-1], ev.StepCancelled):  # nobody needs any of it
                self._running.wanted = False
                raise
            return ended
        finally:
            running.end()
        return [*(event for event in running.said if not isinstance(event, ev.CheckpointSaved)), *ended]

    def _fits(self, call: Call[Any], position: str) -> None:
        definition: Any = call.definition
        told = f"`{definition.name}`"
        if isinstance(definition, Transaction):
            raise self._broken(
                f"{told} is a transaction inside another one: write `yield from {definition.name}(…)` without "
                "transaction(…), and its steps are part of this one",
                position,
            )
        if not definition.is_step:
            raise self._broken(f"{told} is a workflow, and cannot be {_PART}", position)
        if not (definition.transactional or definition.pure):
            raise self._broken(
                f"step {told} is neither transactional nor pure, so what it does could not be rolled back, and cannot "
                f"be {_PART}; or declare it with @step(transactional=True), if it writes through context().connection",
                position,
            )

    def _decoded(self, call: Call[Any], completed: ev.StepCompleted, position: str) -> Any:
        try:
            return call.definition.result.decode(completed.result)
        except (PayloadError, InvalidPayload, DefinitionError) as refused:
            raise self._broken(str(refused), position, "value_undecodable") from None

    # ---------------------------------------------------------------------------------------- the generator's end

    def _returned(self, value: Any) -> Any:
        if (wrong := guards.returned(value)) is not None:
            code = self._trial.step.fn.__code__
            place = Place(code.co_filename, code.co_firstlineno, code.co_qualname)
            told = f"{place.file}:{place.line}: transaction {self._trial.name!r} {wrong}"
            raise Broken("code_error", told, place, self._trial.position)
        return value

    def _let_out(self, error: BaseException) -> BaseException:
        """What is raised for what the generator let out: a failure of the business, or broken code."""
        if isinstance(error, WorkflowError) or outcomes.shuts_down(error) or self._engine.store.collided(error):
            return error
        place = self._body.place()
        told = guards.broken_code(error, place.file, place.line)
        broken = Broken(guards.broken_by(error), told, place, self._trial.position)
        broken.__cause__ = error
        return broken

    def _no_call_forgotten(self, turn: Turn) -> None:
        for command, at in self._forgotten:
            if not (isinstance(turn, Raised) and guards.raised_at(turn.error, at)):
                place = Place(command.file, command.line, command.code.co_qualname)
                raise Broken("code_error", guards.told_dropped(command), place, self._trial.position)
        self._forgotten.clear()

    def _broken(self, told: str, position: str, reason: str = "code_error") -> Broken:
        place = self._body.place()
        named = told.format(f"transaction {self._trial.name!r}") if _PART in told else told
        return Broken(reason, f"{place.file}:{place.line}: {named}", place, position)

    # ---------------------------------------------------------------------------- asked by what runs in the body

    def dropped(self, command: Command[Any], at: guards.Drop) -> None:
        self._forgotten.append((command, at))

    def patch(self, _: str) -> bool:
        return True  # a group begins anew at every attempt, with the code at hand

    @cached_property
    def info(self) -> RunInfo:
        row = self._engine.store.run(self._trial.run_id, self._connection)
        assert row is not None
        return RunInfo(
            run_id=row.run_id, workflow=row.workflow, version=row.version, key=row.key, parent=row.parent,
            attributes=row.attributes or {}, tick=None, started_at=instant(row.created_at),
        )  # fmt: skip


_PART = (
    "part of {}, which is one database transaction of transactional and pure steps (and gather and fan_out of these): "
    "yield it before or after"
)


def undo(engine: Engine, trial: Trial, running: Running) -> NotNeeded | None:
    """Undo the steps of a transaction, the newest first: all of them, or none."""
    assert trial.entry is not None
    notes: list[str] = []
    for member in reversed(trial.entry.members):
        running.check()
        step = engine.code.steps.get(member.step)
        own = replace(trial, position=member.position, step=step, input=member.input, entry=member)
        its = Running(engine, own, running.connection())
        try:
            value = its.run(called(own))
        finally:
            its.end()
        if isinstance(value, NotNeeded):
            notes.append(value.note)
    return NotNeeded("; ".join(filter(None, notes))) if notes else None
