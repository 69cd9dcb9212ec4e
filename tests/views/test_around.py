"""What a view of a run has around its steps: children, commands of people, deadlines, the chain, prospects, events."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from squidmesh import events as ev
from squidmesh.core.deadlines import SOON_MOST, deadline_state
from squidmesh.core.payloads import Value
from squidmesh.events import Event
from squidmesh.views.run import RunView, fold
from tests.views.facts import DECLINED, RUN, SECOND, T0, at, begun, numbered, row, scheduled, started, told

OTHER = "019b7000-0000-7000-8000-000000000002"


def view(*events: Event, waiting: tuple[Event, ...] = (), now: float = 100, **given: Any) -> RunView:
    return fold(row(**given), numbered(started(), *events), waiting=waiting, now=at(now))


def test_children_say_how_they_were_started_and_how_they_ended() -> None:
    found = view(
        ev.ChildStarted(at=at(1), position="1", run_id=OTHER, workflow="pack", input={"n": 1}),
        ev.ChildStarted(at=at(1), position="2", run_id=OTHER, workflow="pack", input={}, joined=True),
        ev.ChildStarted(at=at(1), position="3", run_id=OTHER, workflow="mail", input={}, options={"detached": True}),
        ev.StepDeferred(at=at(2), position="4", run_id=OTHER, workflow="remind"),
        ev.ChildEnded(
            at=at(5), position="1", run_id=OTHER, outcome="failed", failure=DECLINED, rollback={"outcome": "clean"}
        ),
    ).children
    assert [(c.position, c.status, c.joined, c.detached, c.deferred) for c in found] == [
        ("1", "failed", False, False, False), ("2", "started", True, False, False),
        ("3", "started", False, True, False), ("4", "started", False, False, True),
    ]  # fmt: skip
    assert (found[0].outcome, found[0].failure, found[0].rollback, found[1].outcome) == (
        "failed", DECLINED, "clean", None
    )  # fmt: skip


def test_a_continued_run_names_its_successor() -> None:
    went_on = ev.RunContinued(at=at(4), run_id=OTHER, workflow="checkout", version=3)
    found = view(went_on, status="running")
    assert (found.status, found.continued_as) == ("continued", OTHER)
    explained = told(row(status="continued", ended_at=at(4)), went_on)
    assert (explained.reason, OTHER in explained.summary) == ("continued", True)
    assert explained.next_actions[0].cli == f"squidmesh show {OTHER}"


def test_commands_of_people_are_told_once_each() -> None:
    found = view(
        ev.RunHeld(at=at(1), actor="ada", note="wait", key="k-1"),
        ev.RunReleased(at=at(2), actor="bob"),
        ev.GateOpened(at=at(3), position="1", gate="approval", name="desk"),
        ev.VoteCast(at=at(4), position="1", actor="eve", approved=False, note="no"),
        ev.GateDecided(at=at(4), position="1", approved=False, actor="eve"),
        ev.GateOpened(at=at(5), position="2", gate="pause", name="there"),
        ev.GateDecided(at=at(6), position="2", payload=1, actor="ada"),
        ev.RollbackStarted(at=at(7), cause="operator", actor="ada", note="undo it"),
        ev.RollbackStarted(at=at(8), cause="operator", number=1, actor="ada", note="undo it"),
        waiting=(ev.CancelRequested(at=at(9), actor="ada"),),
    ).commands
    assert [(c.command, c.actor, c.note, c.on, c.pending) for c in found] == [
        ("hold", "ada", "wait", None, False), ("release", "bob", None, None, False),
        ("reject", "eve", "no", "1", False), ("resume", "ada", None, "2", False),
        ("rollback", "ada", "undo it", None, False), ("cancel", "ada", None, None, True),
    ]  # fmt: skip
    assert found[0].key == "k-1"


def test_deadlines_are_those_of_the_run_its_gates_its_waits_and_its_attempts() -> None:
    found = view(
        ev.GateOpened(at=at(0), position="1", gate="approval", name="desk", due=at(105)),
        ev.GateOpened(at=at(0), position="2", gate="pause", name="there", due=at(50)),
        ev.GateDecided(at=at(40), position="2", actor="ada"),
        ev.SignalAwaited(at=at(90), position="3", name="go", due=at(200)),
        scheduled("4", options={"timeout": 5}),
        begun("4", seconds=90),
        deadline=at(1_000),
    ).deadlines
    assert [(d.kind, d.name, d.state, d.open) for d in found] == [
        ("run", "checkout", "on_time", True), ("gate", "desk", "due_soon", True), ("gate", "there", "on_time", False),
        ("signal", "go", "on_time", True), ("step", "charge", "overdue", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("began", "due", "now", "state"),
    [
        (0, 100, 89, "on_time"), (0, 100, 90, "due_soon"), (0, 100, 100, "overdue"), (None, 100, 99, "on_time"),
        (0, 100 * SOON_MOST, 99 * SOON_MOST - 1, "on_time"), (0, 100 * SOON_MOST, 99 * SOON_MOST, "due_soon"),
    ],
)  # fmt: skip
def test_it_is_due_soon_in_the_last_tenth_of_its_time_and_within_a_day(
    began: int | None, due: int, now: int, state: str
) -> None:
    assert deadline_state(began, due, now) == state


def test_an_explanation_has_the_open_deadlines_and_the_prospects() -> None:
    done = [scheduled(traits=["undo"]), begun(), ev.StepCompleted(at=at(2), position="1")]
    found = told(row(worker="w1", deadline=at(101)), *done)
    assert [(d.kind, d.state) for d in found.deadlines] == [("run", "due_soon")]
    assert (found.prospects.undo.possible, found.prospects.undo.undoable, found.prospects.undo.clean) == (True, 1, True)


def test_the_chain_and_its_prospects_say_what_would_be_undone_and_what_would_stay() -> None:
    found = view(
        scheduled("1", "book", traits=["undo"]), ev.StepCompleted(at=at(1), position="1"),
        scheduled("2", "mail"), ev.StepCompleted(at=at(2), position="2"),
        scheduled("3", "ship", traits=["irreversible"]), ev.StepCompleted(at=at(3), position="3"),
        scheduled("4", "read", traits=["pure"]), ev.StepCompleted(at=at(4), position="4"),
    )  # fmt: skip
    assert [(e.step, e.state, e.undoable, e.reason) for e in found.entries] == [
        ("book", "armed", True, None), ("mail", "armed", False, "no_undo"), ("ship", "armed", False, "declared")
    ]  # fmt: skip
    undo, replay = found.prospects.undo, found.prospects.replay
    assert (undo.undoable, undo.left, undo.clean) == (1, {"declared": 1, "no_undo": 1}, False)
    assert [affected.step for affected in undo.first] == ["ship", "mail"]
    assert (replay.possible, replay.safe, [a.step for a in replay.unsafe]) == (False, False, ["ship"])


def test_an_irreversible_step_that_was_under_way_makes_another_run_unsafe() -> None:
    found = view(
        scheduled("1", "ship", traits=["irreversible"]), begun(),
        ev.RunTerminated(at=at(5), actor="ada", note="enough"), status="terminated", ended_at=at(5),
    )  # fmt: skip
    assert (found.prospects.replay.possible, found.prospects.replay.safe) == (True, False)


def test_the_history_is_in_the_view_where_it_was_asked_for_and_masked() -> None:
    secret = Value(SecretStr, "it").encode(SecretStr("s3cr3t"))
    events = [*numbered(started(input={"token": secret})), ev.RunHeld(at=T0 + SECOND, actor="ada")]
    found = fold(row(), events, history=True)
    assert found.events is not None
    assert [(e["seq"], e["kind"]) for e in found.events] == [(1, "RunStarted"), (None, "RunHeld")]
    assert "s3cr3t" not in found.model_dump_json()
    assert json.loads(found.model_dump_json())["events"][1]["actor"] == "ada"
    assert fold(row(), events).events is None


def test_a_view_with_all_of_it_comes_back_from_its_json() -> None:
    found = view(
        ev.ChildStarted(at=at(1), position="1", run_id=RUN, workflow="pack", input={}),
        ev.RunHeld(at=at(2), actor="ada"), deadline=at(200),
    )  # fmt: skip
    assert RunView.model_validate_json(found.model_dump_json()) == found
    assert found.deadlines[0].due - found.created_at == timedelta(seconds=200)
