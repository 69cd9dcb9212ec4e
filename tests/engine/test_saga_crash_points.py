"""Whatever happens between two calls of the store, a saga is undone as it would have been undone without it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from squidmesh import Flow, GiveUp, sleep, step, workflow
from squidmesh import events as ev
from squidmesh.core.deterministic import instant
from squidmesh.core.status import ENDED
from squidmesh.testing import VirtualMesh
from tests.engine.cluster import Cluster, Fate
from tests.engine.saga_play import POLICIES, WORKFLOWS, Did, Person, calm, plain, wild, world

ROUNDS = 400
"""Of heartbeat, sweep and work, until a run must have ended, with its person's second thoughts."""
OWN = ("failure", "cancel", "operator")


# --------------------------------------------------------------------------------------------------- two plays


def prepared(database: Any) -> VirtualMesh:
    mesh = VirtualMesh(database, max_lost=10_000)
    mesh.connect_engine().store.make_ready()
    with mesh.engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS crash_saga_rows (key TEXT, cents INTEGER)"))
    return mesh


def told(mesh: VirtualMesh, handle: Any) -> dict[str, Any]:
    """All that must be the same, however often a worker was lost on the way."""
    view = handle.inspect()
    return {
        "status": view.status,
        "result": view.result,
        "failure": _failure(view.failure),
        "rollbacks": [_report(report) for report in view.rollbacks],
        "keys": sorted({did.key.removeprefix(handle.run_id) for did in world.log if did.what != "check"}),
        "rows": sorted((key.removeprefix(handle.run_id), cents) for key, cents in rows(mesh, handle)),
    }


def _report(report: Any) -> dict[str, Any]:
    entries = [
        (entry.position, entry.kind, entry.step, entry.state, entry.reason, str(entry.result), entry.by, entry.note,
         _failure(entry.error))
        for entries in (
            report.undone, report.irreversible, report.failed, report.unaccounted, report.skipped, report.pending,
        )
        for entry in entries
    ]  # fmt: skip
    about = (report.cause, report.outcome, _failure(report.failure), report.actor, report.revision)
    return {"about": about, "entries": entries, "next": [action.why for action in report.next_actions]}


def _failure(failure: Any) -> Any:
    return failure and (failure.type, failure.message)


def rows(mesh: VirtualMesh, handle: Any) -> list[tuple[str, int]]:
    with mesh.engine.connect() as connection:
        found = connection.execute(text("SELECT key, cents FROM crash_saga_rows"))
        return [(key, cents) for key, cents in found if key.startswith(handle.run_id)]


def unordered(found: dict[str, Any]) -> dict[str, Any]:
    """The same where branches may have completed in another order."""
    reports = [
        {**report, "entries": sorted(report["entries"], key=str), "next": sorted(report["next"])}
        for report in found["rollbacks"]
    ]
    return {**found, "rollbacks": reports}


def played_alone(workflow: Any, program: list[Any], later: list[str]) -> dict[str, Any]:
    """What becomes of a program when nobody dies."""
    world.clear()
    with prepared("sqlite://") as mesh:
        handle, person = mesh.start(workflow(program)), Person(later)
        for _ in range(ROUNDS):
            mesh.drain()
            if person(handle):
                continue
            if handle.status() in ENDED:
                check(mesh, handle)
                return told(mesh, handle)
            at = mesh._next()
            assert at is not None, handle.explain().summary
            mesh.advance(instant(max(at, mesh._clock.now())))
    raise AssertionError(f"not ended: {handle.explain().summary}")


# ------------------------------------------------------------------------------------------------ what must hold


def check(mesh: VirtualMesh, handle: Any) -> None:
    """The history is one that may be; and what it says is what was done."""
    mesh.check(handle)
    history = handle.history()
    log = [did for did in world.log if did.key.startswith(handle.run_id)]
    told = "\n".join(map(str, [*history, *log]))
    _calls_are_recorded(handle, history, log, told)
    _rows_are_there_once(mesh, handle, history, told)
    _effects_are_listed(handle, history, log, told)


