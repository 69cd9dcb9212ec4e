"""Rows and events made by hand, with the fields that a test does not care about filled in."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from squidmesh import events as ev
from squidmesh.core.failure import Failure
from squidmesh.events import Event
from squidmesh.ports import RunRow, TaskRow, WorkerRow
from squidmesh.views.explanation import Explanation, explain

SECOND = 1_000_000
T0 = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC
RUN = "019b7000-0000-7000-8000-000000000001"
NOW = 100
DECLINED = Failure(type="shop.Declined", message="no funds")


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def row(**given: Any) -> RunRow:
    plain = RunRow(
        run_id=RUN,
        workflow="checkout",
        version=2,
        key="o-1",
        status="running",
        reason=None,
        queue="default",
        priority=0,
        attributes=None,
        parent=None,
        created_at=T0,
        ended_at=None,
        deadline=None,
        due_at=None,
        worker=None,
        epoch=1,
        length=1,
        code=None,
    )
    return replace(plain, **given)


def task(position: str = "1", **given: Any) -> TaskRow:
    plain = TaskRow(
        run_id=RUN,
        position=position,
        step="charge",
        queue="default",
        priority=0,
        due_at=T0,
        worker=None,
        number=0,
        lost=0,
        max_lost=5,
        join_position=None,
        spec="{}",
        progress=None,
        claimed_at=None,
        scheduled_seq=2,
    )
    return replace(plain, **given)


def worker(name: str = "w1", *queues: str, expires: float = 1_000, **code: Any) -> WorkerRow:
    known = {"workflows": [["checkout", 2]], "steps": ["charge", "ship"]} | code
    return WorkerRow(
        worker=name,
        host="host",
        pid=1,
        queues=list(queues or ("default",)),
        code=known,
        started_at=T0,
        expires_at=at(expires),
    )


def started(**given: Any) -> Event:
    facts: dict[str, Any] = {"workflow": "checkout", "version": 2, "input": {}, "interpreter_version": 1} | given
    return ev.RunStarted(at=T0, **facts)


def scheduled(position: str = "1", step: str = "charge", **given: Any) -> Event:
    facts: dict[str, Any] = {"input": {}} | given
    return ev.StepScheduled(at=T0, position=position, step=step, **facts)


def begun(position: str = "1", number: int = 1, by: str = "w1", seconds: float = 1) -> Event:
    return ev.AttemptStarted(at=at(seconds), position=position, number=number, worker=by)


def numbered(*events: Event) -> list[Event]:
    return [replace(event, seq=seq) for seq, event in enumerate(events, 1)]


def told(
    facts: RunRow,
    *events: Event,
    tasks: Sequence[TaskRow] = (),
    workers: Sequence[WorkerRow] | None = None,
    inbox: int = 0,
    waiting: Sequence[Event] = (),
) -> Explanation:
    """The explanation of a run at second ``NOW``, with one worker that serves it unless others are given."""
    there = [worker()] if workers is None else workers
    known = [*numbered(started(), *events), *waiting]
    return explain(facts, known, tasks, there, at(NOW), inbox=inbox + len(waiting))
