"""A fork begins with what preceded a position, and goes on from there as if it had come there itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from squidmesh.core import events as ev
from squidmesh.core.codec import decode, encode
from squidmesh.core.commands import gather, race, sleep, spawn
from squidmesh.core.deterministic import new_uuid, now, patched, rng, run_info
from squidmesh.core.events import Event
from squidmesh.core.forking import Forked, Unforkable, fork
from squidmesh.core.interpreter import INTERPRETER_VERSION, Interpreter
from squidmesh.core.past import descent, order
from squidmesh.core.places import hindrance, is_known, places
from squidmesh.core.recorded import COMMANDS
from squidmesh.core.rollback import plan
from squidmesh.core.scopes import rollback, saga
from squidmesh.core.signals import Signal
from squidmesh.core.workflow import Flow, Workflow
from squidmesh.errors import StepFailed, WorkflowError
from tests.core import saga_programs
from tests.core.play import Play
from tests.core.programs import Op, programs, workflow_of
from tests.core.saga_world import World
from tests.core.sagashop import STEPS, book
from tests.core.shop import charge
from tests.core.test_replay import play_out

seeds = st.integers(0, 2**32 - 1)
LATER = 1_000_000_000_000

NEWS = (
    ev.AttemptStarted, ev.AttemptFailed, ev.AttemptLost, ev.StepCompleted, ev.StepFailed, ev.TimerFired,
)  # fmt: skip


def begun(history: Sequence[Event], position: str, run_id: str = "run-1") -> tuple[ev.RunStarted, Forked]:
    """The first event of a fork, and the others."""
    first = history[0]
    assert isinstance(first, ev.RunStarted)
    forked = fork(history, position, "ann", "again")
    started = ev.RunStarted(
        seq=1, at=history[-1].at + LATER, workflow=first.workflow, version=first.version, input=first.input,
        interpreter_version=INTERPRETER_VERSION, rerun_of=run_id, from_position=position, kept=forked.kept,
        ancestors=descent(run_id, first, position),
    )  # fmt: skip
    return started, forked


class Fork(Play):
    """The new run, played as any other."""

    run_id = "run-2"

    def __init__(self, workflow: Workflow[..., Any], history: Sequence[Event], position: str) -> None:
        started, forked = begun(history, position)
        self.workflow, self.time, self.forked = workflow, started.at, forked
        self.steps = STEPS  # type: ignore[misc]
        known = list(decode(encode([started, *forked.events]), 1))  # as a store gives it back
        self.history, self.unrecorded = known, []
        self.live = Interpreter(workflow, self.run_id, steps=self.steps)
        self.live.replay(known, self.time)
        self.last = self.record()

    def go_on_like(self, history: Sequence[Event]) -> None:
        """The rest comes out as it did in the old run."""
        for event in history:
            position = getattr(event, "position", "")
            if isinstance(event, NEWS) and position in self.open and self.forked.again(position):
                self.feed(event)


def some(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate],
    )


def tame(op: Any) -> bool:
    """Whether an operation gives the same in every run."""
    if isinstance(op, list):
        return all(map(tame, op))
    return op not in [("now",), ("uuid",), ("rng",)] and all(map(tame, (p for p in op if isinstance(p, (list, tuple)))))


def positions(history: Sequence[Event]) -> list[str]:
    """All positions that a run has come to, and those of the groups that they are members of."""
    asked = {event.position for event in history if isinstance(event, COMMANDS)}
    return sorted({at.rsplit(".", n)[0] for at in asked for n in range(at.count(".") + 1)}, key=order)


def may_differ(history: Sequence[Event], forked: Forked) -> bool:
    """Whether something that is kept came out only when the place had been reached already, where that may matter: what
    raced with it, or would have been stopped by another's failure, finds it settled now.
    """
    if not any(isinstance(event, (ev.RaceWon, ev.StepFailed)) for event in history):
        return False
    there = [e.seq for e in history if isinstance(e, COMMANDS) and forked.again(e.position)]
    outcomes = (e for e in history if isinstance(e, (ev.StepCompleted, ev.StepFailed)))
    return any(e.seq > min(there, default=0) for e in outcomes if not forked.again(e.position))


@some(50)
@given(programs.filter(tame), seeds)
@example([("log", 2), ("gather", [("fan_out", 5, 1, 1), ("fan_out", 3, None, 0), ("step", 3)])], 12766)
def test_a_fork_from_any_position_ends_as_the_run_did(program: list[Op], seed: int) -> None:
    workflow = workflow_of(program)
    old = play_out(workflow, seed)
    for position in positions(old.history):
        if (hindered := hindrance(old.history, position)) is not None:
            with pytest.raises(Unforkable, match=f"name position {hindered.nearest}$"):
                fork(old.history, position, "ann", "again")
            assert order(hindered.nearest) < order(position)
            assert hindrance(old.history, hindered.nearest) is None
            continue
        new = Fork(workflow, old.history, position)
        assert new.last.blocked is None, (position, new.last.blocked)
        asked = [event.position for event in new.history[new.forked.kept :] if isinstance(event, ev.StepScheduled)]
        if may_differ(old.history, new.forked):
            continue
        assert all(map(new.forked.again, asked))
        new.restart()
        assert (new.last.blocked, new.last.events) == (None, ())
        new.go_on_like(old.history)
        ended, had = new.history[-1], old.history[-1]
        assert type(ended) is type(had), position
        assert getattr(ended, "result", None) == getattr(had, "result", None)


@some(25)
@given(saga_programs.programs, saga_programs.policies, seeds)
def test_a_fork_never_undoes_what_it_did_not_do(program: list[Op], policy: dict[str, Any], seed: int) -> None:
    workflow = saga_programs.workflow_of(program, **policy)
    world = World(workflow, seed, crashing=True).run()
    for position in positions(world.history):
        try:
            new = Fork(workflow, world.history, position)
        except Unforkable:
            continue
        if (blocked := new.last.blocked) is not None:
            assert blocked.reason == "past_pivot", blocked
            continue
        kept = [entry.id for entry in new.live.chain.entries.values() if entry.seq <= new.forked.kept]
        assert not [entry.id for entry in new.live.chain.armed() if entry.id in kept]
        begun_ = ev.RollbackStarted(cause="operator")
        assert not set(kept) & set(plan(new.live.chain, begun_))
        for rolling in new.live.chain.active:
            assert not set(kept) & set(rolling.planned or ())
        new.restart()
        assert new.last.events == ()


# ------------------------------------------------------------------------------------------- what it keeps


def three() -> Workflow[..., Any]:
    def body() -> Flow[list[Any]]:
        seen: list[Any] = [run_info().run_id, new_uuid().hex, rng().random(), now()]
        seen.append((yield from charge(seen[1].count("a"))))
        seen += [run_info().run_id, new_uuid().hex, rng().random(), now()]
        seen.append((yield from charge(2)))
        return [str(one) for one in seen]

    return Workflow(body, name="three")


def test_what_precedes_the_place_is_seen_as_it_was_then_and_the_rest_anew() -> None:
    old = Play(three())
    old.complete("1", 5)
    old.complete("2", 6)
    new = Fork(old.workflow, old.history, "2")
    new.complete("2", 6)
    had, has = old.result, new.result
    assert has[:5] == had[:5]
    assert had[0] == "run-1"
    assert has[5] == "run-2"
    assert not set(has[6:9]) & set(had[6:9])
    assert new.last.ended


def test_a_fork_of_a_fork_has_both_runs_behind_it() -> None:
    old = Play(three())
    old.complete("1", 5)
    old.complete("2", 6)
    once = Fork(old.workflow, old.history, "2")
    once.complete("2", 6)
    twice = Fork(old.workflow, once.history, "2")
    twice.complete("2", 7)
    assert twice.result[:5] == old.result[:5]
    assert twice.result[5] == "run-2"


def test_an_unknown_position_is_no_place() -> None:
    old = Play(three())
    old.complete("1", 5)
    assert list(places(old.history)) == ["1", "2"]
    assert [is_known(old.history, at) for at in ("1", "2", "3", "0", "1.1", "x", "", "-1")] == [True, True] + [
        False
    ] * 6


def test_a_member_runs_anew_while_its_elder_siblings_keep_their_results() -> None:
    def body() -> Flow[Any]:
        return (yield from gather(charge(1), charge(2), charge(3)))

    old = Play(Workflow(body, name="members"))
    for at in ("1.1", "1.2", "1.3"):
        old.complete(at, 1)
    new = Fork(old.workflow, old.history, "1.2")
    assert new.open == ["1.2", "1.3"]
    new.complete("1.2", 8)
    new.complete("1.3", 9)
    assert new.result == [1, 8, 9]


def test_a_race_runs_anew_as_a_whole() -> None:
    def body() -> Flow[Any]:
        return (yield from race(charge(1), sleep(9)))

    old = Play(Workflow(body, name="racers"))
    old.complete("1.1", 1)
    with pytest.raises(Unforkable, match=r"from there, for it is a part of the race there: name position 1$"):
        fork(old.history, "1.2", "ann", "again")
    assert Fork(old.workflow, old.history, "1").open == ["1.1", "1.2"]


def spawning() -> Flow[Any]:
    first = yield from spawn(charge(1))
    yield from charge(2)
    return (yield from first)


def test_a_spawned_step_keeps_the_result_that_came_later() -> None:
    old = Play(Workflow(spawning, name="spawning"))
    old.complete("2", 2)
    old.complete("1", 1)
    new = Fork(old.workflow, old.history, "2")
    assert new.open == ["2"]
    assert new.complete("2", 9).ended
    assert new.result == 1


def test_a_spawned_step_that_was_cancelled_with_its_run_is_tried_anew() -> None:
    old = Play(Workflow(spawning, name="spawning"))
    old.complete("2", 2)
    assert old.cancel().ended
    new = Fork(old.workflow, old.history, "2")
    assert new.open == ["1", "2"]
    assert [node.position for node in new.last.steps] == ["2", "1"]
    assert new.forked.anew == {"1"}
    new.complete("1", 4)
    new.complete("2", 5)
    assert new.result == 4
    assert [entry.id for entry in new.live.chain.entries.values() if entry.seq > new.forked.kept] == ["1", "2"]


TOLD = Signal("told", int)


def test_messages_that_were_taken_later_are_there_again() -> None:
    def body() -> Flow[Any]:
        first = yield from TOLD.wait()
        yield from charge(1)
        return [first, (yield from TOLD.wait())]

    old = Play(Workflow(body, name="listens"))
    old.feed(ev.SignalReceived(name="told", payload=1))
    old.complete("2", 0)
    old.feed(ev.SignalReceived(name="told", payload=2))
    new = Fork(old.workflow, old.history, "2")
    new.complete("2", 0)
    assert new.result == old.result == [1, 2]
    assert Fork(old.workflow, old.history, "1").open == ["2"]  # the first of them at once


def test_a_branch_is_taken_as_the_code_at_hand_has_it_from_the_place_on() -> None:
    def old_code() -> Flow[Any]:
        yield from charge(1)
        yield from charge(2)

    def new_code() -> Flow[Any]:
        yield from charge(1)
        yield from charge(3 if patched("dearer") else 2)

    old = Play(Workflow(old_code, name="patch"))
    old.complete("1", 0)
    old.complete("2", 0)
    new = Fork(Workflow(new_code, name="patch"), old.history, "2")
    assert new.last.blocked is None
    assert [e.input for e in new.history if isinstance(e, ev.StepScheduled)] == [{"cents": 1}, {"cents": 3}]


# -------------------------------------------------------------------------------------------- what was undone


def grounded() -> Flow[Any]:
    yield from book(1)
    ground = saga("ground")
    try:
        with ground:
            yield from book(2)
            yield from book(3)
    except StepFailed:
        report = yield from rollback(ground)
        yield from book(4)
        return len(report.undone)


def test_a_scope_that_was_rolled_back_on_the_way_stays_so() -> None:
    old = Play(Workflow(grounded, name="grounded"))
    old.steps = STEPS  # type: ignore[misc]
    old.live._steps = STEPS
    old.complete("1", 1)
    old.complete("2", 2)
    old.spend("3")
    old.undo("2")
    old.complete("5", 4)
    assert old.result == 1
    new = Fork(old.workflow, old.history, "5")
    assert new.open == ["5"]
    new.complete("5", 4)
    assert new.result == 1
    at_once = Fork(old.workflow, old.history, "4")  # the rollback is over before the next command
    at_once.complete("5", 4)
    assert at_once.result == 1
    with pytest.raises(Unforkable, match=r"what precedes position 3 was undone .core_book at 2"):
        fork(old.history, "3", "ann", "again")
    assert Fork(old.workflow, old.history, "2").open == ["2"]


def test_what_a_failed_run_has_undone_is_not_kept() -> None:
    def body() -> Flow[None]:
        yield from book(1)
        yield from book(2)
        raise WorkflowError("no")

    old = Play(Workflow(body, name="fails"))
    old.complete("1", 1)
    old.complete("2", 2)
    old.undo("2", "1")
    with pytest.raises(Unforkable, match=r"was undone .core_book at 1"):
        fork(old.history, "2", "ann", "again")
    assert Fork(old.workflow, old.history, "1").open == ["1"]


def test_a_fork_that_fails_undoes_what_it_did_itself() -> None:
    def body() -> Flow[None]:
        yield from book(1)
        yield from book(2)

    old = Play(Workflow(body, name="booked"))
    old.complete("1", 1)
    old.complete("2", 2)
    new = Fork(old.workflow, old.history, "2")
    new.complete("2", 2)
    new.says(ev.RollbackStarted(cause="operator", actor="ann", note="no"))
    new.undo("2")
    assert [entry.position for entry in new.report.undone] == ["2"]
    assert new.report.outcome == "clean"
