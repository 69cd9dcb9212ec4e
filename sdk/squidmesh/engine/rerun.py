"""A new run from one that is over: the same workflow with the same stored input, from its beginning or from a position.

It is nobody's child, of no schedule's tick, and no link of a chain, whatever the old run was: a rerun of a link begins
with that link's input, and published nothing yet. A fork has behind it what that link had: its published values, and
the keys of messages that were heard. What earlier links have done, and what it has kept, stays for those runs to undo.

The rule of this file: what was undone is not taken for done, and what a new run is told of an old one is a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.codec import decode
from squidmesh.core.forking import Forked, Unforkable, fork, undone
from squidmesh.core.interpreter import INTERPRETER_VERSION
from squidmesh.core.past import descent
from squidmesh.core.places import is_known, places
from squidmesh.core.status import ENDED
from squidmesh.engine.continuing import kept_of, newest
from squidmesh.engine.engine import Engine
from squidmesh.engine.irreversible import unsafe_steps
from squidmesh.engine.known import Known, look
from squidmesh.engine.post import person
from squidmesh.engine.start import begin, new_run
from squidmesh.engine.wish import checked_key
from squidmesh.errors import DefinitionError, KeyConflict, NoSuchEntry, RunNotFound, UnsafeRerun

SHOWN = 40
"""Positions that somebody is told who names one that there is not."""


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
    key = checked_key(key)
    if key is not None and (before := _before(engine, run_id, key, from_position)) is not None:
        return before
    known = look(engine, run_id)
    if not known.ended or newest(engine, known.row).status not in ENDED:  # of a chain, all of it
        raise known.refusal("rerun")
    first = known.history[0]
    assert isinstance(first, ev.RunStarted)
    forked = None if from_position is None else _forked(engine, known, from_position, by, why)
    runs_again: Callable[[str], bool] = (lambda _: True) if forked is None else forked.again
    if allow_irreversible is not True and (unsafe := tuple(unsafe_steps(engine, known, runs_again))):
        raise UnsafeRerun(run_id, unsafe)
    started = _started(engine, run_id, first, key, by, why)
    if forked is not None and from_position is not None:
        started = replace(
            started, version=first.version, from_position=from_position, kept=forked.kept,
            ancestors=descent(run_id, first, from_position), carried=kept_of(first),
        )  # fmt: skip
    new = begin(engine, [new_run(started, forked.events if forked is not None else ())])[0]
    return new if key is None else _before(engine, run_id, key, from_position) or new


def _started(engine: Engine, run_id: str, first: ev.RunStarted, key: str | None, by: str, why: str) -> ev.RunStarted:
    """The first event of the new run: it begins now, and has as long as the old one had."""
    now = engine.clock.now()
    lasts = first.deadline - max(first.at, first.start_at or 0) if first.deadline is not None else None
    return replace(
        first, seq=0, at=now, version=_version(engine, first), interpreter_version=INTERPRETER_VERSION, key=key,
        parent=None, start_at=None, deadline=None if lasts is None else now + max(0, lasts), rerun_of=run_id,
        actor=by or None, note=why or None, trace=engine.tracing.caller(), from_position=None, kept=0, ancestors=[],
        parent_position=None, parent_queue=None, depth=0, tick=None, continues=None, carried=None,
    )  # fmt: skip


def _before(engine: Engine, run_id: str, key: str, from_position: str | None) -> str | None:
    """The rerun of this run, from this position, that was started with the key.

    :raises KeyConflict: the key is that of another run.
    """
    row = engine.store.run_by_key(key)
    if row is None:
        return None
    oldest = row.chain or row.run_id  # its successors have its key
    history = engine.store.history(oldest)
    started = decode(history[0].events)[0] if history else None
    if not isinstance(started, ev.RunStarted) or started.rerun_of != run_id:
        raise KeyConflict(row.run_id, key, f"is no rerun of run {run_id}")
    if started.from_position != from_position:
        place = "its beginning" if started.from_position is None else f"position {started.from_position}"
        raise KeyConflict(row.run_id, key, f"is a rerun of it from {place}")
    return oldest


def _version(engine: Engine, first: ev.RunStarted) -> int:
    """That of the run where its code is at hand (or no other is), else the newest."""
    there = _versions(engine, first)
    return first.version if first.version in there or not there else max(there)


def _versions(engine: Engine, first: ev.RunStarted) -> list[int]:
    return [version for name, version in engine.code.workflows if name == first.workflow]


# ------------------------------------------------------------------------------------------- from a position


def _forked(engine: Engine, known: Known, position: Any, by: str, why: str) -> Forked:
    """What the new run begins with that goes on from a position of this one.

    :raises NoSuchEntry: there is no such position; it has those that there are.
    :raises IllegalState: it cannot be gone on from; what precedes it was undone, or cannot be kept.
    :raises DefinitionError: only other versions of the workflow are at hand, whose positions these are not.
    """
    run_id, first = known.row.run_id, known.history[0]
    assert isinstance(first, ev.RunStarted)
    if not isinstance(position, str) or not is_known(known.history, position):
        there = [f"{name} at {at}".replace("`", "") for at, name in places(known.history).items()]
        shown = there if len(there) <= SHOWN else [*there[: SHOWN - 1], "…", there[-1]]
        raise NoSuchEntry(run_id, str(position), tuple(shown), "position")
    there_are = _versions(engine, first)
    if there_are and first.version not in there_are:
        raise DefinitionError(
            f"run {run_id} is of {first.workflow!r} version {first.version}, which is not registered here: its "
            f"positions are those of that version; rerun() without from_position= runs all of it with version "
            f"{max(there_are)}"
        )
    command = f"rerun(from_position={position!r})"
    told = why or f"it had not come out in run {run_id}, which this one goes on from"
    try:
        forked = fork(known.history, position, by or "rerun", told)
    except Unforkable as refused:
        raise known.refusal(command, str(refused)) from refused
    for ancestor in descent(run_id, first, position):
        if ancestor["run_id"] != run_id and (gone := _undone_there(engine, ancestor["run_id"], ancestor["before"])):
            raise known.refusal(command, f"what precedes it was undone in run {ancestor['run_id']} ({gone})")
    return forked


def _undone_there(engine: Engine, run_id: str, before: str) -> str:
    """What another run, whose results this one has kept, has undone since; of one that is gone nobody knows."""
    try:
        return ", ".join(undone(look(engine, run_id).history, before))
    except RunNotFound:
        return ""
