"""What people tell a run: put down for its holder, in one transaction with the ping that makes it look.

The rule of this file: each command of a person is one event. It is judged by the run as it stands when it is put down,
and judged anew if the run has moved on in between. Nothing here waits for what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from squidmesh.core import events as ev
from squidmesh.core.codec import encode
from squidmesh.core.events import Event
from squidmesh.engine.continuing import newest
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known, look
from squidmesh.engine.wish import checked_key
from squidmesh.errors import KeyConflict, RunNotFound
from squidmesh.ports import Bell, BellKind

COMMANDS: dict[str, type[Event]] = {
    "cancel": ev.CancelRequested,
    "terminate": ev.RunTerminated,
    "fail": ev.FailRequested,
    "rollback": ev.RollbackStarted,
    "undo_retry": ev.UndoRetried,
    "undo_skip": ev.UndoSkipped,
    "undo_mark_done": ev.EntrySettled,
    "undo_abandon": ev.RollbackAbandoned,
    "resolve_step": ev.StepResolved,
    "retry_step": ev.StepRetried,
    "skip_step": ev.StepSkipped,
    "approve": ev.VoteCast,
    "reject": ev.VoteCast,
    "resume": ev.GateDecided,
    "hold": ev.RunHeld,
    "release": ev.RunReleased,
}
"""The commands of people by name, and the event that each of them is."""

TRIES = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command puts down. ``reopen``: the status in which a run that has ended is opened again for it."""

    event: Event
    reopen: str | None = None


Judge = Callable[[Known], Asked | None]
"""Looks at the run, and refuses the command, or says what it puts down; None: nothing is to be done any more."""


def post(engine: Engine, run_id: str, command: str, key: str | None, judge: Judge) -> Known:
    """Put a command down for a run; the run as it stands after that (its own answer is to come).

    Of runs that continue one another it is the newest that is meant.
    With a key that this command was given before nothing is put down.

    :raises RunNotFound: no such run.
    :raises KeyConflict: another command of this run had the key.
    """
    key = checked_key(key)
    for _ in range(TRIES):
        known = look(engine, run_id)
        while (link := newest(engine, known.row).run_id) != run_id:  # it may go on in another one as we look
            run_id = link
            known = look(engine, run_id)
        if key is not None and (before := known.keyed(key)) is not None:
            if not _is(command, before):
                raise KeyConflict(run_id, key, f"had it for another command ({before.kind}), not {command}")
            return known
        asked = judge(known)
        if asked is None:
            return known
        event = replace(asked.event, at=engine.clock.now())
        put = engine.store.post(run_id, event.kind, encode([event]), key, reopen=asked.reopen)
        if put is None:
            raise RunNotFound(run_id)
        posted, status = put
        if posted:
            engine.doorbell.ring([Bell(BellKind.ADVANCE, known.row.queue, run_id)])
            known.row, known.posted = replace(known.row, status=status), event
            return known
        # It has ended, or the key was used, since we looked.
    raise look(engine, run_id).refusal(command)


def _is(command: str, event: Event) -> bool:
    """Whether an event is what this command puts down."""
    if isinstance(event, ev.SignalRejected):
        return command == "resume"  # with what did not fit
    votes_no = isinstance(event, ev.VoteCast) and not event.approved
    return isinstance(event, COMMANDS[command]) and votes_no is (command == "reject")


def person(
    command: str, actor: object, note: object, *, needed: bool = True, noted: bool | None = None
) -> tuple[str, str]:
    """Who acts, and why, as they are recorded; unsaid, where it is not needed, is ``""``.

    What is said must not be empty in any case. ``noted``: whether the note is needed, too; as the actor by default.

    :raises ValueError: naming the parameter.
    """
    told = {"actor": "who decides this", "note": "why"}
    for name, value, must in (("actor", actor, needed), ("note", note, needed if noted is None else noted)):
        if (value is None and must) or (value is not None and not (isinstance(value, str) and value.strip())):
            raise ValueError(f"{command}: {name}= says {told[name]}: a text that is not empty, not {value!r}")
    return str(actor or "").strip(), str(note or "").strip()
