"""What people and messages tell a run: put down for its holder, in one transaction with the ping that makes it look.

The rule of this file: each command of a person is one event. Nothing here waits for what becomes of it.
"""

from __future__ import annotations

from typing import Any

from squidmesh.core.codec import encode
from squidmesh.core.events import CancelRequested, Event
from squidmesh.core.status import ENDED
from squidmesh.engine.engine import Engine
from squidmesh.errors import IllegalState, RunNotFound
from squidmesh.ports import Bell, BellKind


def post(
    engine: Engine, run_id: str, command: str, event: Event, key: str | None = None, connection: Any = None
) -> str:
    """Put the event of a command down for a run; its status as it stands.

    :raises RunNotFound: no such run.
    :raises IllegalState: it has ended.
    """
    row = engine.store.run(run_id, connection)
    if row is None:
        raise RunNotFound(run_id)
    put = engine.store.post(run_id, event.kind, encode([event]), key, connection)
    if put is None:
        raise RunNotFound(run_id)
    posted, status = put
    if not posted and key is None and status in ENDED:
        raise IllegalState(run_id, status, command)
    engine.doorbell.ring([Bell(BellKind.ADVANCE, row.queue, run_id)])
    return status


def cancel(engine: Engine, run_id: str, actor: str | None, note: str | None, key: str | None) -> str:
    """Ask a run to end: nothing new starts, what is in flight settles, then it is cancelled."""
    at = engine.clock.now()
    return post(engine, run_id, "cancel", CancelRequested(at=at, actor=actor, note=note, key=key), key)
