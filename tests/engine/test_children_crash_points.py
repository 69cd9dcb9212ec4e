"""Whatever happens between two calls of the store, a tree of runs comes out as it would have without it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squidmesh import ChildFailed, Flow, NothingToUndo, continue_as_new, defer, gather, saga, spawn, step, workflow
from squidmesh import events as ev
from squidmesh.core.status import ENDED
from squidmesh.testing import VirtualMesh
from tests.engine.cluster import Cluster, Fate

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
ROUNDS = 600
Plan = list[list[Any]]
"""What a run does, in order: ``["step", name]``, ``["child", plan]``, ``["fail"]`` …"""

done: dict[str, int] = {}
undone: dict[str, int] = {}


@step(name="tree.plant", max_lost=10_000)
def plant(name: str) -> str:
    done[name] = done.get(name, 0) + 1
    return name


@plant.undo
def uproot(result: str, name: str) -> None:
    undone[name] = undone.get(name, 0) + 1


@step(name="tree.wither", max_lost=10_000)
def wither() -> None:
    raise ValueError("withered")


@step(name="tree.season", pure=True, max_lost=10_000)
def season() -> bool:
    return True


@workflow(name="tree.grow")
def grow(plan: Plan) -> Flow[int]:
    count = 0
    for n, (what, *given_) in enumerate(plan):
        match what:
            case "step":
                yield from plant(given_[0])
            case "child":
                count += yield from grow(given_[0])
            case "keyed":
                count += yield from grow(given_[1]).options(key=given_[0])
            case "gather":
                count += sum((yield from gather([grow(inner) for inner in given_[0]])))
            case "spawn":
                yield from spawn(grow(given_[0]))
            case "caught":
                try:
                    with saga("branch"):
                        count += yield from grow(given_[0])
                except ChildFailed:
                    count += 100
            case "defer":
                yield from defer(plant(given_[0]), until=season(), every=1)
            case "continue":
                yield from continue_as_new(grow(plan[n + 1 :]))
            case _:
                yield from wither()
        count += 1
    return count


def settled(mesh: VirtualMesh, root: Any) -> dict[str, Any]:
    """All that must be the same, however often a worker was lost on the way."""
    runs = [mesh.handle(run.run_id) for run in mesh.list(limit=200)]
    for run in runs:
        mesh.check(run)
        starts = [event for event in run.history() if isinstance(event, (ev.ChildStarted, ev.StepDeferred))]
        for start in starts:
            assert mesh.handle(start.run_id).status() in ENDED
        parent = run.inspect().parent
        if parent is not None:
            events = mesh.handle(parent).history()
            first = run.history()[0]
            assert isinstance(first, ev.RunStarted)
            of_link = first.continues is not None
            assert of_link or any(getattr(event, "run_id", None) == run.run_id for event in events)
    newest = root._newest()
    view = newest.inspect()
    return {
        "statuses": sorted(run.status() for run in runs),
        "result": view.result,
        "failure": None if view.failure is None else view.failure.message,
        "report": None if view.rollback is None else flat(view.rollback),
        "done": sorted(done),
        "undone": sorted(undone),
        "left": sorted(set(done) - set(undone)),
    }


def compared(plan: Plan, told: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on who was faster: of branches that fail side by side, how far the others came does."""
    text = str(plan)
    if "'fail'" not in text or not any(f"'{what}'" in text for what in ("gather", "spawn", "defer")):
        return told
    report = told["report"]
    return {"result": told["result"], "failure": told["failure"], "left": told["left"], "outcome": report and report[1]}


def flat(report: Any) -> list[Any]:
    lists = ("undone", "irreversible", "failed", "unaccounted", "skipped", "pending")
    entries = [entry for name in lists for entry in getattr(report, name)]
    told = sorted((e.position, e.kind, e.step, e.state, e.reason or "") for e in entries)
    return [report.cause, report.outcome, told, sorted(map(flat, report.children), key=str)]


def play(mesh: VirtualMesh, plan: Plan, fates: Any, then_undo: bool) -> dict[str, Any]:
    done.clear()
    undone.clear()
    root = mesh.start(grow(plan))
    cluster = Cluster(mesh, fates, (("default",), ("default",)))
    asked: list[str] = []

    def person(handle: Any) -> bool:
        if handle is not root or root._newest().status() != "completed" or not then_undo or asked or going_on(mesh):
            return False
        asked.append("once")
        with suppress(NothingToUndo):
            root.rollback(key="undo", **BY)
        return True

    cluster.settle([root], person, ROUNDS)
    others = [mesh.handle(run.run_id) for run in mesh.list(limit=200) if run.run_id != root.run_id]
    cluster.settle([root, *others], person, ROUNDS)
    assert cluster.left_over() == []
    return compared(plan, settled(mesh, root))


def going_on(mesh: VirtualMesh) -> bool:
    """Whether some run goes on: a person waits for it."""
    return any(run.status not in ENDED for run in mesh.list(limit=200))