def _calls_are_recorded(handle: Any, history: list[Any], log: list[Did], told: str) -> None:
    """No attempt is made twice, none without its record; an undo that is recorded as done is not called again."""
    started: Counter[tuple[str, int]] = Counter()
    undone: Counter[str] = Counter()
    at_most_once = set()
    for event in history:
        match event:
            case ev.StepScheduled(traits=traits) if "once" in traits:
                at_most_once.add(f"{handle.run_id}:{event.position}")
            case ev.UndoStarted(entry=entry):
                assert not undone[entry], told
                started[_undo_key(handle, entry), event.number] += 1
            case ev.UndoCompleted(entry=entry):
                undone[entry] += 1
            case _:
                pass
    assert set(started.values()) <= {1}, told
    alone = [did for did in log if did.key not in world.rows and not _of_group(handle, history, did.key)]
    calls = Counter((did.what, did.key, did.attempt) for did in alone if did.what in ("forward", "undo"))
    assert {(key, attempt) for what, key, attempt in calls if what == "undo"} <= set(started), told
    assert set(calls.values()) <= {1}, told
    for entry in undone:
        key = _undo_key(handle, entry)
        assert any(did.applied and (did.key == key or _inside(did.key, key)) for did in log), told
    applied = Counter(did.key for did in log if did.what == "forward" and did.applied)
    assert all(applied[key] <= 1 for key in at_most_once), told


def _undo_key(handle: Any, entry: str) -> str:
    return f"{handle.run_id}:{entry}" if ":undo:" in entry else f"{handle.run_id}:{entry}:undo"


def _inside(key: str, of_group: str) -> bool:
    return key.startswith(f"{of_group.removesuffix(':undo')}.")


def _of_group(handle: Any, history: list[Any], key: str) -> bool:
    """Whether it is a call in a transaction: whose attempts are those of the whole."""
    groups = [event.position for event in history if isinstance(event, ev.StepScheduled) and "group" in event.traits]
    return any(key.startswith((f"{handle.run_id}:{group}.", f"{handle.run_id}:{group}:")) for group in groups)


def _rows_are_there_once(mesh: VirtualMesh, handle: Any, history: list[Any], told: str) -> None:
    """What a transactional step writes is there exactly once if it has completed, and not at all if it has not."""
    names: dict[str, str] = {}
    wanted: Counter[str] = Counter()
    undone: Counter[str] = Counter()
    groups: dict[str, str | None] = {}
    for event in history:
        match event:
            case ev.StepScheduled(position=position):
                names[position] = event.step
                if "group" in event.traits:
                    groups[position] = event.undo
            case ev.StepCompleted(position=position) if names[position] == "crash_saga_row":
                wanted[f"{handle.run_id}:{position}"] += 1
            case ev.UndoCompleted(entry=entry) if entry in groups and groups[entry] is not None:
                undone[f"{handle.run_id}:{entry}:undo"] += 1
            case ev.UndoCompleted(entry=entry):
                members = [
                    key
                    for key in wanted
                    if key == f"{handle.run_id}:{entry}" or _inside(key, f"{handle.run_id}:{entry}:undo")
                ]
                undone.update(f"{key}:undo" for key in members)
            case _:
                pass
    found = Counter(key for key, _ in rows(mesh, handle))
    assert found == wanted + undone, f"{found}\n{wanted + undone}\n{told}"


def _effects_are_listed(handle: Any, history: list[Any], log: list[Did], told: str) -> None:
    """When the whole run was rolled back, all that it did is in a report; what is not undone is not called so."""
    reports = handle.inspect().rollbacks
    if not any(report.cause in OWN and report.outcome is not None for report in reports):
        return
    listed = {
        entry.position
        for report in reports
        for entry in (
            *report.undone, *report.irreversible, *report.failed, *report.unaccounted, *report.skipped, *report.pending,
        )
    }  # fmt: skip
    pure = {event.position for event in history if isinstance(event, ev.StepScheduled) and "pure" in event.traits}
    swept = {event.position for event in history if isinstance(event, ev.StepFailed) and event.effect == "none"}
    for did in log:
        position = did.key.removeprefix(f"{handle.run_id}:")
        alone = did.key not in world.rows and not _of_group(handle, history, did.key)
        if did.what == "forward" and did.applied and alone:
            assert position in listed | pure | swept, f"nothing is said of {position}\n{told}"


def doubtful(handle: Any) -> bool:
    """Whether a step that is not idempotent was lost, and had not had its effect: then the run may end otherwise."""
    lost, denied = set(), set()
    for event in handle.history():
        match event:
            case ev.AttemptLost(position=position):
                lost.add(position)
            case ev.StepResolved(outcome="not_applied") | ev.StepChecked(outcome="not_applied" | "still_unknown"):
                denied.add(event.position)
            case _:
                pass
    return bool(lost & denied)


# -------------------------------------------------------------------------------------------------------- tests


