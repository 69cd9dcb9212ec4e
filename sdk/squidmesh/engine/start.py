"""Starting runs: one transaction for all that are asked for, then the bell.

The rule of this file: a key is used once. Started again with the same input it is the same run; with another, an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from squidmesh.core.calls import Call
from squidmesh.core.codec import decode, encode
from squidmesh.core.events import Event, RunStarted
from squidmesh.core.interpreter import INTERPRETER_VERSION
from squidmesh.core.payloads import dumps, size_check
from squidmesh.core.workflow import Workflow
from squidmesh.engine.engine import Engine
from squidmesh.engine.ids import run_id
from squidmesh.engine.wish import Wish, checked_key
from squidmesh.errors import DefinitionError, KeyConflict
from squidmesh.ports import Bell, BellKind, NewRun

logger = logging.getLogger("squidmesh.engine")

MANY = 64  # bells for a bulk of runs; each wakes a worker that goes on until nothing is due


def start(
    engine: Engine, calls: Sequence[Call[Any]], keys: Sequence[str | None], wish: Wish, connection: Any = None
) -> list[str]:
    """Start a run for each call; the ids, in the order of the calls.

    :raises KeyConflict: a key belongs to a run of another workflow or input; nothing at all is started then.
    """
    created = engine.clock.now()
    trace = engine.tracing.caller()
    runs = [_new(engine, call, key, wish, created, trace) for call, key in zip(calls, keys, strict=True)]
    return begin(engine, runs, connection)


def begin(engine: Engine, runs: Sequence[NewRun], connection: Any = None) -> list[str]:
    """Start runs that are made already; the ids, in their order. :raises KeyConflict: as ``start``."""
    keyed = [run for run in runs if run.key is not None] if len(runs) > 1 else []
    known = _known(engine, keyed, connection)  # several are started all or none; a single one, or not
    fresh = _once([run for run in runs if run.key not in known])
    inserted = set(engine.store.start(fresh, connection))
    while left := [run for run in fresh if run.run_id not in inserted and run.key not in known]:
        known |= _known(engine, left, connection)  # a key was used before, or between the look and the insert
        inserted |= set(engine.store.start([run for run in left if run.key not in known], connection))  # or pruned then
    by_key = {run.key: run.run_id for run in fresh if run.run_id in inserted} | known
    begun = [run for run in fresh if run.run_id in inserted]
    if connection is None:
        tell(engine, begun)
    elif begun:
        engine.store.after_commit(connection, lambda: tell(engine, begun))
    return [run.run_id if run.key is None else by_key[run.key] for run in runs]


def _new(engine: Engine, call: Call[Any], key: str | None, wish: Wish, created: int, trace: str | None) -> NewRun:
    workflow, overrides = call.definition, call.overrides
    if not isinstance(workflow, Workflow):
        raise DefinitionError(f"{call.told()} is a step: start a workflow, which yields it")
    key = checked_key(overrides.key if key is None else key)
    size_check(call.input, engine.settings.max_payload, f"the input of workflow {workflow.name!r}")
    queue = wish.queue or overrides.queue or workflow.queue or "default"
    started = RunStarted(
        at=created, workflow=workflow.name, version=workflow.version, input=call.input,
        interpreter_version=INTERPRETER_VERSION, key=key, queue=queue, priority=wish.priority,
        attributes=dict(wish.attributes) if wish.attributes else None, start_at=wish.at, deadline=wish.deadline,
        trace=trace,
    )  # fmt: skip
    return new_run(started)


def new_run(started: RunStarted, kept: Sequence[Event] = ()) -> NewRun:
    """The rows of a run that begins with this event, and its id; ``kept`` is what a fork has behind it."""
    return NewRun(
        run_id=run_id(started.at), workflow=started.workflow, version=started.version, key=started.key,
        queue=started.queue, priority=started.priority, attributes=started.attributes, parent=started.parent,
        created_at=started.at, due_at=max(started.at, started.start_at or 0), deadline=started.deadline,
        events=encode([started, *kept]), count=1 + len(kept), trace=started.trace,
    )  # fmt: skip


def _known(engine: Engine, runs: Sequence[NewRun], connection: Any) -> dict[str | None, str]:
    """The runs that have these keys already, if their input agrees."""
    found: dict[str | None, str] = {}
    for run in runs:
        assert run.key is not None
        row = engine.store.run_by_key(run.key, connection=connection)
        if row is None:
            continue
        wanted = decode(run.events)[0]
        assert isinstance(wanted, RunStarted)
        if same_start(engine, row.run_id, run.key, wanted.workflow, wanted.input, connection):
            found[run.key] = row.run_id
    return found


def same_start(
    engine: Engine, known: str, key: str, workflow: str, wanted: dict[str, Any], connection: Any = None
) -> bool:
    """Whether a run that has a key is there (it may just have been pruned), started with this workflow and input.

    :raises KeyConflict: with others. Of runs that continue one another the first one's counts.
    """
    history = engine.store.history(known, connection=connection)
    if not history:
        return False
    first = decode(history[0].events)[0]
    assert isinstance(first, RunStarted)
    had = first.carried or {"workflow": first.workflow, "input": first.input}
    if had["workflow"] != workflow:
        raise KeyConflict(known, key, f"is of workflow {had['workflow']!r}, not {workflow!r}")
    if dumps(_sorted(had["input"])) != dumps(_sorted(wanted)):
        raise KeyConflict(known, key, "was started with another input")
    return True


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _once(runs: Sequence[NewRun]) -> list[NewRun]:
    """The runs without those that repeat a key of an earlier one, whose input must agree."""
    first: dict[str, NewRun] = {}
    kept: list[NewRun] = []
    for run in runs:
        earlier = first.setdefault(run.key, run) if run.key is not None else run
        if earlier is run:
            kept.append(run)
        elif decode(earlier.events)[0].input != decode(run.events)[0].input:  # type: ignore[attr-defined]
            assert run.key is not None
            raise KeyConflict(earlier.run_id, run.key, "is started with another input in the same call")
    return kept


def tell(engine: Engine, begun: Sequence[NewRun]) -> None:
    """Ring for runs that were committed, and let the observers know."""
    if bells := bells_of(engine, begun):
        engine.doorbell.ring(bells)
    show(engine, begun)


def bells_of(engine: Engine, begun: Sequence[NewRun]) -> list[Bell]:
    """What wakes workers for runs that were committed: of many, as many as may be idle."""
    due = [run for run in begun if run.due_at <= run.created_at]
    if len(due) <= 2:
        traced = engine.tracing.bell
        return [Bell(BellKind.ADVANCE, run.queue, run.run_id, traced(run.run_id, run.trace)) for run in due]
    return [Bell(BellKind.DRAIN, due[n % len(due)].queue) for n in range(min(len(due), MANY))]


def show(engine: Engine, begun: Sequence[NewRun]) -> None:
    """Let the observers know of runs that were committed."""
    if engine.observers:
        for run in begun:
            engine.observe(run.run_id, run.workflow, 1, decode(run.events)[:1])  # what a fork has kept is no news
