"""What each event does to a live run: to a step, to what waits, to the run itself. deciding.py is the way back.

The rule of this file: an event is applied the same, whether history has it or it is about to be recorded. Nothing is
decided here; the body may go on with what has settled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from squidmesh.core import events as ev
from squidmesh.core import gates, settling
from squidmesh.core.broken import Broken
from squidmesh.core.children import came_out
from squidmesh.core.deciding import WHOLE, Ending
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe
from squidmesh.core.nodes import ATTEMPT, GONE, Bad, ChildNode, GateNode, Leaf, Ok, Outcome, SignalNode, StepNode
from squidmesh.errors import (
    DeadlineExceeded,
    DefinitionError,
    FailedByOperator,
    InvalidPayload,
    NonDeterminism,
    PayloadError,
    StepFailed,
)

if TYPE_CHECKING:
    from squidmesh.core.interpreter import Interpreter

T = TypeVar("T")

DEADLINE = "deadline"
"""The position of the run's own deadline in ``TimerFired``."""

ANSWERS = frozenset({
    ev.RunStarted, ev.StepCompleted, ev.StepFailed, ev.StepSkipped, ev.TransactionCommitted, ev.TimerFired,
    ev.CancelRequested, ev.FailRequested, ev.RollbackEnded, ev.SignalTaken, ev.SignalSent, ev.GateDecided,
    ev.GateExpired, ev.ChildEnded,
})  # fmt: skip
"""Events that move the time that the workflow sees: those that may resume it."""

OF_STEPS = frozenset({
    ev.StepScheduled, ev.AttemptStarted, ev.CheckpointSaved, ev.StepCompleted, ev.TransactionCommitted, ev.StepFailed,
    ev.StepCancelled, ev.StepRetried, ev.StepSkipped, *settling.TOLD,
})  # fmt: skip
OF_WAITS = frozenset({
    ev.TimerFired, ev.TimerCancelled, ev.SignalReceived, ev.SignalTaken, ev.SignalRejected, ev.SignalSent, ev.VoteCast,
    ev.GateDecided, ev.GateExpired, ev.ChildStarted, ev.ChildEnded,
})  # fmt: skip
"""Kinds of events by what they settle; all others are of the run itself."""

SETTLES = frozenset({
    ev.StepCompleted, ev.TransactionCommitted, ev.StepFailed, ev.StepCancelled, ev.TimerFired, ev.TimerCancelled,
    ev.SignalSent, ev.GateDecided, ev.GateExpired, ev.ChildEnded,
})  # fmt: skip
"""Events after which nothing is open at their position."""

BODY_OVER = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunTerminated, ev.RunContinued)


def is_over(event: Event) -> bool:
    """Whether the body of a run is not needed after this event."""
    return isinstance(event, BODY_OVER) or (isinstance(event, ev.RollbackStarted) and event.cause in WHOLE)


def is_asked_for(event: Event) -> bool:
    """Whether the rollback of another run has come to this one, and asks for its own."""
    return isinstance(event, ev.RollbackStarted) and event.number == 0 and event.asked_by is not None


def apply(run: Interpreter, event: Event) -> None:
    """Take an event in.

    :raises Broken: the code is.
    :raises NonDeterminism: it is not the code that history was made with.
    """
    kind = type(event)
    if kind in ANSWERS:
        run.script.time = max(run.script.time, event.at)
    if kind in OF_STEPS:
        _of_a_step(run, event)
    elif kind in OF_WAITS:
        _of_a_wait(run, event)
    else:
        _of_the_run(run, event)
    run.script.go_on()


# ------------------------------------------------------------------------------------------ of a step


def _of_a_step(run: Interpreter, event: Any) -> None:
    node = _step(run, event)
    if node is None:
        return
    match event:
        case ev.AttemptStarted():
            settling.begun(run.asked, node, event)
        case ev.StepCompleted(result=result) | ev.TransactionCommitted(result=result):
            run.asked.settle(node, Ok(_result(run, node, result)))
        case ev.StepScheduled(elsewhere=elsewhere, seq=seq, call=call):
            node.elsewhere, node.scheduled_seq, node.stage = elsewhere, seq, call
            if call != ATTEMPT:
                node.retry_at = None  # that was another attempt's
            if elsewhere:
                run.asked.placed(node)
        case ev.CheckpointSaved(value=value):
            node.progress = value
        case ev.StepFailed(failure=failure):
            _failed(run, node, failure)
        case ev.StepCancelled():
            _cancelled(run, node)
        case ev.StepRetried() | ev.StepSkipped():
            _overruled(run, node, event)
        case _:
            settling.heard(run.asked, node, event)


