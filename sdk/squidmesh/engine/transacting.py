"""Calls that commit with their record: the body's rows, its result and its event are one database transaction.

    begin ─▶ the body, on ``context().connection`` ─▶ its outcome as events ─▶ record (fenced) ─▶ commit

A body that fails is rolled back, and its failure is for whoever asked to record, as that of any other call. Where
others were at work at the same time (a serialization failure, a deadlock, a busy file), all of it is run again, and no
attempt is used. Where nobody knows whether the commit got through, the database is asked.

The rule of this file: what is not recorded has not happened. A body that does not come back in time is left behind
with a connection that is closed to it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.broken import Broken
from squidmesh.core.codec import decode, decode_rows
from squidmesh.core.events import Event
from squidmesh.core.transactions import Transaction as Transacted
from squidmesh.engine import bodies, grouping, outcomes
from squidmesh.engine.called import called
from squidmesh.engine.calling import Trial
from squidmesh.engine.engine import Engine
from squidmesh.engine.running import Running
from squidmesh.errors import StoreUnavailable
from squidmesh.ports import Transaction

Record = Callable[[Transaction, Sequence[Event]], bool]
"""Writes the events in this transaction, fenced; False: the call is not ours any more."""

MOST_COLLISIONS = 12
"""How often a call is run again because of others, before that counts as its failure."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5  # seconds between two of these, by chance up to this

SQLITE_LIMIT = 5.0
"""Seconds for which a body may hold a SQLite file, which nobody else writes meanwhile, unless its step says so."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it: ``events``, recorded already or still to be; or it was ``refused``; or its code is broken."""

    events: Sequence[Event] = ()
    recorded: bool = False
    refused: bool = False
    broken: Broken | None = None


class _Refused(Exception):
    """Leaves the transaction because of its fence."""


class _NotDone(Exception):
    """Leaves the transaction because of what the body raised, or returned."""

    def __init__(self, error: BaseException, wanted: bool) -> None:
        self.error, self.wanted = error, wanted


class _Unstorable(Exception):
    """What the body returned; ``events`` tell of it."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events


def run(engine: Engine, trial: Trial, record: Record) -> Done:
    """Make the call and record it, in one transaction.

    :raises StoreUnavailable: the database went away, and may have committed it: the call is as good as lost.
    """
    collisions = 0
    while True:
        trial.begun, wanted = engine.clock.now(), True
        try:
            return Done(_committed(engine, trial, record), recorded=True)
        except StoreUnavailable:
            raise
        except _Refused:
            return Done(refused=True)
        except _NotDone as not_done:
            error, wanted = not_done.error, not_done.wanted
        except Exception as failed:
            if not engine.store.collided(failed):
                raise
            error = failed
        match error:
            case _Unstorable(events=events):
                return Done(events)
            case Broken():
                return Done(broken=error)
            case _ if collisions == MOST_COLLISIONS or not engine.store.collided(error):
                return Done(outcomes.raised(engine, trial, error, wanted))
            case _:
                pass
        collisions += 1
        time.sleep(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**collisions)))


def _committed(engine: Engine, trial: Trial, record: Record) -> list[Event]:
    events: list[Event] = []
    recorded = False
    try:
        with engine.store.transaction() as transaction:
            events = _events(engine, trial, transaction.connection)
            if not record(transaction, events):
                raise _Refused
            recorded = True
    except StoreUnavailable:
        if not (recorded and _is_there(engine, trial, events[-1])):
            raise
    return events


def _events(engine: Engine, trial: Trial, connection: Any) -> list[Event]:
    """Run the body: what it said, and what comes of it, if that is to be committed."""
    begun, running = connection.get_transaction(), Running(engine, trial, connection)
    try:
        said, value = _said(engine, trial, running)
        if not begun.is_active or connection.get_transaction() is not begun:
            raise RuntimeError(_ENDED.format(trial.told))
        events = outcomes.returned(engine, trial, value)
        if isinstance(events[-1], ev.AttemptFailed) or getattr(events[-1], "outcome", None) == "failed":
            raise _Unstorable(events)
    except BaseException as error:  # whatever a body raises is its own failure
        if connection.invalidated:
            raise StoreUnavailable(f"the database went away while {trial.told} was using it: {error}") from error
        raise _NotDone(error, running.wanted) from error
    finally:
        running.end()
    return [*said, *events]


def _said(engine: Engine, trial: Trial, running: Running) -> tuple[Sequence[Event], Any]:
    """Run the body, on this thread or, where it has limits, on another: events of its own, and what it returned."""
    if trial.entry is None and isinstance(trial.step, Transacted):
        group = grouping.Group(engine, trial, running)
        return group.events, _limited(engine, trial, running, group.run)
    if trial.entry is not None and trial.entry.kind == "transaction" and trial.entry.function is None:
        return running.said, _limited(engine, trial, running, lambda: grouping.undo(engine, trial, running))
    body = called(trial)
    return running.said, _limited(engine, trial, running, lambda: running.direct(body))


def _limited(engine: Engine, trial: Trial, running: Running, body: Callable[[], Any]) -> Any:
    limit = trial.timeout
    if running.connection().dialect.name == "sqlite":
        limit = min(limit or SQLITE_LIMIT, engine.settings.lease / 2)
    if limit is None and trial.heartbeat_timeout is None:
        return body()
    return bodies.run_limited(body, trial.told, limit, trial.heartbeat_timeout, lambda: running.beat)


def _is_there(engine: Engine, trial: Trial, event: Event) -> bool:
    """Whether it was committed: it waits in the inbox (that of a task), or stands in the history."""
    waiting = [found for row in engine.store.inbox(trial.run_id) for found in decode(row.events)]
    rows = engine.store.history(trial.run_id, trial.scheduled_seq)
    there = decode_rows([(row.seq, row.events) for row in rows])
    return any(replace(found, seq=0) == event for found in (*waiting, *there))


_ENDED = (
    "{} has ended the transaction that it runs in: commit and rollback are the engine's; for a part that may fail, use "
    "a savepoint (connection.begin_nested()), or a Session bound to the connection inside of one"
)
