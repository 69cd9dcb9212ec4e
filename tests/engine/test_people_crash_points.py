"""Whatever happens between two calls of the store, what people and messages have said counts once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squidmesh import Flow, NothingOpen, Signal, approval, pause, step, workflow
from squidmesh.core.status import ENDED
from squidmesh.testing import VirtualMesh
from tests.engine.cluster import Cluster, Fate

PAID = Signal("fates.paid", int)
GO = Signal("fates.go")


@step(name="fates.noted", max_lost=10_000)
def noted(n: int) -> int:
    return n


@workflow(name="fates.deals")
def deals(other: str) -> Flow[list[Any]]:
    paid = [(yield from PAID.wait()), (yield from PAID.wait())]
    paid += [(yield from noted(3))]
    decision = yield from approval("boss", needed=2)
    fix = yield from pause("look", int)
    yield from GO.send(other, True)
    timed_out = yield from PAID.wait(timeout=1)
    return [paid, decision.approved, [vote.actor for vote in decision.votes], fix, timed_out]


@workflow(name="fates.goes")
def goes() -> Flow[bool]:
    return (yield from GO.wait())


RIGHT = [[1, 2, 3], True, ["ann", "bob"], 7, None]


class Crowd:
    """Does one thing after the other, each as soon as it can be done, while nobody else has anything to do."""

    def __init__(self, deal: Any, holds: set[int]) -> None:
        self.deal, self.holds, self.turn, self.held = deal, holds, 0, False
        self.todo: list[Any] = [
            lambda: deal.signal(PAID, 1, key="one"),
            lambda: deal.signal(PAID, 2, key="two"),
            lambda: deal.approve("boss", actor="ann", key="ann"),
            lambda: deal.approve("boss", actor="bob", key="bob"),
            lambda: deal.resume("no number", actor="cy", key="wrong"),
            lambda: deal.resume(7, actor="cy", key="cy"),
        ]

    def __call__(self, handle: Any) -> bool:
        if handle is not self.deal or handle.status() in ENDED:
            return False
        self.turn += 1
        if self.held:
            self.held = False
            self.deal.release(actor="ops", key=f"r{self.turn}")
            return True
        if self.turn in self.holds:
            self.held = True
            self.deal.hold(actor="ops", key=f"h{self.turn}")
            return True
        if not self.todo:
            return False
        try:
            self.todo[0]()
            self.todo[0]()  # whoever has had no answer says it again, with the same key
        except NothingOpen:
            return False
        del self.todo[0]
        return True


def play(mesh: VirtualMesh, fates: Any, holds: set[int], queues: Any = (("default",), ("default",))) -> None:
    other = mesh.start(goes())
    deal = mesh.start(deals(other.run_id))
    cluster = Cluster(mesh, fates, queues)
    cluster.settle([deal, other], Crowd(deal, holds))
    assert (deal.result(), other.result()) == (RIGHT, True)
    counts = Counter(event.kind for event in deal.history())
    assert (counts["SignalReceived"], counts["SignalTaken"], counts["VoteCast"], counts["GateDecided"]) == (2, 2, 2, 2)
    assert counts["SignalRejected"] == 1
    assert counts["RunHeld"] == counts["RunReleased"]
    assert Counter(event.kind for event in other.history())["SignalReceived"] == 1
    assert [event.seq for event in deal.history()] == list(range(1, len(deal.history()) + 1))
    assert cluster.left_over() == []
    for handle in (deal, other):
        mesh.check(handle)


@pytest.mark.parametrize("fate", [Fate.DIE_BEFORE, Fate.DIE_AFTER, Fate.FREEZE])
@pytest.mark.parametrize("call", range(0, 32, 2))
def test_a_worker_that_dies_at_any_call_changes_nothing_in_what_was_said(call: int, fate: Fate) -> None:
    with VirtualMesh() as mesh:
        play(mesh, {call + n: fate for n in range(2)}, holds=set())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fates=st.lists(st.sampled_from([Fate.GO_ON] * 4 + list(Fate)), max_size=60),
    holds=st.sets(st.integers(1, 9), max_size=3),
)
def test_whatever_happens_in_whatever_order_it_comes_out_the_same(fates: list[Fate], holds: set[int]) -> None:
    with VirtualMesh() as mesh:
        play(mesh, fates, holds)


@pytest.mark.parametrize("fate", [Fate.DIE_BEFORE, Fate.DIE_AFTER])
def test_the_same_on_postgresql(postgres_url: str, fate: Fate) -> None:
    with VirtualMesh(postgres_url) as mesh:
        play(mesh, {5: fate, 9: fate, 14: fate, 20: fate}, holds={2, 5})