_ALSO_OF_WHAT_IS_GONE = (ev.StepScheduled, ev.StepCancelled, ev.StepRetried)
"""A fork has steps retried that its body may give up in the very turn that asks for them."""


def _step(run: Interpreter, event: Any) -> StepNode | None:
    """The open step that an event is of; None where it may be another's, or nobody's any more.

    :raises NonDeterminism: the body has not come to a step of which history tells.
    """
    position: str = event.position
    node = run.open.get(position)
    if isinstance(node, StepNode):
        return node
    undo = ":" in position
    if run.asked.inside(position) or undo or run.script.closing or isinstance(event, _ALSO_OF_WHAT_IS_GONE):
        return None
    place = run.place()
    raise NonDeterminism(position, run.asked.recorded.told(position), "yields no step there", place.file, place.line)


def _result(run: Interpreter, node: StepNode, result: Any) -> Any:
    what = f"the recorded result of {node.step!r} at position {node.position}"
    return _decoded(run, lambda: node.call.definition.result.decode(result), what, node.position)


def _failed(run: Interpreter, node: StepNode, failure: Failure) -> None:
    run.asked.spent.pop(node.position, None)
    if run.asked.recorded.overruled[node.position]:
        node.running, node.failure = False, failure
        run.asked.hold(node)  # until a person's word comes, further on
    else:
        run.asked.settle(node, Bad(StepFailed(node.step, node.position, failure), failure))


def _overruled(run: Interpreter, node: StepNode, event: ev.StepRetried | ev.StepSkipped) -> None:
    """A person did not let the failure of a step stand; should it fail again, that is told again."""
    run.told = None
    run.asked.recorded.overruled[node.position] -= 1
    run.asked.held.pop(node.position, None)
    if isinstance(event, ev.StepRetried):
        node.anew()
        run.asked.call(node, ATTEMPT)
    else:
        run.asked.settle(node, Ok(_result(run, node, event.value)))


def _cancelled(run: Interpreter, leaf: Leaf) -> None:
    if not run.asked.revived(leaf):
        run.asked.settle(leaf, GONE)


# ------------------------------------------------------------------------------------------ of a wait


def _of_a_wait(run: Interpreter, event: Event) -> None:
    match event:
        case ev.TimerFired(position=position) if position == DEADLINE:
            _out_of_time(run, event.at)
        case ev.TimerFired(position=position):
            if (leaf := run.open.get(position)) is not None:
                run.asked.settle(leaf, Ok(None))
        case ev.TimerCancelled(position=position):
            if (leaf := run.open.get(position)) is not None:
                _cancelled(run, leaf)
        case ev.SignalReceived() | ev.SignalRejected():
            run.mail.apply(event)
        case ev.SignalTaken(position=position):
            if (wait := run.asked.waits.get(position)) is not None:
                run.asked.settle(wait, Ok(_message(run, wait, event)))
            run.mail.apply(event)
        case ev.SignalSent(position=position):
            if (send := run.open.get(position)) is not None:
                run.asked.settle(send, Ok(None))
        case ev.ChildStarted():
            run.asked.linked(event)
        case ev.ChildEnded(position=position):
            if isinstance(child := run.open.get(position), ChildNode):
                run.asked.settle(child, _came_out(run, child, event))
        case ev.VoteCast() | ev.GateDecided() | ev.GateExpired():
            if (gate := run.asked.gates.get(event.position)) is not None:
                _at_gate(run, gate, event)
        case _:
            pass


def _message(run: Interpreter, wait: SignalNode, taken: ev.SignalTaken) -> Any:
    payload = run.mail.take(taken.name, taken.number)
    what = f"the payload of signal {taken.name!r}, taken at position {taken.position},"
    return _decoded(run, lambda: wait.signal.value.decode(payload), what, taken.position)


def _came_out(run: Interpreter, child: ChildNode, end: ev.ChildEnded) -> Outcome:
    what = f"the result of child run {end.run_id} of {child.workflow!r} at position {end.position}"
    return _decoded(run, lambda: came_out(child, end), what, end.position)


