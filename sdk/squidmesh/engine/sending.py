"""Messages to runs: put down for the holder, which keeps them until the workflow waits for them.

The rule of this file: a message is delivered once a key, and never to a run that is over. Whoever sends it as a
``Signal`` is told at once what does not fit; sent by its bare name, it is judged when its turn comes.
"""

from __future__ import annotations

from typing import Any

from squidmesh.core.codec import encode
from squidmesh.core.events import SignalReceived
from squidmesh.core.payloads import Value, size_check
from squidmesh.core.signals import Signal, signal_name
from squidmesh.engine.continuing import newest
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import look
from squidmesh.engine.wish import checked_key
from squidmesh.errors import InvalidPayload, KeyConflict, PayloadError, RunNotFound
from squidmesh.ports import Bell, BellKind, RunRow


def signal(engine: Engine, run_id: str, what: Signal[Any] | str, payload: Any, key: str | None) -> str:
    """Deliver a message, as somebody outside sends it; the status of the run, which has not looked at it yet.

    :raises InvalidPayload: it does not fit the signal's type, has no JSON form, or is too large.
    :raises RunNotFound: no such run. ``IllegalState``: it is over.
    :raises KeyConflict: the key was used for something else.
    """
    name = what.name if isinstance(what, Signal) else signal_name(what)
    stored, key = _stored(engine, what, name, payload), checked_key(key)
    message = SignalReceived(at=engine.clock.now(), name=name, payload=stored, key=key)
    row, was_put = _delivered(engine, run_id, message)
    if row is None:
        raise RunNotFound(run_id)
    if was_put:
        return row.status
    known = look(engine, row.run_id)
    before = None if key is None else known.keyed(key)
    if before is None:
        raise known.refusal("signal")
    if not isinstance(before, SignalReceived) or before.name != name:
        raise KeyConflict(row.run_id, str(key), f"had it for something else ({before.kind}), not signal {name!r}")
    return known.row.status


def send(engine: Engine, run_id: str, message: SignalReceived) -> bool:
    """Deliver a message, as another run sends it; whether there was somebody to have it (or had it before)."""
    row, was_put = _delivered(engine, run_id, message)
    if row is None or was_put:
        return was_put
    return message.key is not None and look(engine, row.run_id).keyed(message.key) is not None


def _delivered(engine: Engine, run_id: str, message: SignalReceived) -> tuple[RunRow | None, bool]:
    """The run that is meant, and whether it has the message now; should it go on in another one meanwhile, that one."""
    row = _addressee(engine, run_id)
    before: RunRow | None = None
    while row is not None and (before is None or row.run_id != before.run_id):
        if row.ended_at is None and _put(engine, row, message):
            return row, True
        before = row
        row = _addressee(engine, before.run_id)
    return row, False


def _addressee(engine: Engine, run_id: str) -> RunRow | None:
    """The run that gets what is sent to this one: of several that continue one another the newest."""
    row = engine.store.run(run_id)
    return None if row is None else newest(engine, row)


def _put(engine: Engine, row: RunRow, message: SignalReceived) -> bool:
    """Whether it was put down: not if the run has ended since, or one with its key waits there already."""
    put = engine.store.post(row.run_id, message.kind, encode([message]), message.key)
    if put is None or not put[0]:
        return False
    engine.doorbell.ring([Bell(BellKind.ADVANCE, row.queue, row.run_id)])
    return True


def _stored(engine: Engine, what: Signal[Any] | str, name: str, payload: Any) -> Any:
    told = f"the payload of signal {name!r}"
    stored = what.encode(payload) if isinstance(what, Signal) else storable(told, payload)
    return sized(engine, told, stored)


def storable(told: str, value: Any) -> Any:
    """The JSON form of a value of no declared type."""
    try:
        return Value(Any, told).encode(value)
    except PayloadError as refused:
        raise InvalidPayload(told, {"value": str(refused)}) from refused


def sized(engine: Engine, told: str, stored: Any) -> Any:
    """The same, if it is not too large."""
    try:
        size_check(stored, engine.settings.max_payload, told)
    except PayloadError as refused:
        raise InvalidPayload(told, {"value": str(refused)}) from refused
    return stored
