"""The work of a run grows with its length, not faster: counted in calls of Python functions, not in time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.commands import fan_out
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.standing import standing
from squidmesh.core.workflow import Flow, workflow
from tests.core.play import Play
from tests.core.shop import charge


@workflow(name="linear_sequence")
def sequence(n: int) -> Flow[int]:
    for _ in range(n):
        yield from charge(1)
    return n


@workflow(name="linear_fan_out")
def fanning(n: int, limit: int | None = None) -> Flow[int]:
    return len((yield from fan_out(charge, range(n), limit=limit)))


def calls_of(work: Callable[[], None]) -> int:
    """How many functions of Python were called in it."""
    count = 0

    def counting(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def run_sequence(n: int) -> None:
    play = Play(sequence, n)
    for position in range(1, n + 1):
        play.complete(str(position), 1)
    assert play.result == n


def run_fan_out(n: int, limit: int | None) -> None:
    play = Play(fanning, n, limit)
    for position in range(1, n + 1):
        play.live.feed([ev.StepCompleted(position=f"1.{position}", result=1)])
        if position % (n // 10) == 0:
            standing(play.live)
    assert play.live.take().ended


def replay_sequence(n: int) -> None:
    live = Interpreter(sequence, "run-1")
    history: list[ev.Event] = [ev.RunStarted(workflow="x", version=1, input={"n": n}, interpreter_version=1)]
    for position in range(1, n + 1):
        history += [
            ev.StepScheduled(position=str(position), step="charge", input={"cents": 1}),
            ev.StepCompleted(position=str(position), result=1),
        ]
    live.replay(history)
    assert live.take().ended


WORK: dict[str, Callable[[int], None]] = {
    "a sequence": run_sequence,
    "its replay": replay_sequence,
    "a fan-out": lambda n: run_fan_out(n, None),
    "a fan-out through a window": lambda n: run_fan_out(n, 8),
}


@pytest.mark.parametrize("name", WORK)
def test_ten_times_the_steps_take_ten_times_the_work(name: str) -> None:
    work = WORK[name]
    work(10)
    few, many = calls_of(lambda: work(300)), calls_of(lambda: work(3_000))
    assert few > 300
    assert many < 11 * few
