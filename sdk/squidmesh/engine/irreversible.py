"""What would be done twice, if a run were run again, and cannot be undone.

The rule of this file: a look at histories, of the run and of those that it would start anew; today's code has no say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry
from squidmesh.core.codec import decode_rows
from squidmesh.core.effects import Trait
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known

TOGETHER = 32
"""Runs that are read at once."""


def unsafe_steps(engine: Engine, known: Known, runs_again: Callable[[str], bool]) -> Iterator[str]:
    """Irreversible steps that have completed, or of which nobody knows, and would run again, as ``step at position``.

    Those of the run, and of the children and later links that it would have anew.
    """
    yield from _own(known, runs_again)
    todo = deque(_anew(known, runs_again))
    while todo:
        some = [todo.popleft() for _ in range(min(TOGETHER, len(todo)))]
        for record in engine.store.records(some):
            history = decode_rows([(row.seq, row.events) for row in record.history])
            other = Known(record.run, history, [])
            yield from (f"{told} of run {record.run.run_id}" for told in _own(other, _all))
            todo.extend(_anew(other, _all))


def _all(_: str) -> bool:
    return True


def _anew(known: Known, runs_again: Callable[[str], bool]) -> Iterator[str]:
    """The runs that it has started, and would start anew: with a key it would find them. And its successor."""
    harmless = {e.position for e in known.events if isinstance(e, ev.ChildEnded) and not e.effects}
    for event in known.history:
        match event:
            case ev.ChildStarted(joined=False, position=at) if event.options.get("key") is None and at not in harmless:
                if runs_again(at):
                    yield event.run_id
            case ev.StepDeferred(position=at) if at not in harmless and runs_again(at):
                yield event.run_id
            case ev.RunContinued():
                yield event.run_id
            case _:
                pass


def _own(known: Known, runs_again: Callable[[str], bool]) -> Iterator[str]:
    told: dict[str, str] = {}
    for entry in known.chain.entries.values():
        told |= {part.position: part.step for part in (entry, *entry.members) if _cannot_be_undone(part)}
    told |= _begun_and_never_ended(known)
    yield from (f"{step} at {position}" for position, step in told.items() if runs_again(position))


def _cannot_be_undone(entry: Entry) -> bool:
    found_so = entry.settled is not None and entry.settled.state == "irreversible"
    return entry.kind == "step" and (entry.irreversible is not None or found_so)


def _begun_and_never_ended(known: Known) -> dict[str, str]:
    """Irreversible steps that were in doubt, or under way, when the run was ended over them.

    One that is transactional has been rolled back then.
    """
    irreversible: dict[str, str] = {}
    under_way: set[str] = set()
    for event in known.events:
        match event:
            case ev.StepScheduled(traits=traits) if Trait.IRREVERSIBLE in traits and Trait.TRANSACTIONAL not in traits:
                irreversible[event.position] = event.step
            case ev.StepMarkedIrreversible():
                irreversible[event.position] = known.steps.get(event.position, "a step")
            case ev.AttemptStarted() | ev.AttemptLost() | ev.StepInDoubt():
                under_way.add(event.position)
            case ev.AttemptFailed(effect="none") | ev.StepCompleted() | ev.StepFailed() | ev.StepSkipped():
                under_way.discard(event.position)
            case ev.AttemptFailed():
                under_way.add(event.position)
            case _:
                pass
    return {position: step for position, step in irreversible.items() if position in under_way}
