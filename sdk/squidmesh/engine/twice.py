"""What would be done twice if a run were run again: irreversible steps that have completed, or of which nobody knows.

A run does what its children do, and the run that continues it: those begin anew with what starts them. So each of them
is asked, too; but for a child with a key, which is joined and not started again, and one that has left nothing.

The rule of this file: what cannot be undone, history says, not today's code. Of a run that is gone nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry
from squidmesh.core.effects import Trait
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known, look
from squidmesh.errors import RunNotFound


def done_twice(engine: Engine, known: Known, runs_again: Callable[[str], bool]) -> Iterator[str]:
    """Irreversible steps that would run again, as ``step at position``, and of which run where it is another one.

    :param runs_again: whether what stands at a position of the run would.
    """
    yield from (f"{step} at {position}" for position, step in _own(known).items() if runs_again(position))
    asked, todo = {known.row.run_id}, list(_begun_there(known, runs_again))
    while todo:
        run_id = todo.pop(0)
        if run_id in asked:
            continue
        asked.add(run_id)
        try:
            other = look(engine, run_id)
        except RunNotFound:
            continue
        yield from (f"{step} at {position} of run {run_id}" for position, step in _own(other).items())
        todo += _begun_there(other, lambda _: True)


def _begun_there(known: Known, runs_again: Callable[[str], bool]) -> Iterator[str]:
    """The runs that were started where the run would come to again."""
    harmless = {e.position for e in known.events if isinstance(e, ev.ChildEnded) and _left_nothing(e)}
    for event in known.events:
        match event:
            case ev.ChildStarted() if event.joined or event.options.get("key") is not None:
                pass  # who starts it anew finds it there
            case ev.ChildStarted(position=at) | ev.StepDeferred(position=at) if at not in harmless and runs_again(at):
                yield event.run_id
            case ev.RunContinued():
                yield event.run_id
            case _:
                pass


def _left_nothing(end: ev.ChildEnded) -> bool:
    return end.outcome == "completed" and not end.effects


def _own(known: Known) -> dict[str, str]:
    """The steps of one run, by position."""
    told: dict[str, str] = {}
    for entry in known.chain.entries.values():
        told |= {part.position: part.step for part in (entry, *entry.members) if _cannot_be_undone(part)}
    return told | _begun_and_never_ended(known)


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