def _at_gate(run: Interpreter, node: GateNode, event: ev.VoteCast | ev.GateDecided | ev.GateExpired) -> None:
    what = f"the payload of pause {node.gate.name!r} at position {node.position}"
    if (decided := _decoded(run, lambda: gates.heard(node, event), what, node.position)) is not None:
        run.asked.settle(node, decided)


def _decoded(run: Interpreter, decode: Callable[[], T], what: str, position: str) -> T:
    try:
        return decode()
    except (PayloadError, InvalidPayload) as refused:
        raise Broken("value_undecodable", f"{what} does not decode: {refused}", run.place(), position) from None
    except DefinitionError as refused:
        raise Broken("code_error", str(refused), run.place(), position) from None


# ---------------------------------------------------------------------------------------- of the run


def _of_the_run(run: Interpreter, event: Event) -> None:
    match event:
        case ev.RunStarted():
            run.first = event
            if run.script.closing:
                return
            run.script.start(event)
        case ev.CancelRequested():
            run.held = None
            run.finish(Ending("cancelled", ev.RunCancelled(actor=event.actor, note=event.note), event.undo))
        case ev.FailRequested():
            run.held = None
            run.finish(Ending("failed", ev.RunFailed(failure=_by_person(event)), event.undo))
        case ev.RollbackStarted(number=0, asked_by=str()):
            run.owed, run.held = event, None
            run.finish(Ending("cancelled", ev.RunCancelled(actor=event.actor, note=event.note)))
        case ev.RollbackStarted(asked_by=str()):
            run.owed = event
        case ev.RollbackStarted(cause=cause) if cause in WHOLE and run.endable:
            run.ending = Ending.after(event)  # something spawned has failed, after the body had returned
        case ev.RollbackEnded(number=number):
            run.ended_at = event.at
            run.scopes.rolled_back(number)
        case ev.RunJoined():
            run.joined.append(event)
        case ev.RunHeld():
            run.held = event
        case ev.RunReleased():
            run.held = None
        case ev.RunUndone():
            run.undone = True
        case ev.RunBlocked():
            run.told = event
        case _ if isinstance(event, BODY_OVER):
            run.ended, run.end, run.held, run.ended_at = True, run.end or event, None, event.at
            if isinstance(event, ev.RunTerminated):
                _terminated(run)
        case _:
            pass  # a note, or what has followed from other events already


def _out_of_time(run: Interpreter, at: int) -> None:
    told = f"the run's deadline, {instant(run.deadline or at).isoformat()}, has passed"
    error = DeadlineExceeded(told)
    if run.endable:
        run.no_pivot_passed(None, error)
    failure = ev.RunFailed(failure=describe(error))
    run.finish(Ending("failed", failure, run.workflow.on_failure == "undo"))


def _terminated(run: Interpreter) -> None:
    """Nothing is waited for, and nothing is undone; what the body has asked for in this turn never was."""
    run.close()
    run.asked.new.clear()
    run.asked.steps.clear()
    for position in list(run.open):
        run.asked.forget(position)


def _by_person(event: ev.FailRequested) -> Failure:
    return describe(FailedByOperator(f"{event.actor} ended the run as failed: {event.note}"))


def set_down(run: Interpreter, event: Event) -> None:
    """What became of what is open, while the code is broken: the body stands still, but a cancel must know."""
    position = getattr(event, "position", "")
    match event:
        case ev.StepRetried() | ev.StepSkipped():
            run.again = True
        case ev.SignalReceived() | ev.SignalRejected():
            run.mail.apply(event)  # or the next would have its number
        case ev.SignalTaken():
            run.mail.apply(event)
            run.asked.forget(position)
        case ev.VoteCast():
            if (gate := run.asked.gates.get(position)) is not None:
                gates.heard(gate, event)
        case ev.RunHeld():
            run.held = event
        case ev.RunReleased():
            run.held = None
        case ev.RunBlocked():
            run.told = event
        case _ if type(event) in SETTLES:
            run.asked.forget(position)
        case _ if isinstance(node := run.open.get(position), StepNode):
            settling.heard(run.asked, node, event)
        case _:
            pass  # it stands in the history for the code that is mended
