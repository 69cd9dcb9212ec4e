"""A replay comes to the same decisions as the live interpreter, from any place, in any order of outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squidmesh.core import events as ev
from squidmesh.core.codec import decode, encode
from squidmesh.core.events import Event
from squidmesh.core.failure import describe
from squidmesh.core.interpreter import Decision, Interpreter
from squidmesh.core.nodes import StepNode, TimerNode
from squidmesh.core.workflow import Workflow
from tests.core.play import Play
from tests.core.programs import Op, programs, workflow_of

seeds = st.integers(0, 2**32 - 1)
thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(play: Play, position: str, luck: Random) -> list[Event]:
    """Something that may happen next to an open leaf."""
    leaf = play.live.open[position]
    if isinstance(leaf, TimerNode):
        return [ev.TimerFired(position=position)]
    assert isinstance(leaf, StepNode)
    number = leaf.number + 1
    if not leaf.running:
        return [ev.AttemptStarted(position=position, number=number, worker="w")]
    match luck.choice(["done", "done", "done", "failed", "again", "lost"]):
        case "done":
            return [ev.StepCompleted(position=position, result=luck.randrange(100))]
        case "failed":
            failure = describe(ValueError("out of luck"))
            return [ev.AttemptFailed(position=position, number=leaf.number, failure=failure),
                    ev.StepFailed(position=position, failure=failure)]  # fmt: skip
        case "again":
            failure = describe(ValueError("try again"))
            return [ev.AttemptFailed(position=position, number=leaf.number, failure=failure, retry_at=play.time + 9)]
        case _:
            return [ev.AttemptLost(position=position, number=leaf.number)]


def happen(play: Play, luck: Random) -> None:
    """Some outcomes arrive, and are recorded in one append with what follows from them."""
    play.time += luck.randrange(2_000_000)
    for _ in range(luck.choice([1, 1, 2, 3])):
        if play.open:
            position = luck.choice(sorted(play.open))
            for event in outcome(play, position, luck):
                if position in play.live.open:
                    play.learn(event)
    play.record()


def play_out(workflow: Workflow[..., Any], seed: int) -> Play:
    """A run to its end, with outcomes that the seed decides."""
    play, luck = Play(workflow), Random(seed)
    for _ in range(500):
        if play.last.ended:
            return play
        assert play.last.blocked is None, play.last.blocked
        happen(play, luck)
    raise AssertionError("the run does not end")


def state(live: Interpreter) -> Any:
    """All that must be the same in two interpreters of the same run."""
    leaves = [
        (n.position, n.step, n.number, n.running, n.failed, n.lost, n.retry_at, n.closing, n.elsewhere)
        if isinstance(n, StepNode)
        else (n.position, getattr(n, "due", None))
        for n in live.open.values()
    ]
    awaited = live.awaiting.position if live.awaiting is not None and not live.ended else None
    ending = live.ending.kind if live.ending is not None and not live.ended else None
    drawn = None if live.ended else (live.script.uuids, live.script.random.getstate())
    return sorted(leaves), awaited, ending, live.ended, live.blocked, live.script.time, drawn


def replayed(workflow: Workflow[..., Any], history: Sequence[Event], now: int = 0) -> tuple[Interpreter, Decision]:
    live = Interpreter(workflow, "run-1")
    live.replay(history, now)
    return live, live.take()


def told(decision: Decision) -> Any:
    return decision.events, [node.position for node in decision.steps], decision.withdraw, decision.ended


@thorough
@given(programs, seeds)
def test_a_whole_history_replays_to_an_empty_decision_and_the_same_state(program: list[Op], seed: int) -> None:
    play = play_out(workflow_of(program), seed)
    fresh, decision = replayed(play.workflow, play.history, play.time)
    assert decision.blocked is None
    assert (decision.events, decision.steps) == ((), ())
    assert state(fresh) == state(play.live)


@thorough
@given(programs, seeds)
def test_every_prefix_of_a_history_replays_without_a_difference(program: list[Op], seed: int) -> None:
    play = play_out(workflow_of(program), seed)
    for length in range(1, len(play.history)):
        _, decision = replayed(play.workflow, play.history[:length], play.time)
        assert decision.blocked is None, (length, decision.blocked)


@thorough
@given(programs, seeds)
def test_what_is_decided_after_a_crash_is_what_was_decided_before_it(program: list[Op], seed: int) -> None:
    play, luck = Play(workflow_of(program)), Random(seed)
    for _ in range(500):
        if play.last.ended:
            break
        before = list(play.history)
        happen(play, luck)
        learnt = play.history[len(before) : len(play.history) - len(play.last.events)]
        again, nothing = replayed(play.workflow, before, play.time)
        assert nothing.events == ()
        again.feed([replace(event, seq=0) for event in learnt], play.time)
        assert told(again.take()) == told(play.last)
        whole, at_once = replayed(play.workflow, [*before, *learnt], play.time)
        assert (at_once.events, at_once.ended) == (play.last.events, play.last.ended)
        assert state(again) == state(whole) == state(play.live)
    assert play.last.ended


@thorough
@given(programs, seeds, st.data())
def test_a_cached_interpreter_that_catches_up_equals_a_fresh_one(
    program: list[Op], seed: int, data: st.DataObject
) -> None:
    play, luck = Play(workflow_of(program)), Random(seed)
    cached, length = replayed(play.workflow, play.history, play.time)[0], len(play.history)
    for _ in range(500):
        if len(play.history) == length and play.last.ended:
            break
        if not play.last.ended:
            happen(play, luck)
        if play.live.ended or data.draw(st.booleans()):
            cached.replay(play.history[length:], play.time)
            decision = cached.take()
            assert (decision.events, decision.steps, decision.blocked) == ((), (), None)
            assert state(cached) == state(play.live)
            length = len(play.history)


@thorough
@given(programs, seeds)
def test_the_three_ways_to_yield_give_one_history_and_replay_each_others(program: list[Op], seed: int) -> None:
    plays = [play_out(workflow_of(program, way), seed) for way in ("from", "yield", "await")]
    assert plays[0].history == plays[1].history == plays[2].history
    for play in plays:
        for other in plays:
            _, decision = replayed(other.workflow, play.history, play.time)
            assert (decision.events, decision.blocked) == ((), None)


@thorough
@given(programs, seeds)
def test_a_history_that_went_through_the_store_replays_the_same(program: list[Op], seed: int) -> None:
    play = play_out(workflow_of(program), seed)
    stored = decode(encode(play.history), 1)
    assert stored == play.history
    _, decision = replayed(play.workflow, stored, play.time)
    assert (decision.events, decision.blocked) == ((), None)


@thorough
@given(programs, seeds, st.booleans())
def test_a_run_cancelled_or_out_of_time_at_any_place_ends_when_all_has_settled(
    program: list[Op], seed: int, cancelled: bool
) -> None:
    play, luck = Play(workflow_of(program)), Random(seed)
    for _ in range(luck.randrange(8)):
        if not play.last.ended:
            happen(play, luck)
    if not play.last.ended:
        play.cancel() if cancelled else play.fire("deadline")
        assert play.last.steps == ()
        assert play.last.ended == (not play.open)
    for _ in range(200):
        if play.last.ended:
            break
        happen(play, luck)
        assert not any(isinstance(event, ev.StepScheduled) for event in play.last.events)
    assert play.last.ended
    fresh, decision = replayed(play.workflow, play.history, play.time)
    assert (decision.events, decision.blocked) == ((), None)
    assert state(fresh) == state(play.live)
