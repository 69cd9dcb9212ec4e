"""What follows when the attempts of a step are spent: who is asked about its effect, in which order.

    check ─▶ compensate ─▶ in doubt (a person says) ─▶ failed, with what may be left of it

``check`` is asked only about an effect that is not certain; ``compensate`` at every final failure that check did not
settle, once a cycle; a step that is not idempotent, and of which something may be there, is never tried again and waits
for a person. The effect of a compensate that failed itself is unknown.

The rule of this file: from what is known of a step to the next call or event; nothing is run here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core.effects import Effect, Trait, after
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe
from squidmesh.core.nodes import ATTEMPT, CHECK, COMPENSATE, DOUBT, StepNode
from squidmesh.errors import WorkerLost

if TYPE_CHECKING:
    from squidmesh.core.asked import Asked


TOLD = (
    ev.AttemptFailed, ev.AttemptLost, ev.CompensateStarted, ev.CompensateEnded, ev.StepInDoubt, ev.StepChecked,
    ev.StepResolved,
)  # fmt: skip
"""What is said of a step on its way from its last attempt to its outcome."""


def begun(asked: Asked, node: StepNode, event: ev.AttemptStarted | ev.CompensateStarted) -> None:
    """A call has begun."""
    node.running, node.retry_at, node.worker, node.unheard = True, None, event.worker, False
    if isinstance(event, ev.AttemptStarted):
        node.stage, node.number, node.first_at = ATTEMPT, event.number, node.first_at or event.at
    else:
        node.stage = COMPENSATE
    if asked.unplaced or asked.spent:
        asked.placed(node)


def heard(asked: Asked, node: StepNode, event: Event) -> None:
    """Take in what attempts, handlers and people have said. What follows from it is decided later, not here."""
    match event:
        case ev.AttemptFailed() | ev.AttemptLost():
            _attempted(asked, node, event)
        case ev.AttemptStarted() | ev.CompensateStarted():
            begun(asked, node, event)
        case ev.StepInDoubt():
            asked.spent.pop(node.position, None)
            node.stage = DOUBT
        case ev.CompensateEnded(outcome="lost"):  # the call is made again
            node.running, node.stage, node.lost = False, COMPENSATE, node.lost + 1
            if not node.elsewhere:
                asked.call(node, COMPENSATE)
        case ev.CompensateEnded(retry_at=retry_at):
            node.answer = _compensated(node, event)
            if node.stage == ATTEMPT:  # a fresh cycle
                asked.call(node, ATTEMPT, retry_at)
            else:
                asked.spend(node)
        case ev.StepChecked():
            node.answer = _checked(node, event)
            asked.spend(node)
        case ev.StepResolved():
            node.answer = _resolved(node, event)
            asked.spend(node)
        case _:
            pass


def _attempted(asked: Asked, node: StepNode, event: ev.AttemptFailed | ev.AttemptLost) -> None:
    node.running = False
    if isinstance(event, ev.AttemptLost):
        node.lost, node.unheard = node.lost + 1, True
        effect, final = Effect.UNKNOWN, event.final
        node.failure = lost(node)
    else:
        node.failed, node.retry_at, node.failure = node.failed + 1, event.retry_at, event.failure
        effect, final = Effect(event.effect), event.retry_at is None
    if not node.harmless:
        node.effect = after(node.effect, effect, idempotent=not node.has(Trait.ONCE))
    if final:
        asked.spend(node)
    else:
        asked.unwanted(node)


def lost(node: StepNode) -> Failure:
    """The failure of a step whose worker was lost."""
    told = f"step {node.step!r} at position {node.position}"
    if node.has(Trait.ONCE):
        why = f"the worker of {told} was lost; the step is not idempotent, so it is not tried again"
    else:
        why = (
            f"the worker was lost in {node.lost} attempts of {told}: "
            "what it does may kill its worker (memory, a native crash)"
        )
    return describe(WorkerLost(why), attempts=node.failed + node.lost)


def next_call(node: StepNode) -> str | None:
    """The handler to be called about a step whose attempts are spent; None: nobody is left to ask."""
    if node.effect is not Effect.NONE and not node.checked and node.definition.check_handler is not None:
        return CHECK
    if not node.compensated and node.definition.compensate_handler is not None:
        return COMPENSATE
    return None


def verdict(node: StepNode, now: int) -> Event:
    """What is recorded of a step that nobody is left to ask about."""
    assert node.failure is not None
    if node.effect is not Effect.NONE and node.has(Trait.ONCE):
        return ev.StepInDoubt(at=now, position=node.position, failure=node.failure, effect=node.effect.value)
    return ev.StepFailed(at=now, position=node.position, failure=node.failure, effect=node.effect.value)


def _checked(node: StepNode, event: ev.StepChecked) -> Event | None:
    """Take in what ``check`` said; the event that follows, if that settles the step."""
    node.checked, node.running = True, False
    match event.outcome:
        case "applied":
            return ev.StepCompleted(at=event.at, position=node.position, result=event.result)
        case "not_applied":
            return _failed(node, event.at)
        case _:
            return None


def _compensated(node: StepNode, event: ev.CompensateEnded) -> Event | None:
    """Take in what ``compensate`` did; the event that follows, if that settles the step."""
    node.running, node.compensated = False, True
    match event.outcome:
        case "completed":
            return ev.StepCompleted(at=event.at, position=node.position, result=event.result)
        case "cleaned":
            return _failed(node, event.at)
        case "retry" if not node.closing and node.cycle <= node.definition.max_compensate_cycles:
            node.cycle += 1
            node.anew()
            node.retry_at = event.retry_at
        case "failed" if not node.has(Trait.PURE):
            node.effect = max(node.effect, Effect.UNKNOWN, key=list(Effect).index)
        case _:
            pass
    return None


def _resolved(node: StepNode, event: ev.StepResolved) -> Event:
    """What follows from what a person knows of a step in doubt."""
    if event.outcome == "applied":
        return ev.StepCompleted(at=event.at, position=node.position, result=event.result)
    return _failed(node, event.at)


def _failed(node: StepNode, at: int) -> Event:
    """It failed, and nothing of it is left."""
    assert node.failure is not None
    node.effect = Effect.NONE
    return ev.StepFailed(at=at, position=node.position, failure=node.failure)
