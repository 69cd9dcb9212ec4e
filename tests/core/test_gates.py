"""Gates: what people have said, what was promised to them, and how it comes out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.commands import gather, race, sleep
from squidmesh.core.deterministic import instant, now
from squidmesh.core.events import Event
from squidmesh.core.gates import Decision, Gates, approval, came_out, pause
from squidmesh.core.standing import standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.workflow import Flow, Workflow, workflow
from squidmesh.engine.arriving import taken_up
from squidmesh.errors import DefinitionError
from tests.core.play import START, Play, kinds
from tests.core.shop import charge
from tests.core.test_signals import replays


class Fix(BaseModel):
    amount: int


def arrives(play: Play, *events: Event) -> list[Event]:
    """What arrives in one look, as the holder of the run takes it up; what is recorded of it."""
    play.time += 1_000
    taken: list[Event] = []
    for event in events:
        if (known := taken_up(play.live, event)) is not None:
            taken.append(known)
            play.learn(known)
    play.record()
    return taken


def vote(actor: str, approved: bool = True, at: str = "1", note: str | None = None) -> ev.VoteCast:
    return ev.VoteCast(position=at, actor=actor, approved=approved, note=note)


def told(decision: Decision) -> list[Any]:
    names = [f"{vote.actor} {'yes' if vote.approved else 'no'}" for vote in decision.votes]
    return [decision.approved, decision.actor, decision.note, decision.expired, names]


@workflow(name="gates.two_needed")
def two_needed() -> Flow[list[Any]]:
    return told((yield from approval("boss", needed=2, deadline=60)))


def test_enough_different_people_approve() -> None:
    play = Play(two_needed)
    assert kinds(play.last) == ["GateOpened 1"]
    arrives(play, vote("ann", note="fine"))
    assert arrives(play, vote("ann"), vote("ann", approved=False)) == []
    play.restart()
    arrives(play, vote("bob", note="go"))
    assert play.result == [True, "bob", "go", False, ["ann yes", "bob yes"]]
    replays(play)


def test_one_rejection_decides() -> None:
    play = Play(two_needed)
    arrives(play, vote("ann"))
    arrives(play, vote("bob", approved=False, note="too dear"))
    assert play.result == [False, "bob", "too dear", False, ["ann yes", "bob no"]]


@pytest.mark.parametrize("yes_first", [True, False])
def test_of_two_who_press_at_once_the_first_decides_and_the_other_is_not_recorded(yes_first: bool) -> None:
    @workflow
    def one_needed() -> Flow[list[Any]]:
        return told((yield from approval("boss")))

    play = Play(one_needed)
    votes = [vote("ann", approved=yes_first), vote("bob", approved=not yes_first)]
    assert len(arrives(play, *votes)) == 1
    assert play.result[:2] == [yes_first, "ann"]
    replays(play)


def test_at_its_deadline_an_approval_expires_with_the_votes_that_there_were() -> None:
    play = Play(two_needed)
    arrives(play, vote("ann"))
    assert standing(play.live).due == START + 1_000 + 60_000_000
    play.feed(ev.GateExpired(position="1"))
    assert play.result == [False, None, None, True, ["ann yes"]]
    assert arrives(play, vote("bob")) == []
    replays(play)


def test_a_decision_is_true_when_it_approves() -> None:
    assert Decision(approved=True)
    assert not Decision(approved=False, expired=True)


def test_a_deadline_is_a_duration_or_an_instant() -> None:
    day = datetime(2030, 1, 1, tzinfo=UTC)

    @workflow
    def three() -> Flow[None]:
        yield from gather(
            approval("a", deadline=timedelta(hours=1)), pause("b", deadline=day), pause("c", int), approval("d", 3)
        )

    opened = [event for event in Play(three).history if isinstance(event, ev.GateOpened)]
    assert [(e.gate, e.name, e.needed) for e in opened] == [
        ("approval", "a", 1), ("pause", "b", 1), ("pause", "c", 1), ("approval", "d", 3)
    ]  # fmt: skip
    hour = instant(START + 1_000 + 3_600_000_000)
    assert [e.due and instant(e.due) for e in opened] == [hour, day, None, None]


def test_a_pause_gives_what_it_was_resumed_with() -> None:
    @workflow
    def pauses() -> Flow[list[Any]]:
        fix = yield from pause("look", Fix)
        anything = yield from pause("more")
        nothing = yield from pause("last", Fix, deadline=5)
        assert fix is not None
        return [fix.amount, anything, nothing, now().isoformat()]

    play = Play(pauses)
    assert standing(play.live).reason is Reason.WAITING_FOR_RESUME
    arrives(play, ev.GateDecided(position="1", payload={"amount": 3}, actor="ann"))
    arrives(play, ev.GateDecided(position="2", payload=[1, {"x": None}], actor="ann"))
    play.time += 5_000_000
    play.feed(ev.GateExpired(position="3"))
    assert play.result == [3, [1, {"x": None}], None, instant(play.time).isoformat()]
    replays(play)


def test_a_payload_that_does_not_fit_is_on_record_and_the_pause_goes_on() -> None:
    @workflow
    def pauses() -> Flow[int]:
        fix = yield from pause("look", Fix)
        return fix.amount if fix else 0

    play = Play(pauses)
    wrong, right = (ev.GateDecided(position="1", payload={"amount": n}, actor="ann") for n in ("x", 4))
    (rejected,) = arrives(play, wrong)
    assert isinstance(rejected, ev.SignalRejected)
    assert (rejected.name, rejected.position, rejected.actor) == ("look", "1", "ann")
    play.restart()
    assert play.open == ["1"]
    arrives(play, right)
    assert play.result == 4
    replays(play)


def test_two_gates_at_once_are_decided_each_by_itself() -> None:
    @workflow
    def both() -> Flow[list[Any]]:
        one, other = yield from gather(approval("money"), approval("law"))
        return [one.actor, other.actor]

    play = Play(both)
    arrives(play, vote("ann", at="1.2"))
    assert play.open == ["1.1"]
    arrives(play, vote("bob", at="1.1"))
    assert play.result == ["bob", "ann"]


def test_a_gate_that_loses_its_race_is_closed() -> None:
    @workflow
    def races() -> Flow[int]:
        return (yield from race(approval("boss"), sleep(5)))[0]

    play = Play(races)
    play.fire("1.2")
    assert play.result == 1
    assert "TimerCancelled 1.1" in kinds(play.last)
    assert taken_up(play.live, vote("ann", at="1.1")) is None


def test_only_with_nothing_else_to_do_a_run_is_paused_at_its_gate() -> None:
    @workflow
    def beside() -> Flow[None]:
        yield from gather(approval("boss"), charge(1), sleep(9))

    play = Play(beside)
    assert standing(play.live).status is RunStatus.RUNNING
    play.complete("1.2", 1)
    assert standing(play.live).status is RunStatus.PAUSED
    assert standing(play.live).due == START + 1_000 + 9_000_000


def test_nobody_resumes_an_approval_or_votes_at_a_pause() -> None:
    @workflow
    def both() -> Flow[None]:
        yield from gather(approval("boss"), pause("look"))

    live = Play(both).live
    assert taken_up(live, ev.GateDecided(position="1.1", actor="ann")) is None
    assert taken_up(live, vote("ann", at="1.2")) is None


# ------------------------------------------------------------------------------------------------- deploys


def later(name: str, needed: int, deadline: float | None) -> Workflow[..., Any]:
    @workflow(name=name)
    def changed() -> Flow[list[Any]]:
        return told((yield from approval("boss", needed=needed, deadline=deadline)))

    return changed


@pytest.mark.parametrize(("needed", "deadline"), [(1, None), (3, 1.0), (2, 600.0)])
def test_a_deploy_while_a_gate_is_open_changes_nothing_that_was_promised(needed: int, deadline: float | None) -> None:
    play = Play(two_needed)
    due = standing(play.live).due
    play.restart(later("gates.changed", needed, deadline))
    assert (play.last.events, standing(play.live).due) == ((), due)
    arrives(play, vote("ann"))
    assert play.open == ["1"]
    arrives(play, vote("bob"))
    assert play.result[:2] == [True, "bob"]
    play.restart(later("gates.changed_again", needed + 5, deadline))
    assert play.last.ended
    assert play.last.events == ()


def test_a_payload_that_the_new_code_cannot_read_blocks_the_run_and_loses_nothing() -> None:
    def pauses(name: str, kind: Any) -> Workflow[..., Any]:
        @workflow(name=name)
        def waits() -> Flow[Any]:
            got = yield from pause("look", kind)
            yield from sleep(9)
            return got

        return waits

    play = Play(pauses("gates.text", str))
    arrives(play, ev.GateDecided(position="1", payload="seven", actor="ann"))
    play.restart(pauses("gates.number", int))
    assert (play.blocked.reason, play.blocked.position) == ("value_undecodable", "1")
    play.restart()
    play.fire("2")
    assert play.result == "seven"


def test_another_gate_at_its_place_is_a_change() -> None:
    @workflow
    def other() -> Flow[Any]:
        return (yield from pause("boss"))

    play = Play(two_needed)
    play.restart(other)
    changed = "history has the approval 'boss' at position 1"
    assert (play.blocked.reason, changed in play.blocked.message) == ("code_changed", True)


# --------------------------------------------------------------------------------------------- definitions


@pytest.mark.parametrize("needed", [0, -1, True, 1.5, "two"])
def test_an_approval_needs_at_least_one(needed: Any) -> None:
    with pytest.raises(DefinitionError, match="needed"):
        approval("boss", needed=needed)


@pytest.mark.parametrize("name", ["", " ", None, 3])
def test_a_gate_has_a_name(name: Any) -> None:
    for make in (approval, pause):
        with pytest.raises(DefinitionError, match="takes a name"):
            make(name)


def test_a_deadline_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        approval("boss", deadline=datetime(2030, 1, 1))  # noqa: DTZ001 - naive, which is the point
    with pytest.raises(TypeError, match="deadline"):
        pause("look", deadline="soon")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


# ------------------------------------------------------------------------------------------- as on record

FACTS: list[Event] = [
    ev.GateOpened(seq=1, position="1", gate="approval", name="boss", needed=2),
    ev.GateOpened(seq=2, position="2", gate="pause", name="look"),
    *(vote(actor, approved, at) for actor in ("ann", "bob", "cy") for approved in (True, False) for at in ("1", "2")),
    ev.GateDecided(position="1", actor="ann"),
    ev.GateDecided(position="2", actor="ann"),
    ev.GateExpired(position="1"),
    ev.TimerCancelled(position="2"),
    ev.SignalRejected(name="look", number=0, message="no", position="2"),
    ev.SignalRejected(name="x", number=1, message="no"),
    ev.StepRetried(position="1.1", actor="ann", note="again"),
    ev.TimerFired(position="9"),
]  # fmt: skip


@given(st.lists(st.sampled_from(FACTS), max_size=12))
def test_gates_are_folded_from_any_events_and_twice_is_as_once(events: Sequence[Event]) -> None:
    once, twice = Gates(), Gates()
    for event in events:
        once.apply(event)
        if not isinstance(event, ev.StepRetried):
            twice.apply(event)
        twice.apply(event)
    assert once.by_position == twice.by_position
    for gate in once.by_position.values():
        assert came_out(gate)
        assert gate.open is (gate.end is None and gate.decided is None)
