"""What must hold for a run that has ended, whatever happened to processes and servers on the way.

Its rule: it reads the history through the public interface, and the tables only for what must not be there.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import NullPool, create_engine, func, select

from squidmesh import Handle
from squidmesh.core.children import EARLIER
from squidmesh.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    ChildStarted,
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    StepCancelled,
    StepCompleted,
    StepDeferred,
    StepFailed,
    StepScheduled,
    UndoCompleted,
    UndoStarted,
)
from squidmesh.store import tables
from squidmesh.testing.invariants import check
from tests.processes.effects import Effect

RUN_ENDS = RunCompleted | RunFailed | RunCancelled
STEP_ENDS = StepCompleted | StepFailed | StepCancelled


def check_run(handle: Handle[Any], did: Sequence[Effect]) -> None:
    """One run's history, and what its steps did."""
    history = handle.history()
    told = f"run {handle.run_id}\n" + "\n".join(map(str, history))
    assert [event.seq for event in history] == list(range(1, len(history) + 1)), told
    assert isinstance(history[0], RunStarted), told
    assert isinstance(history[-1], RUN_ENDS), told
    assert not any(isinstance(event, RunStarted) for event in history[1:]), told
    assert not any(isinstance(event, RUN_ENDS) for event in history[:-1]), told
    assert handle.status() == type(history[-1]).__name__.removeprefix("Run").lower(), told
    of_step: dict[str, list[Event]] = defaultdict(list)
    for event in history:
        if isinstance(event, StepScheduled | AttemptStarted | AttemptFailed | AttemptLost | STEP_ENDS):
            of_step[event.position].append(event)
    mine = [effect for effect in did if effect.run == handle.run_id]
    for position, events in of_step.items():
        _check_step(events, [effect for effect in mine if effect.position == position], told)
    assert {effect.position for effect in mine} <= set(of_step), told
    keys = {(effect.position, effect.key) for effect in mine}
    assert len(keys) == len({key for _, key in keys}) == len({position for position, _ in keys}), told


def _check_step(events: Sequence[Event], did: Sequence[Effect], told: str) -> None:
    """One step: scheduled once, tried once at a time, ended once; and it did what it is said to have done."""
    assert isinstance(events[0], StepScheduled), told
    assert sum(isinstance(event, StepScheduled) for event in events) == 1, told
    ends = [event for event in events if isinstance(event, STEP_ENDS)]
    assert len(ends) == 1, told
    assert events[-1] is ends[0], told
    number, open_ = 0, False
    for event in events[1:-1]:
        match event:
            case AttemptStarted(number=begun):
                assert not open_, told
                assert begun == number + 1, told
                number, open_ = begun, True
            case AttemptFailed(number=ended) | AttemptLost(number=ended):
                assert open_, told
                assert ended == number, told
                open_ = False
    attempts = [effect.attempt for effect in did]
    assert len(attempts) == len(set(attempts)), f"one attempt was made twice: {did}\n{told}"
    assert all(1 <= attempt <= number for attempt in attempts), f"unrecorded attempt: {did}\n{told}"
    if isinstance(ends[0], StepCompleted):
        assert open_, told
        assert number in attempts, f"completed without its effect: {did}\n{told}"
    else:
        assert not open_ or isinstance(ends[0], StepCancelled), told


def check_saga(handle: Handle[Any], did: Sequence[Effect]) -> None:
    """One run's history, with its rollbacks, and what its calls did."""
    history = handle.history()
    check(history)
    mine = [effect for effect in did if effect.run == handle.run_id]
    told = "\n".join(map(str, [*history, *mine]))
    begun: Counter[str] = Counter()
    once = set()
    for event in history:
        match event:
            case StepScheduled(traits=traits) if "once" in traits:
                once.add(f"{handle.run_id}:{event.position}")
            case UndoStarted(entry=entry):
                begun[undo_key(handle, entry)] += 1
            case UndoCompleted(entry=entry) if undo_key(handle, entry) not in {done.key for done in mine}:
                noted = _transactional(history, entry) or _is_another_run(history, entry)
                assert noted, f"{entry} is undone, and was not\n{told}"
            case _:
                pass
    undos = [(effect.key, effect.attempt) for effect in mine if effect.key in begun]
    assert len(undos) == len(set(undos)), f"an undo that was recorded is called again\n{told}"
    assert all(attempt <= begun[key] for key, attempt in undos), told
    assert all(sum(effect.key == key for effect in mine) <= 1 for key in once), told


def undo_key(handle: Handle[Any], entry: str) -> str:
    return f"{handle.run_id}:{entry}" if ":undo:" in entry else f"{handle.run_id}:{entry}:undo"


def _transactional(history: Sequence[Event], entry: str) -> bool:
    return any(
        isinstance(event, StepScheduled) and event.position == entry and "transactional" in event.traits
        for event in history
    )


def _is_another_run(history: Sequence[Event], entry: str) -> bool:
    """Whether an entry is a child, or what an earlier link has left: its undos are in a history of its own."""
    kin = (ChildStarted, StepDeferred)
    return entry == EARLIER or any(isinstance(event, kin) and event.position == entry for event in history)


def check_tables(database: str, runs: Sequence[str]) -> None:
    """Nothing is left of runs that have ended, and nobody holds them."""
    with create_engine(database, poolclass=NullPool).connect() as connection:
        for table in (tables.tasks, tables.inbox, tables.joins):
            left = select(table).where(table.c.run_id.in_(runs))
            assert connection.execute(left).all() == [], table.name
        held = (
            select(func.count())
            .select_from(tables.runs)
            .where(
                tables.runs.c.id.in_(runs),
                (tables.runs.c.worker.is_not(None)) | (tables.runs.c.due_at.is_not(None)),
            )
        )
        assert connection.execute(held).scalar_one() == 0