fates = st.dictionaries(
    st.integers(0, 160), st.sampled_from([fate for fate in Fate if fate is not Fate.GO_ON]), max_size=8
)
served = st.sampled_from([
    (("default", "other"), ("default", "other")), (("default",), ("default", "other")), (("default",), ("other",)),
])  # fmt: skip
laters = st.lists(st.sampled_from(["rollback", "mark"]), max_size=2)


@pytest.fixture(params=["memory", "file", "postgres"])
def database(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.CRITICAL, "squidmesh")
    if request.param == "memory":
        return "sqlite://"
    return request.getfixturevalue("sqlite_url" if request.param == "file" else "postgres_url")


def some(examples: int) -> Any:
    """To make an example that failed smaller takes minutes: that is for the long ones."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    phases = list(Phase) if examples > 100 else [Phase.explicit, Phase.reuse, Phase.generate]
    return settings(max_examples=examples, deadline=None, suppress_health_check=quiet, phases=phases)


def _ends_the_same(
    database: Any, policy: int, program: list[Any], later: list[str], course: dict[int, Fate], queues: Any
) -> None:
    wanted = played_alone(WORKFLOWS[policy], program, later)
    world.clear()
    with prepared(database) as mesh:
        handle = mesh.start(WORKFLOWS[policy](program))
        cluster = Cluster(mesh, course, queues)
        cluster.settle([handle], Person(later), ROUNDS)
        check(mesh, handle)
        assert cluster.left_over() == []
        if doubtful(handle):
            return
        found = told(mesh, handle)
        if "together" in str(program) or "fan" in str(program):
            wanted, found = unordered(wanted), unordered(found)
        assert found == wanted, "\n".join(map(str, handle.history()))


def _ends_well(
    database: Any, policy: int, program: list[Any], when: tuple[int, str], course: dict[int, Fate], queues: Any
) -> None:
    world.clear()
    with prepared(database) as mesh:
        handle = mesh.start(WORKFLOWS[policy](program), deadline=when[0] * 5 if when[1] == "late" else None)
        cluster = Cluster(mesh, course, queues)
        for n in range(when[0]):
            cluster.members[n % 2].round()
        if handle.status() not in ENDED:
            match when[1]:
                case "cancel":
                    handle.cancel(force=True, **Person.BY)
                case "fail" if handle.explain().reason != "draining" and handle.status() not in ("undoing", "blocked"):
                    handle.fail(**Person.BY)
                case _:
                    pass
        cluster.settle([handle], Person(["rollback"]), ROUNDS)
        check(mesh, handle)
        assert cluster.left_over() == []


policies = st.integers(0, len(POLICIES) - 1)
whens = st.tuples(st.integers(0, 8), st.sampled_from(["cancel", "fail", "late", "never"]))


@some(40)
@given(policy=policies, program=calm, later=laters, course=fates, queues=served)
def test_a_saga_comes_out_as_without_crashes(
    database: Any, policy: int, program: list[Any], later: list[str], course: dict[int, Fate], queues: Any
) -> None:
    _ends_the_same(database, policy, program, later, course, queues)


@some(30)
@given(policy=policies, program=wild, when=whens, course=fates, queues=served)
def test_whatever_is_in_flight_when_a_saga_ends_is_accounted_for(
    database: Any, policy: int, program: list[Any], when: tuple[int, str], course: dict[int, Fate], queues: Any
) -> None:
    _ends_well(database, policy, program, when, course, queues)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@some(1_500)
@given(policy=policies, program=calm, later=laters, course=fates, queues=served)
def test_thousands_of_sagas_come_out_as_without_crashes(
    database: Any, policy: int, program: list[Any], later: list[str], course: dict[int, Fate], queues: Any
) -> None:
    _ends_the_same(database, policy, program, later, course, queues)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@some(1_500)
@given(policy=policies, program=wild, when=whens, course=fates, queues=served)
def test_in_thousands_of_sagas_whatever_is_in_flight_at_the_end_is_accounted_for(
    database: Any, policy: int, program: list[Any], when: tuple[int, str], course: dict[int, Fate], queues: Any
) -> None:
    _ends_well(database, policy, program, when, course, queues)


# ------------------------------------------------------------------------------------- places that were found so


def _one_after_the_other(program: list[Any], turns: list[int], rounds: int = 6) -> tuple[VirtualMesh, Any, Cluster]:
    """A run that the two workers drive in these turns, each with what it has kept of the run."""
    world.clear()
    mesh = prepared("sqlite://")
    handle = mesh.start(WORKFLOWS[0](program))
    cluster = Cluster(mesh, {}, (("default", "other"), ("default", "other")))
    for turn in turns:
        for _ in range(rounds):
            cluster.members[turn].round()
        cluster.pass_time(5)
    return mesh, handle, cluster


def test_what_a_worker_has_kept_of_a_run_does_not_go_on_when_others_have_seen_its_end() -> None:
    program = [["do", "plain", "ok", "ok"], ["sleep", 1], ["do", "plain", "ok", "ok"]]
    mesh, handle, cluster = _one_after_the_other(program, [0, 1])
    with mesh:
        assert handle.status() == "completed"
        handle.rollback(**Person.BY)
        for _ in range(3):
            cluster.members[0].round()
        assert handle.status() == "undone"
        check(mesh, handle)


def test_an_undo_that_a_step_registered_elsewhere_is_not_taken_for_one_of_the_workflow() -> None:
    together = ["together", ["do", "plain", "ok", "ok"], ["do", "says", "ok", "ok"]]
    everywhere = (("default", "other"), ("default", "other"))
    _ends_the_same("sqlite://", 0, [together, together, ["do", "plain", "shaky", "ok"]], [], {}, everywhere)


def test_a_check_whose_worker_was_lost_is_made_by_the_next_one(database: Any) -> None:
    """Nothing is to be recorded before it: a row of no events would take the place of its answer."""
    program = [["do", "asked", "vague", "ok"], ["raise"]]
    for call in range(30):
        _ends_the_same(database, 0, program, [], {call: Fate.DIE_AFTER}, (("default",), ("default",)))


def test_a_worker_that_has_lost_its_tasks_begins_none_of_them(database: Any) -> None:
    """Others have done them since, and undone them: what it began now would be an effect that nobody undoes."""
    program = [["together", *[["do", kind, "ok", "ok"] for kind in ("plain", "row", "plain", "plain")]], ["raise"]]
    for call in range(10, 40):
        _ends_well(database, 0, program, (0, "never"), {call: Fate.LEAVE}, (("default",), ("default",)))


def test_a_run_that_is_past_its_pivot_and_its_deadline_can_be_failed_by_a_person() -> None:
    world.clear()
    with prepared("sqlite://") as mesh:
        handle = mesh.start(WORKFLOWS[0]([["do", "pay", "ok", "ok"], ["sleep", 60]]), deadline=10)
        mesh.advance(10)
        assert handle.explain().reason == "past_pivot"
        handle.fail(**Person.BY)
        mesh.drain()
        assert handle.status() == "failed"
        check(mesh, handle)


deployed: list[str] = []


@step(name="crash_saga_before_deploy")
def before_deploy() -> str:
    deployed.append("other code")
    return "it happened"


@before_deploy.undo
def undo_before_deploy(done: str) -> None: ...


@workflow
def crash_saga_deployed() -> Flow[str]:
    yield from plain("ok", "ok")
    yield from sleep(1)
    return (yield from (plain("ok", "ok") if deployed else before_deploy()))


def _deployed_under_way() -> tuple[VirtualMesh, Any]:
    """A run whose code was changed while a step of it was under way, which had its effect, and whose worker died."""
    world.clear()
    deployed.clear()
    mesh = prepared("sqlite://")
    handle = mesh.start(crash_saga_deployed())
    mesh.drain()
    mesh.restart(lose="outcome")
    mesh.advance(1)
    mesh.drain()
    assert deployed == ["other code"]
    assert handle.explain().reason == "code_changed"
    return mesh, handle


def test_what_was_under_way_when_the_code_was_changed_is_not_forgotten_by_a_rollback() -> None:
    mesh, handle = _deployed_under_way()
    with mesh:
        handle.cancel()
        mesh.drain()
        report = handle.inspect().rollback
        assert deployed == ["other code"] * 2  # tried again, under the same key: that is how its effect becomes known
        assert report.undone[0].step == "crash_saga_before_deploy"
        assert report.outcome == "clean"


def test_an_undo_that_waits_for_a_person_is_explained_although_the_code_was_broken_before() -> None:
    mesh, handle = _deployed_under_way()
    with mesh, mesh.stub(plain.undo, raises=GiveUp("nobody is there")):
        handle.cancel()
        mesh.drain()
        assert handle.inspect().reason == "undo_failed"
        assert handle.explain().reason == "undo_failed"
