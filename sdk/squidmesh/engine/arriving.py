"""What arrives for a run, held against where it stands: taken up as an event of its history, or dropped.

The rule of this file: whoever sent it looked at an older history. What no longer applies (the second of two people who
pressed at the same instant, a report that came too late) changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain, Entry
from squidmesh.core.events import Event
from squidmesh.core.gates import APPROVAL, PAUSE, Gate, decisive
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import DOUBT, StepNode
from squidmesh.errors import InvalidPayload, PayloadError


def taken_up(run: Interpreter, event: Event, wants_code: bool = False) -> Event | None:
    """The event as it is to be recorded; None when it does not apply (any more).

    ``wants_code``: the run is blocked by code or a value, and waits for other code, or for somebody to release it.
    """
    match event:
        case ev.CancelRequested() | ev.FailRequested():
            return event if run.endable or run.held is not None else None
        case ev.RunTerminated():
            return event if not run.ended or run.ledger.rolling else None
        case ev.RollbackStarted(number=0, asked_by=str()) | ev.RunJoined():
            return event
        case ev.RollbackStarted(number=0):
            asked = run.ended and not run.ledger.rolling and next(run.chain.armed(), None) is not None
            return replace(event, number=len(run.chain.rollbacks) + 1) if asked else None
        case _ if isinstance(event, OF_A_WALK):
            return event if _fits_the_walk(run, event) else None
        case ev.CheckpointSaved(position=home) if ":undo" in home:  # of an undo, not of the step
            known = run.chain.entries.get(home.removesuffix(":undo"))
            return event if known is not None and known.settled is None and not known.done else None
        case ev.StepResolved(position=position):
            node = run.open.get(position)
            return event if isinstance(node, StepNode) and node.stage == DOUBT else None
        case ev.StepRetried(position=position) | ev.StepSkipped(position=position):
            stuck = run.blocked
            return event if stuck is not None and stuck.reason == "past_pivot" and stuck.position == position else None
        case ev.UndoRegistered() | ev.StepMarkedIrreversible():
            return event
        case ev.SignalReceived(key=key):
            return event if not run.ended and (key is None or key not in run.mail.keys) else None
        case ev.VoteCast(position=position, actor=actor):
            gate = run.asked.gates.get(position)
            if gate is None or gate.gate.kind != APPROVAL or actor in gate.votes:
                return None
            return event if decisive(gate.votes.values(), gate.needed) is None else None
        case ev.GateDecided(position=position):
            gate = run.asked.gates.get(position)
            return _resumed(gate.gate, event) if gate is not None and gate.gate.kind == PAUSE else None
        case ev.RunHeld():
            return event if run.held is None and run.endable else None
        case ev.RunReleased():
            return event if run.held is not None or wants_code else None
        case ev.ChildEnded(position=position) if position in run.chain.deferred:
            return event
        case ev.StepCompleted(position=position) if position not in run.open:
            late = run.chain.entries.get(position)
            return event if late is not None and not late.certain and late.settled is None else None
        case _:
            at = getattr(event, "position", None)
            return event if at is None or at in run.open else None


OF_A_WALK = (
    ev.UndoStarted, ev.UndoFailed, ev.UndoCompleted, ev.UndoRetried, ev.UndoSkipped, ev.EntrySettled,
    ev.RollbackAbandoned,
)  # fmt: skip


def _fits_the_walk(run: Interpreter, event: Event) -> bool:
    match event:
        case ev.UndoStarted(entry=entry) | ev.UndoFailed(entry=entry) | ev.UndoCompleted(entry=entry):
            known = run.chain.entries.get(entry)
            return known is not None and known.settled is None and not known.done
        case ev.UndoRetried(entry=entry):
            return _failed(run.chain, entry) is not None
        case ev.UndoSkipped(entry=entry):
            return _failed(run.chain, entry) is not None or _stands_at(run.chain, entry)
        case ev.EntrySettled(entry=entry):
            return _left(run.chain, entry)
        case _:
            return any(rollback.halted is not None for rollback in run.ledger.rolling)


def _resumed(gate: Gate, event: ev.GateDecided) -> Event:
    """The end of a pause, if its payload fits; else that it did not, and the pause goes on."""
    try:
        if gate.value is not None:
            gate.value.decode(event.payload)
    except (PayloadError, InvalidPayload) as refused:
        return ev.SignalRejected(
            at=event.at, name=gate.name, number=0, message=str(refused), position=event.position, actor=event.actor,
            key=event.key,
        )  # fmt: skip
    return event


def _failed(chain: Chain, wanted: str) -> Entry | None:
    """An entry whose undo failed for good, in a rollback that is not over."""
    entry = chain.entries.get(wanted)
    there = any(wanted in (rollback.planned or ()) for rollback in chain.active)
    return entry if there and entry is not None and entry.failed is not None and entry.settled is None else None


def _stands_at(chain: Chain, wanted: str) -> bool:
    return any(rollback.halted is not None and rollback.halted.entry == wanted for rollback in chain.active)


def _left(chain: Chain, wanted: str) -> bool:
    """Whether an entry of some rollback was not undone."""
    entry = chain.entries.get(wanted)
    if entry is None or entry.running or entry.done:
        return False
    if not any(wanted in (rollback.planned or ()) for rollback in chain.rollbacks):
        return False
    return entry.settled is None or entry.settled.state != "undone"
