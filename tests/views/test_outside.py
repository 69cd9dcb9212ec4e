"""Messages, gates and holds as people read them: what is waited for, since when, who has spoken, what to type."""

from __future__ import annotations

from squidmesh import events as ev
from squidmesh.events import Event
from squidmesh.views.run import RunView, fold
from tests.views.facts import RUN, at, begun, numbered, row, scheduled, started, told

PAUSED = row(status="paused")
WAITING = row(status="waiting")
ASKED = ev.GateOpened(at=at(2), position="3", gate="approval", name="fraud-desk", needed=2, due=at(1_000))
WAITS = ev.SignalAwaited(at=at(2), position="1", name="paid", due=at(1_000))


def vote(actor: str, approved: bool = True, seconds: float = 5) -> Event:
    return ev.VoteCast(at=at(seconds), position="3", actor=actor, approved=approved, note="seen")


def seen(*events: Event, over: bool = False) -> RunView:
    end = [ev.RunTerminated(at=at(50), actor="ops", note="enough")] if over else []
    return fold(row(status="terminated" if over else "paused"), numbered(started(), *events, *end))


def test_an_open_approval_tells_the_votes_so_far_and_its_deadline() -> None:
    found = told(PAUSED, ASKED, vote("ann"))
    assert (found.status, found.reason) == ("paused", "waiting_for_approval")
    assert found.summary == (
        "Approval 'fraud-desk' (position 3) is open since 2026-01-01 00:00:02 UTC: 1 of 2 (ann) so far. It is on time: "
        "due at 2026-01-01 00:16:40 UTC (in 15 min)."
    )
    assert found.blockers == ["approval 'fraud-desk' at position 3 takes 1 more"]
    (waiting,) = found.waiting_on
    assert (waiting.kind, waiting.name, waiting.position) == ("gate", "fraud-desk", "3")
    assert [action.cli for action in found.next_actions] == [
        f"squidmesh approve {RUN} fraud-desk --actor …",
        f"squidmesh reject {RUN} fraud-desk --actor …",
        f"squidmesh cancel {RUN}",
    ]


def test_an_approval_that_is_as_good_as_decided_is_not_waited_for() -> None:
    facts = row(status="paused", due_at=at(6))
    for votes in ([vote("ann"), vote("bob")], [vote("ann", approved=False)]):
        found = told(facts, ASKED, waiting=votes)
        assert (found.status, found.reason) == ("running", "advancing")


def test_a_message_that_waits_to_be_looked_at_is_not_waited_for() -> None:
    found = told(row(status="waiting", due_at=at(6)), WAITS, waiting=[ev.SignalReceived(at=at(6), name="paid")])
    assert (found.status, found.reason) == ("running", "advancing")


def test_the_earliest_due_of_what_comes_from_outside_explains() -> None:
    timer = ev.TimerSet(at=at(2), position="2", due=at(500))
    forever = ev.SignalAwaited(at=at(1), position="1", name="paid")
    assert told(WAITING, forever, timer).reason == "sleeping"
    assert told(WAITING, WAITS, timer).reason == "sleeping"
    soon = ev.SignalAwaited(at=at(1), position="1", name="paid", due=at(200))
    assert told(WAITING, soon, timer).reason == "waiting_for_signal"


def test_a_step_that_runs_comes_before_a_gate_and_a_person_before_a_timer() -> None:
    timer = ev.TimerSet(at=at(2), position="2", due=at(101))
    found = told(row(worker="w1"), ASKED, scheduled(), begun())
    assert (found.reason, [waiting.kind for waiting in found.waiting_on]) == ("step_running", ["step", "gate"])
    assert told(PAUSED, timer, ASKED).reason == "waiting_for_approval"


def test_who_holds_a_run_comes_before_all_else() -> None:
    held = ev.RunHeld(at=at(9), actor="ops")
    found = told(PAUSED, ASKED, WAITS, held)
    assert (found.reason, found.blockers[0]) == ("held", "ops holds the run")
    assert found.summary.startswith("The run is held by ops since 2026-01-01 00:00:09 UTC. Nothing new begins")
    assert found.next_actions[0].cli == f"squidmesh release {RUN} --actor …"
    released = ev.RunReleased(at=at(10), actor="ops")
    assert told(row(status="paused", due_at=at(10)), held, waiting=[released]).reason == "advancing"


def test_messages_of_other_names_are_told() -> None:
    kept = [ev.SignalReceived(at=at(3), name=name) for name in ("payed", "x", "payed")]
    assert "3 messages are kept that it does not wait for: 'payed' and 'x'." in told(WAITING, WAITS, *kept).summary


def test_a_run_whose_deadline_is_near_says_so() -> None:
    facts = row(status="waiting", deadline=at(105))
    assert told(facts, WAITS).summary.endswith(
        "The run as a whole is due soon: due at 2026-01-01 00:01:45 UTC (in 5.0 s)."
    )
    assert "as a whole" not in told(row(status="waiting", deadline=at(10_000)), WAITS).summary


def test_a_view_has_waits_and_gates_with_what_became_of_them() -> None:
    view = seen(
        WAITS, ev.SignalReceived(at=at(3), name="paid", payload={"cents": 1}),
        ev.SignalTaken(at=at(4), position="1", name="paid", number=1), ASKED, vote("ann"), vote("bob", approved=False),
        ev.GateDecided(at=at(6), position="3", approved=False, actor="bob", note="seen"),
        ev.RunHeld(at=at(7), actor="ops", note="looking"),
    )  # fmt: skip
    (wait,), (gate,) = view.waits, view.gates
    assert (wait.status, wait.payload, wait.ended_at) == ("received", {"cents": 1}, wait.ended_at)
    assert (gate.status, gate.actor, gate.note, gate.needed) == ("rejected", "bob", "seen", 2)
    assert [(v.actor, v.approved) for v in gate.votes] == [("ann", True), ("bob", False)]
    assert view.held is not None
    assert (view.held.actor, view.held.note) == ("ops", "looking")
    assert RunView.model_validate_json(view.model_dump_json()) == view


def test_of_a_run_that_is_over_nothing_is_open_or_held() -> None:
    view = seen(WAITS, ASKED, ev.RunHeld(at=at(7), actor="ops"), over=True)
    assert (view.waits[0].status, view.gates[0].status, view.held) == ("cancelled", "cancelled", None)
