"""Two people in two processes press at one instant, or one at the deadline, or a worker dies of it: one decides."""

import time
from typing import Any

from squidmesh import Decision, Handle
from squidmesh.events import GateDecided, GateExpired, GateOpened, VoteCast
from tests.processes import people_flows as flows
from tests.processes.presser import Press, write
from tests.processes.stage import Stage, wait_for
from tests.processes.test_signal_races import FLOWS, pressed

GATES = 8


def _open(handle: Handle[Any]) -> GateOpened:
    """Wait until its gate is open; gives that."""

    def opened() -> list[GateOpened]:
        return [event for event in handle.history() if isinstance(event, GateOpened)]

    return wait_for("the gate is open", opened)[0]


def _ends(handle: Handle[Any]) -> list[GateDecided | GateExpired]:
    return [event for event in handle.history() if isinstance(event, GateDecided | GateExpired)]


def _votes(handle: Handle[Any]) -> list[VoteCast]:
    return [event for event in handle.history() if isinstance(event, VoteCast)]


def test_of_two_who_press_at_one_instant_in_two_processes_each_counts_once(stage: Stage) -> None:
    stage.worker("--threads", "4", module=FLOWS)
    people = stage.pressers("ann", "bob")
    races = [(needed, other) for needed in (1, 2) for other in ("approve", "reject")] * 4
    handles = stage.mesh.start_many([flows.asks(needed) for needed, _ in races])
    for handle in handles:
        _open(handle)
    begin = time.time() + 1.0
    instants = [begin + 0.04 * n for n in range(len(races))]
    for actor in ("ann", "bob"):
        words = ["approve" if actor == "ann" else other for _, other in races]
        presses = [
            Press(handle.run_id, word, at, ["boss"], {"actor": actor})
            for handle, word, at in zip(handles, words, instants, strict=True)
        ]
        write(stage.folder / actor, presses)
    said = [{run: outcome for run, _, outcome in pressed(person)} for person in people]
    for handle, (needed, other) in zip(handles, races, strict=True):
        handle.result(timeout=60)
        _each_has_counted_once(handle, needed, other, [of[handle.run_id] for of in said])
    stage.check(handles)


def _each_has_counted_once(handle: Handle[Decision], needed: int, other: str, outcomes: list[str]) -> None:
    """``outcomes``: what was answered to ann, who approved, and to bob."""
    decision, votes, (end,) = handle.result(), _votes(handle), _ends(handle)
    by = (decision.actor, decision.approved)
    assert isinstance(end, GateDecided)
    assert (end.actor, end.approved) == (votes[-1].actor, votes[-1].approved) == by
    assert [vote.actor for vote in votes] == [vote.actor for vote in decision.votes]
    if needed == 1:
        assert len(votes) == 1
        assert by in (("ann", True), ("bob", other == "approve"))
        assert outcomes != ["NothingOpen", "NothingOpen"]
    elif other == "approve":
        assert sorted(vote.actor for vote in votes) == ["ann", "bob"]
        assert "NothingOpen" not in outcomes
    else:
        assert by == ("bob", False)
        assert outcomes[1] != "NothingOpen"


def test_of_a_vote_and_the_deadline_at_one_instant_one_decides(stage: Stage) -> None:
    stage.worker("--threads", "4", module=FLOWS)
    presser = stage.presser("ann")
    handles = stage.mesh.start_many([flows.asks(1, 2.0) for _ in range(GATES)])
    due = [(_open(handle).due or 0) / 1e6 for handle in handles]
    presses = [
        Press(handle.run_id, "approve", at + 0.002 * (n - 5), ["boss"], {"actor": "ann"})
        for n, (at, handle) in enumerate(zip(due, handles, strict=True))
    ]
    write(stage.folder / "ann", sorted(presses, key=lambda press: press.at))
    outcomes = {run: outcome for run, _, outcome in pressed(presser)}
    for handle in handles:
        decision = handle.result(timeout=60)
        (end,) = _ends(handle)
        assert isinstance(end, GateExpired) == decision.expired
        assert decision.approved != decision.expired
        assert len(_votes(handle)) == (1 if decision.approved else 0)
        if outcomes[handle.run_id] == "NothingOpen":
            assert decision.expired
    stage.check(handles)


def test_a_worker_that_dies_while_it_takes_what_a_person_said_loses_and_doubles_nothing(stage: Stage) -> None:
    stage.nursery(count=2, threads=2)
    handles = stage.mesh.start_many([flows.pauses() for _ in range(2)])
    for n, handle in enumerate(handles):
        _open(handle)
        for _ in range(2):
            handle.resume(100 + n, actor="cy", key="once")
    assert [handle.result(timeout=60) for handle in handles] == [100, 101]
    assert {file.name for file in stage.folder.glob("fuse-*")} == {"fuse-100", "fuse-101"}
    assert [len(_ends(handle)) for handle in handles] == [1, 1]
    stage.check(handles)
