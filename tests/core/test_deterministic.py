"""Plain calls inside a workflow give the same at every replay, and are an error elsewhere."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.commands import sleep
from squidmesh.core.deterministic import discard, instant, new_uuid, now, patched, rng, run_info
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import DefinitionError
from tests.core.play import START, Play
from tests.core.shop import charge


@workflow(name="core.noting")
def noting() -> Flow[list[Any]]:
    seen: list[Any] = [now().isoformat(), str(new_uuid()), rng().random()]
    yield from charge(1)
    seen += [now().isoformat(), str(new_uuid()), rng().random()]
    yield from sleep(5)
    return [*seen, str(new_uuid()), rng().sample(range(100), 3)]


def played(run_id: str = "run-1", restarts: bool = False) -> list[Any]:
    play = Play(noting)
    play.live = Interpreter(noting, run_id)
    play.live.replay(play.history[:1], play.time)
    play.live.take()
    for event in (ev.StepCompleted(position="1", result=1), ev.TimerFired(position="2")):
        play.feed(event)
        if restarts and not play.last.ended:
            play.restart()
    result: list[Any] = play.result
    return result


def test_a_run_sees_the_same_values_however_often_it_is_replayed() -> None:
    assert played() == played() == played(restarts=True)


def test_another_run_sees_other_ids_and_other_chance() -> None:
    first, other = played("run-1"), played("run-2")
    assert first[0] == other[0]
    assert all(a != b for a, b in zip(first[1:3], other[1:3], strict=True))


def test_each_call_gives_another_id_and_another_number() -> None:
    seen = played()
    assert len({seen[1], seen[4], seen[6]}) == 3
    assert seen[2] != seen[5]


def test_the_time_is_that_of_the_event_that_brought_the_workflow_here() -> None:
    seen = played()
    assert datetime.fromisoformat(seen[0]) == instant(START + 1_000)
    assert datetime.fromisoformat(seen[3]) == instant(START + 2_000)


def test_time_never_goes_back() -> None:
    play = Play(noting)
    play.time -= 10_000_000
    play.complete("1", 1)
    assert play.live.script.time == START + 1_000


def test_run_info_tells_who_this_run_is() -> None:
    @workflow(name="introspective", version=3)
    def introspective() -> Flow[list[Any]]:
        yield from sleep(0)
        info = run_info()
        return [info.run_id, info.workflow, info.version, info.key, info.parent, dict(info.attributes), info.tick]

    live = Interpreter(introspective, "r-9")
    live.replay([
        ev.RunStarted(workflow="introspective", version=3, input={}, interpreter_version=1, key="k", parent="p",
                      attributes={"tenant": 7}, at=START),
        ev.TimerFired(position="1", at=START),
    ])  # fmt: skip
    end = live.take().events[-1]
    assert end == ev.RunCompleted(at=START, result=["r-9", "introspective", 3, "k", "p", {"tenant": 7}, None])
    assert live.script.info.started_at == instant(START)


def test_attributes_cannot_be_changed_by_one_turn_for_the_next() -> None:
    @workflow
    def meddling() -> Flow[bool]:
        with pytest.raises((TypeError, AttributeError)):
            run_info().key = "mine"  # type: ignore[misc]
        yield from sleep(0)
        return True

    assert Play(meddling).last.blocked is None


@pytest.mark.parametrize("call", [now, new_uuid, rng, run_info, lambda: patched("x")])
def test_outside_a_workflow_each_is_an_error_that_says_what_to_use(call: Any) -> None:
    with pytest.raises(DefinitionError, match="is for the inside of a workflow"):
        call()


def test_discard_takes_a_call_only() -> None:
    with pytest.raises(DefinitionError, match=r"discard\(\) takes a call"):
        discard(3)  # type: ignore[arg-type]


def test_chance_of_a_run_leaves_that_of_the_process_alone() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    played()
    assert random.random() == expected


def test_an_instant_keeps_its_microseconds() -> None:
    assert instant(1_893_456_000_000_001) == datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert instant(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
