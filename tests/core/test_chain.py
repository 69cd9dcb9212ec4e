"""The fold of a history into what could be undone. It takes whatever a database gives, in whatever order."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain
from squidmesh.core.failure import describe
from squidmesh.core.report import report
from tests.core.saga_programs import Op, programs, workflow_of
from tests.core.saga_world import World, facts

NO = describe(ValueError("no"))


def scheduled(position: str, *traits: str, step: str = "core_book") -> ev.StepScheduled:
    return ev.StepScheduled(position=position, step=step, input={}, traits=list(traits))


def chain(*events: ev.Event) -> Chain:
    made = Chain()
    for seq, event in enumerate(events, 1):
        made.apply(event, seq)
    return made


def test_the_event_that_completes_a_step_arms_it() -> None:
    made = chain(scheduled("1", "undo"), ev.StepCompleted(position="1", result=5))
    entry = made.entries["1"]
    assert (entry.step, entry.seq, entry.result, entry.undoable) == ("core_book", 2, 5, True)


def test_a_step_that_history_does_not_know_is_not_armed() -> None:
    assert chain(ev.StepCompleted(position="1")).entries == {}


def test_a_late_completion_makes_an_uncertain_entry_certain_and_the_newest() -> None:
    made = chain(
        scheduled("1", "undo"), scheduled("2", "undo"), ev.StepFailed(position="1", failure=NO, effect="unknown"),
        ev.StepCompleted(position="2"), ev.StepCompleted(position="1", result=3),
    )  # fmt: skip
    assert list(made.entries) == ["2", "1"]
    assert (made.entries["1"].certain, made.entries["1"].seq) == (True, 5)


def test_what_runs_inside_of_a_transaction_is_one_entry_with_its_members() -> None:
    made = chain(
        scheduled("1", "transactional", "group", step="move"),
        scheduled("1.1", "undo", "transactional"), ev.StepCompleted(position="1.1"),
        scheduled("1.2", "pure", step="core_look"), ev.StepCompleted(position="1.2"),
        ev.TransactionCommitted(position="1", result=1),
    )  # fmt: skip
    assert list(made.entries) == ["1"]
    assert (made.entries["1"].kind, [m.position for m in made.entries["1"].members]) == ("transaction", ["1.1"])
    assert made.entries["1"].undoable


def test_a_transaction_with_an_irreversible_member_and_no_undo_of_its_own_is_irreversible() -> None:
    made = chain(
        scheduled("1", "transactional", "group", step="move"),
        scheduled("1.1", "irreversible", "transactional"), ev.StepCompleted(position="1.1"),
        ev.TransactionCommitted(position="1"),
    )  # fmt: skip
    assert made.entries["1"].irreversible == "declared"


def test_a_transaction_that_only_read_is_not_in_the_chain() -> None:
    made = chain(scheduled("1", "transactional", "group", step="reading"), ev.TransactionCommitted(position="1"))
    assert made.entries == {}


def test_a_registered_undo_has_an_entry_of_its_own_beside_its_step() -> None:
    undo = ev.UndoRegistered(position="1", number=1, function="shop:release", input={})
    made = chain(scheduled("1"), undo, ev.StepCompleted(position="1"))
    assert list(made.entries) == ["1:undo:1", "1"]
    assert made.covered(made.entries["1"])
    assert [entry.id for entry in made.armed()] == ["1:undo:1"]


def test_a_request_of_an_operator_that_is_not_taken_up_yet_is_no_rollback() -> None:
    assert chain(ev.RollbackStarted(cause="operator")).rollbacks == []


def test_a_step_that_is_scheduled_again_stays_in_the_scope_that_it_was_yielded_in() -> None:
    made = chain(
        scheduled("1", "undo"), ev.ScopeEntered(scope="1", name="s", position="2"), scheduled("1", "undo"),
        ev.StepCompleted(position="1"),
    )  # fmt: skip
    assert made.entries["1"].scope is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs, st.integers(0, 2**32 - 1))
def test_the_fold_does_not_raise_whatever_is_missing_doubled_or_out_of_order(program: list[Op], seed: int) -> None:
    history = World(workflow_of(program), seed, crashing=True).run().history
    luck = Random(seed)
    for _ in range(5):
        torn = [event for event in history if luck.random() < 0.8]
        torn += luck.sample(history, min(5, len(history)))
        if luck.random() < 0.5:
            luck.shuffle(torn)
        made = Chain.of(torn)
        for rollback in made.rollbacks:
            assert report(made, rollback, "run-1", "torn").id


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs, st.integers(0, 2**32 - 1))
def test_the_fold_of_a_history_is_the_same_however_it_was_cut(program: list[Op], seed: int) -> None:
    history = World(workflow_of(program), seed, crashing=False).run().history
    made = Chain()
    for event in history:
        made.apply(event)
    assert facts(made) == facts(Chain.of(history))
