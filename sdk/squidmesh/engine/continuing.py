"""Runs that continue one another: what the successor has of the run before it, and who is meant by any of them.

The rule of this file: to everybody outside the links of a chain are one run. What reaches an older link, because it was
on its way when that ended, is passed on to the newest, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.codec import encode
from squidmesh.core.events import Event
from squidmesh.core.interpreter import INTERPRETER_VERSION
from squidmesh.core.status import RunStatus
from squidmesh.core.trace import RUN, at_place
from squidmesh.engine.engine import Engine
from squidmesh.engine.live import Live
from squidmesh.engine.start import new_run
from squidmesh.ports import Letter, NewRun, RunRow

MOST_KEYS = 1_000
"""Keys of messages of the whole chain that are remembered, the newest."""

PASSED_ON = (
    ev.SignalReceived, ev.CancelRequested, ev.FailRequested, ev.RunTerminated, ev.RunHeld, ev.RunReleased, ev.RunJoined,
)  # fmt: skip
"""What is meant for the run as others see it, not for one link of it."""


def newest(engine: Engine, row: RunRow) -> RunRow:
    """The run that is meant by one of a chain: the newest."""
    if row.status != RunStatus.CONTINUED or row.chain is None:
        return row
    return engine.store.newest(row.chain) or row


def chain_of(live: Live) -> str | None:
    """The chain that a run becomes a link of, now that it ends."""
    return (live.run.chain or live.run_id) if isinstance(live.interpreter.end, ev.RunContinued) else None


def successor(live: Live, end: ev.RunContinued) -> NewRun:
    """The rows of the run that goes on where this one ends."""
    run, first, row = live.interpreter, live.interpreter.first, live.run
    before = first.carried or {}
    carried = {
        "workflow": before.get("workflow", first.workflow),
        "input": before.get("input", first.input),
        "published": run.asked.published,
        "keys": list(run.mail.keys)[-MOST_KEYS:],
        "armed": next(run.chain.armed(), None) is not None,
        "queue": row.queue,
    }
    started = ev.RunStarted(
        at=end.at, workflow=end.workflow, version=end.version, input=end.input, interpreter_version=INTERPRETER_VERSION,
        key=row.key, queue=end.queue, priority=row.priority, attributes=first.attributes, parent=first.parent,
        deadline=first.deadline, tick=first.tick, parent_position=first.parent_position,
        parent_queue=first.parent_queue, depth=first.depth, continues=live.run_id, carried=carried,
        trace=first.trace or at_place(live.run_id, None, RUN),
    )  # fmt: skip
    waiting = [ev.SignalReceived(at=end.at, name=name, payload=payload) for name, payload in run.mail.untaken()]
    events: list[Event] = [started, *waiting, *(replace(joined, seq=0) for joined in run.joined)]
    chain = row.chain or live.run_id
    return replace(new_run(started), run_id=end.run_id, events=encode(events), count=len(events), chain=chain)


def kept_of(first: ev.RunStarted) -> dict[str, Any] | None:
    """What a run that begins with a part of this one's history has of what this one was given: it is no link of that
    chain, and its input is its own."""
    if first.carried is None:
        return None
    return first.carried | {"workflow": first.workflow, "input": first.input, "armed": False}


def passed_on(events: Iterable[Event], to: RunRow) -> Iterator[Letter]:
    """What came too late for this link, to the newest."""
    for event in events:
        key = getattr(event, "key", None)
        yield Letter(to.run_id, event.kind, encode([event]), to.queue, key=key, opens="")
