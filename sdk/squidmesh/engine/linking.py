"""Which run a child with a key is: a new one, or one that is there already and is joined.

The rule of this file: a look, whose answer is recorded by the append that starts the child; should its key be taken or
be free between the two, nothing is written, and the run is taken up again. A run never joins one that waits for it, be
it through others; two that look at the same instant see it when they hear of each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core.codec import decode
from squidmesh.core.events import Event
from squidmesh.core.failure import describe
from squidmesh.core.nodes import ChildNode
from squidmesh.engine.engine import Engine
from squidmesh.engine.live import Live
from squidmesh.engine.start import same_start
from squidmesh.errors import KeyConflict
from squidmesh.ports import RunRow

JOINED = f'"{ev.RunJoined.__name__}"'

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
                _other(engine, asked, key, row.run_id) or _waits(engine, live.run_id, row),
            )
            asked = replace(asked, queue=row.queue)
        else:
            facts.append(asked)
            continue
        facts.append(replace(asked, run_id=found, joined=True))
        if refused is not None:
            facts.append(_failed(asked, found, refused))
    return facts


def circles(worker: Worker, live: Live) -> list[Event]:
    """The end of waiting for those that this run has joined and of which it has just heard that they wait for it."""
    if not any(isinstance(event, ev.RunJoined) for event in live.pending):
        return []
    facts, now = list[Event](), worker.engine.clock.now()
    for leaf in live.interpreter.open.values():
        if isinstance(leaf, ChildNode) and leaf.joined and (row := worker.engine.store.run(leaf.run_id)) is not None:
            waits = _waits(worker.engine, live.run_id, row)
            if waits is not None:
                facts.append(_failed(replace(leaf.asked, at=now), leaf.run_id, waits))
    return facts


def _failed(asked: ev.ChildStarted, run_id: str, refused: KeyConflict | RecursionError) -> Event:
    return ev.ChildEnded(
        at=asked.at, position=asked.position, run_id=run_id, outcome="failed", failure=describe(refused), effects=False
    )


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


def _waits(engine: Engine, run_id: str, row: RunRow) -> RecursionError | None:
    """Whether a run that is to be joined waits for this one: it is this one, or has started or joined it."""
    if row.ended_at is None and row.run_id in _waiting_for(engine, run_id):
        return RecursionError(f"run {row.run_id} waits for run {run_id}, which would wait for it: neither would end")
    return None


def _waiting_for(engine: Engine, run_id: str) -> Iterator[str]:
    """The run, and all that wait for its end, be it through others."""
    seen, todo = {run_id}, deque([run_id])
    while todo:
        yield (one := todo.popleft())
        row = engine.store.run(one)
        parent = [row.parent] if row is not None and row.parent is not None else []
        others = [other for other in (*parent, *_joined_by(engine, one)) if other not in seen]
        seen.update(others)
        todo.extend(others)


def _joined_by(engine: Engine, run_id: str) -> Iterator[str]:
    """Who has joined a run by its key, whether its holder knows of it or not."""
    written = [row.events for row in engine.store.history(run_id)] + [row.events for row in engine.store.inbox(run_id)]
    for events in written:
        if JOINED in events:
            yield from (event.run_id for event in decode(events) if isinstance(event, ev.RunJoined))
