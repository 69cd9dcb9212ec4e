"""Which run a child with a key is: a new one, or one that is there already and is joined.

The rule of this file: a look, whose answer is recorded by the append that starts the child; should its key be taken
between the two, nothing is written, and the run is taken up again. A run never joins one that waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core.events import Event
from squidmesh.core.failure import describe
from squidmesh.engine.engine import Engine
from squidmesh.engine.live import Live
from squidmesh.engine.start import same_start
from squidmesh.errors import KeyConflict
from squidmesh.ports import RunRow

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker


def link(worker: Worker, live: Live) -> list[Event]:
    """What is known of the children with keys that the run has just asked for."""
    engine, facts = worker.engine, list[Event]()
    for node in live.interpreter.asked.links.values():
        asked = replace(node.asked, at=engine.clock.now())
        key = str(asked.options["key"])
        sibling = next((e for e in facts if _new_with(e, key)), None)
        row = engine.store.run_by_key(key)
        refused: KeyConflict | RecursionError | None
        if isinstance(sibling, ev.ChildStarted):
            found, refused = sibling.run_id, _unlike(asked, key, sibling)
        elif row is not None:
            found, refused = (
                row.run_id,
                _other(engine, asked, key, row.run_id) or _waits(engine, live, row),
            )
            asked = replace(asked, queue=row.queue)
        else:
            facts.append(asked)
            continue
        facts.append(replace(asked, run_id=found, joined=True))
        if refused is not None:
            failure = describe(refused)
            facts.append(ev.ChildEnded(
                at=asked.at, position=asked.position, run_id=found, outcome="failed", failure=failure, effects=False,
            ))  # fmt: skip
    return facts


def _new_with(event: Event, key: str) -> bool:
    return isinstance(event, ev.ChildStarted) and not event.joined and event.options.get("key") == key


def _other(engine: Engine, asked: ev.ChildStarted, key: str, run_id: str) -> KeyConflict | None:
    """Why a key cannot be joined: its run is of another workflow or input."""
    try:
        same_start(engine, run_id, key, asked.workflow, asked.input)
    except KeyConflict as conflict:
        return conflict
    return None


def _unlike(asked: ev.ChildStarted, key: str, sibling: ev.ChildStarted) -> KeyConflict | None:
    """The same of a child that is started beside it."""
    if (sibling.workflow, sibling.input) == (asked.workflow, asked.input):
        return None
    return KeyConflict(sibling.run_id, key, "is started with another workflow or input beside this one")


def _waits(engine: Engine, live: Live, row: RunRow) -> RecursionError | None:
    """Whether a run that is to be joined waits for this one: it is this one, or has started it."""
    if row.ended_at is None and row.run_id in (live.run_id, *_ancestors(engine, live)):
        return RecursionError(
            f"run {row.run_id} waits for run {live.run_id}, which would wait for it: neither would end"
        )
    return None


def _ancestors(engine: Engine, live: Live) -> Iterator[str]:
    parent = live.run.parent
    while parent is not None:
        yield parent
        row = engine.store.run(parent)
        parent = None if row is None else row.parent