def calm(plan: Plan, then_undo: bool) -> dict[str, Any]:
    with VirtualMesh() as mesh:
        return play(mesh, plan, [], then_undo)


def wild(database: Any, plan: Plan, fates: Any, then_undo: bool) -> dict[str, Any]:
    with VirtualMesh(database, max_lost=10_000) as mesh:
        return play(mesh, plan, fates, then_undo)


TREES: dict[str, Plan] = {
    "a child": [["step", "a"], ["child", [["step", "b"]]], ["step", "c"]],
    "a late failure": [["child", [["step", "a"], ["child", [["step", "b"]]]]], ["step", "c"], ["fail"]],
    "one of several fails": [["step", "a"], ["gather", [[["step", "b"]], [["step", "c"], ["fail"]], [["step", "d"]]]]],
    "by key": [["keyed", "k", [["step", "a"]]], ["keyed", "k", [["step", "a"]]], ["fail"]],
    "spawned": [["spawn", [["step", "a"], ["child", [["step", "b"]]]]], ["step", "c"], ["fail"]],
    "caught": [["caught", [["step", "a"], ["child", [["step", "b"]]], ["fail"]]], ["step", "c"]],
    "deferred": [["defer", "a"], ["step", "b"]],
    "deferred and failed": [["step", "b"], ["defer", "a"], ["child", [["step", "c"]]], ["fail"]],
    "continued": [
        ["step", "a"],
        ["continue"],
        ["child", [["step", "b"], ["continue"], ["step", "c"]]],
        ["continue"],
        ["fail"],
    ],
    "continued child": [["child", [["step", "a"], ["continue"], ["step", "b"]]], ["step", "c"]],
}


@pytest.mark.parametrize("tree", list(TREES))
@pytest.mark.parametrize("fate", [Fate.DIE_BEFORE, Fate.DIE_AFTER, Fate.FREEZE])
def test_a_worker_that_dies_at_any_call_changes_nothing_in_the_tree(tree: str, fate: Fate) -> None:
    plan = TREES[tree]
    wanted = calm(plan, then_undo=True)
    for call in range(0, 40, 3):
        assert wild("sqlite://", plan, {call: fate, call + 5: fate}, then_undo=True) == wanted, call


@pytest.mark.parametrize("tree", list(TREES))
def test_the_same_on_postgresql(emptied_postgres_url: str, tree: str) -> None:
    fates = {4: Fate.DIE_AFTER, 9: Fate.DIE_BEFORE, 15: Fate.FREEZE, 22: Fate.DIE_AFTER}
    assert wild(emptied_postgres_url, TREES[tree], fates, then_undo=True) == calm(TREES[tree], then_undo=True)


def plans(names: Any) -> Any:
    leaf = st.builds(lambda name: ["step", name], names)
    inner = st.deferred(lambda: st.lists(op, max_size=3))
    op = st.one_of(
        leaf, leaf, st.just(["fail"]), st.builds(lambda name: ["defer", name], names), st.just(["continue"]),
        st.builds(lambda plan: ["child", plan], inner), st.builds(lambda plan: ["caught", plan], inner),
        st.builds(lambda plan: ["spawn", plan], inner),
        st.builds(lambda several: ["gather", several], st.lists(inner, max_size=3)),
    )  # fmt: skip
    return st.lists(op, max_size=5)


def numbered(plan: Plan, count: list[int]) -> Plan:
    """The same plan with a name of its own for each step; nothing spawned is left when a run continues."""
    out: Plan = []
    for what, *rest in plan:
        match what:
            case "step" | "defer":
                count[0] += 1
                out.append([what, f"s{count[0]}"])
            case "child" | "caught" | "spawn":
                out.append([what, numbered(rest[0], count)])
            case "gather":
                out.append([what, [numbered(inner, count) for inner in rest[0]]])
            case "continue" if any(op[0] == "spawn" for op in out):
                pass
            case _:
                out.append([what, *rest])
    return out


@pytest.mark.slow
@settings(max_examples=1_500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    plan=plans(st.just("s")),
    fates=st.lists(st.sampled_from([Fate.GO_ON] * 4 + list(Fate)), max_size=60),
    then_undo=st.booleans(),
)
def test_any_tree_under_any_fates_comes_out_the_same(plan: Plan, fates: list[Fate], then_undo: bool) -> None:
    told = numbered(plan, [0])
    assert wild("sqlite://", told, fates, then_undo) == calm(told, then_undo)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plan=plans(st.just("s")), fates=st.lists(st.sampled_from([Fate.GO_ON] * 4 + list(Fate)), max_size=60))
def test_a_few_trees_under_any_fates_come_out_the_same(plan: Plan, fates: list[Fate]) -> None:
    told = numbered(plan, [0])
    assert wild("sqlite://", told, fates, True) == calm(told, True)
