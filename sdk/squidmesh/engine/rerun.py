"""A new run from one that is over: the same workflow, with the same stored input.

The rule of this file: what cannot be undone is not done twice unawares. What that is, history says, not today's code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry
from squidmesh.core.codec import decode
from squidmesh.core.effects import Trait
from squidmesh.core.interpreter import INTERPRETER_VERSION
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known, look
from squidmesh.engine.post import person
from squidmesh.engine.start import begin, new_run
from squidmesh.engine.wish import checked_key
from squidmesh.errors import DefinitionError, KeyConflict, UnsafeRerun


def rerun(
    engine: Engine,
    run_id: str,
    from_position: str | None,
    allow_irreversible: bool,
    actor: str | None,
    note: str | None,
    key: str | None,
) -> str:
    """Start a new run from one that has ended; its id. Started again with the same key it is the same run."""
    by, why = person("rerun", actor, note, needed=allow_irreversible is True)
    if from_position is not None:
        raise DefinitionError(
            "rerun(from_position=…) is not supported yet: without it, all of the workflow runs again from its input"
        )
    key = checked_key(key)
    if key is not None and (before := _before(engine, run_id, key)) is not None:
        return before
    known = look(engine, run_id)
    if not known.ended:
        raise known.refusal("rerun")
    if allow_irreversible is not True and (unsafe := tuple(_unsafe(known))):
        raise UnsafeRerun(run_id, unsafe)
    first = known.history[0]
    assert isinstance(first, ev.RunStarted)
    now = engine.clock.now()
    lasts = first.deadline - max(first.at, first.start_at or 0) if first.deadline is not None else None
    started = replace(
        first, seq=0, at=now, version=_version(engine, first), interpreter_version=INTERPRETER_VERSION, key=key,
        parent=None, start_at=None, deadline=None if lasts is None else now + max(0, lasts), rerun_of=run_id,
        actor=by or None, note=why or None, trace=engine.tracing.caller(),
    )  # fmt: skip
    return begin(engine, [new_run(started)])[0]


def _before(engine: Engine, run_id: str, key: str) -> str | None:
    """The rerun of this run that was started with the key.

    :raises KeyConflict: the key is that of another run.
    """
    row = engine.store.run_by_key(key)
    if row is None:
        return None
    started = decode(engine.store.history(row.run_id)[0].events)[0]
    if not isinstance(started, ev.RunStarted) or started.rerun_of != run_id:
        raise KeyConflict(row.run_id, key, f"is no rerun of run {run_id}")
    return row.run_id


def _version(engine: Engine, first: ev.RunStarted) -> int:
    """That of the run where its code is at hand (or no other is), else the newest."""
    there = [version for name, version in engine.code.workflows if name == first.workflow]
    return first.version if first.version in there or not there else max(there)


def _unsafe(known: Known) -> Iterator[str]:
    """Irreversible steps that have completed, or of which nobody knows: they would run again."""
    told: dict[str, str] = {}
    for entry in known.chain.entries.values():
        told |= {part.position: part.step for part in (entry, *entry.members) if _cannot_be_undone(part)}
    told |= _begun_and_never_ended(known)
    yield from (f"{step} at {position}" for position, step in told.items())


def _cannot_be_undone(entry: Entry) -> bool:
    found_so = entry.settled is not None and entry.settled.state == "irreversible"
    return entry.kind == "step" and (entry.irreversible is not None or found_so)


def _begun_and_never_ended(known: Known) -> dict[str, str]:
    """Irreversible steps that were in doubt, or under way, when the run was ended over them.

    One that is transactional has been rolled back then.
    """
    irreversible: dict[str, str] = {}
    under_way: set[str] = set()
    for event in known.events:
        match event:
            case ev.StepScheduled(traits=traits) if Trait.IRREVERSIBLE in traits and Trait.TRANSACTIONAL not in traits:
                irreversible[event.position] = event.step
            case ev.StepMarkedIrreversible():
                irreversible[event.position] = known.steps.get(event.position, "a step")
            case ev.AttemptStarted() | ev.AttemptLost() | ev.StepInDoubt():
                under_way.add(event.position)
            case ev.AttemptFailed(effect="none") | ev.StepCompleted() | ev.StepFailed() | ev.StepSkipped():
                under_way.discard(event.position)
            case ev.AttemptFailed():
                under_way.add(event.position)
            case _:
                pass
    return {position: step for position, step in irreversible.items() if position in under_way}
