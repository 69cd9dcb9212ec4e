"""Before a deploy: every kind of change to a workflow, and whether the runs that are open would get over it.

Each change is a class: what the body was, and what it is. Where the code parts from the history it says so: "here".
"""

# ruff: noqa: N801
# pyright: reportSelfClsParameterName=false
from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from squidmesh import (
    Flow,
    Signal,
    add_undo,
    approval,
    fan_out,
    gather,
    log,
    patched,
    pause,
    publish,
    race,
    saga,
    sleep,
    spawn,
    step,
    workflow,
)
from squidmesh.core.step import Step
from squidmesh.core.workflow import Workflow
from squidmesh.testing import VirtualMesh
from squidmesh.views.checking import CheckReport

MONTH = 30 * 86_400
PAID = Signal("checking.paid")


@step(name="checking.charge")
def charge(cents: int) -> int:
    return cents


@step(name="checking.ship")
def ship(to: str) -> str:
    return to


@step(name="checking.send")
def send(to: str) -> str:
    return to


def _charged(cents: int) -> int:
    return cents


def _told(cents: int) -> str:
    return str(cents)


pivoting: Step[..., int] = Step(_charged, name="checking.charge", pivot=True)
"""The same step as ``charge``, of another release."""
tells: Step[..., str] = Step(_told, name="checking.charge")


def by_hand(order: str) -> None: ...
def by_mail(order: str) -> None: ...


@dataclass
class Change:
    """What the code was, and what it is; ``settings`` are those of ``@workflow`` that are new."""

    name: str
    before: Callable[..., Any]
    after: Callable[..., Any]
    told: tuple[str | None, str | None, str | None]  # position, what history has, what the code does
    reason: str
    settings: dict[str, Any]


@workflow(name="checking.another")
def another() -> Flow[None]:
    yield from ship("a")


BREAKING: list[Change] = []
HARMLESS: list[Change] = []


def breaking(
    name: str, position: str | None = None, history: str | None = None, now: str | None = None,
    reason: str = "code_changed", **settings: Any,
) -> Callable[[type], None]:  # fmt: skip
    def put(case: Any) -> None:
        BREAKING.append(Change(name, case.before, case.after, (position, history, now), reason, settings))

    return put


def harmless(name: str, **settings: Any) -> Callable[[type], None]:
    def put(case: Any) -> None:
        HARMLESS.append(Change(name, case.before, case.after, (None, None, None), "", settings))

    return put


def usual() -> Flow[None]:
    yield from charge(1)
    yield from ship("a")
    yield from sleep(MONTH)


def with_an_order(order: str) -> Flow[None]:
    yield from usual()


def with_perhaps_an_order(order: str = "") -> Flow[None]:
    yield from usual()


@breaking("a step renamed", "2", "`checking.ship`", "yields `checking.send`")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from send("a")  # here
        yield from sleep(MONTH)


@breaking("an argument changed", "1", '`checking.charge` with {"cents":1}', 'yields `checking.charge` with {"cents":2}')
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(2)  # here
        yield from ship("a")
        yield from sleep(MONTH)


@breaking("two steps swapped", "1", "`checking.charge`", "yields `checking.ship`")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from ship("a")  # here
        yield from charge(1)
        yield from sleep(MONTH)


@breaking("a step inserted", "2", "`checking.ship`", "yields `checking.send`")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from send("a")  # here
        yield from ship("a")
        yield from sleep(MONTH)


@breaking("a step removed", "2", "`checking.ship`", "yields `sleep`")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from sleep(MONTH)  # here


@breaking("a pivot removed", "1", "`checking.charge`", "yields `checking.ship`")
class _:
    def before() -> Flow[None]:
        yield from pivoting(1)
        yield from ship("a")
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from ship("a")  # here
        yield from sleep(MONTH)


@breaking("a sleep that became a wait", "3", "`sleep`", "yields the wait for signal 'checking.paid'")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from ship("a")
        yield from PAID.wait()  # here


@breaking("a wait for another signal", "1", "the wait for signal 'checking.paid'", "yields the wait for signal 'other'")
class _:
    def before() -> Flow[None]:
        yield from PAID.wait()

    def after() -> Flow[None]:
        yield from Signal("other").wait()  # here


@breaking("a gate renamed", "1", "the approval 'desk'", "yields the approval 'board'")
class _:
    def before() -> Flow[None]:
        yield from approval("desk")

    def after() -> Flow[None]:
        yield from approval("board")  # here


@breaking("an approval that became a pause", "1", "the approval 'desk'", "yields the pause 'desk'")
class _:
    def before() -> Flow[None]:
        yield from approval("desk")

    def after() -> Flow[None]:
        yield from pause("desk")  # here


def scoped() -> Flow[None]:
    with saga("ground"):
        yield from charge(1)
    yield from sleep(MONTH)


@breaking("a scope removed", "1", "the beginning of `saga` 'ground'", "yields `checking.charge`")
class _:
    before = scoped

    def after() -> Flow[None]:
        yield from charge(1)  # here
        yield from sleep(MONTH)


@breaking("a scope renamed", "1", "the beginning of `saga` 'ground'", "has the beginning of `saga` 'air'")
class _:
    before = scoped

    def after() -> Flow[None]:
        with saga("air"):  # here
            yield from charge(1)
        yield from sleep(MONTH)


@breaking("a scope put around a step", "1", "`checking.charge`", "has the beginning of `saga` 'ground'")
class _:
    before = usual

    def after() -> Flow[None]:
        with saga("ground"):  # here
            yield from charge(1)
        yield from ship("a")
        yield from sleep(MONTH)


@breaking("a scope that ends later", "2", "the end of a `saga`", "yields `sleep`")
class _:
    before = scoped

    def after() -> Flow[None]:
        with saga("ground"):
            yield from charge(1)
            yield from sleep(MONTH)  # here


def three_at_once() -> Flow[None]:
    yield from gather(charge(1), charge(2), charge(3))
    yield from sleep(MONTH)


@breaking("a member less in a gather", "1.3", "`checking.charge`", "yields no step there")
class _:
    before = three_at_once

    def after() -> Flow[None]:
        yield from gather(charge(1), charge(2))
        yield from sleep(MONTH)  # here


@breaking("a member more in a gather", "2", "`sleep`", "yields `checking.charge`")
class _:
    before = three_at_once

    def after() -> Flow[None]:
        yield from gather(charge(1), charge(2), charge(3), charge(4))  # here
        yield from sleep(MONTH)


@breaking("a gather that became a sequence", "1.1", "`checking.charge`", "yields `checking.charge`")
class _:
    before = three_at_once

    def after() -> Flow[None]:
        yield from charge(1)  # here
        yield from charge(2)
        yield from charge(3)
        yield from sleep(MONTH)


@breaking("a sequence that became a gather", "1", "`checking.charge`", "yields `checking.charge`")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from gather(charge(1), ship("a"))  # here
        yield from sleep(MONTH)


@breaking(
    "an item of a fan-out changed",
    "1.2",
    '`checking.charge` with {"cents":2}',
    'yields `checking.charge` with {"cents":9}',
)
class _:
    def before() -> Flow[None]:
        yield from fan_out(charge, [1, 2, 3])
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from fan_out(charge, [1, 9, 3])  # here
        yield from sleep(MONTH)


@breaking("a round of a loop less", "3", "`checking.charge`", "yields `sleep`")
class _:
    def before() -> Flow[None]:
        for n in range(3):
            yield from charge(n)
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        for n in range(2):
            yield from charge(n)
        yield from sleep(MONTH)  # here


@breaking("another branch for a recorded result", "2", "`checking.ship`", "yields `checking.send`")
class _:
    before = usual

    def after() -> Flow[None]:
        paid = yield from charge(1)
        yield from (ship("a") if paid > 100 else send("a"))  # here
        yield from sleep(MONTH)


@breaking("another name published", "1", "`publish` of 'state'", "yields `publish` of 'progress'")
class _:
    def before() -> Flow[None]:
        yield from publish("state", 1)
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from publish("progress", 1)  # here
        yield from sleep(MONTH)


@breaking("another undo registered", "1", "`add_undo` of 'by_hand'", "yields `add_undo` of 'by_mail'")
class _:
    def before() -> Flow[None]:
        yield from add_undo(by_hand, "o-1")
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from add_undo(by_mail, "o-1")  # here
        yield from sleep(MONTH)


@breaking("a race that became its winner", "1.1", "`checking.charge`", "yields `checking.charge`")
class _:
    def before() -> Flow[None]:
        yield from race(charge(1), sleep(MONTH))
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from charge(1)  # here
        yield from sleep(MONTH)


@breaking("a step that became a child run", "1", "`checking.charge`")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from another()  # here
        yield from sleep(MONTH)


@breaking("something spawned no more", "1", "`checking.charge`", "yields `sleep`")
class _:
    def before() -> Flow[None]:
        yield from spawn(charge(1))
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from sleep(MONTH)  # here


@breaking("an end before what was recorded", "3", "`sleep`", "ends before it")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from ship("a")


@breaking("a patch removed that a run needs", "2", "`checking.ship`", "yields `checking.send`")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from send("first")  # here
        yield from ship("a")
        yield from sleep(MONTH)


@breaking("an exception of its own", reason="code_error")
class _:
    before = usual

    def after() -> Flow[None]:
        paid = yield from charge(1)
        yield from ship(str(1 // (paid - 1)))  # here
        yield from sleep(MONTH)


@breaking("every step must say how it is undone", reason="code_error", strict_undo=True)
class _:
    before = usual
    after = usual


@breaking("a step in a race that became a pivot", reason="code_error")
class _:
    def before() -> Flow[None]:
        yield from race(charge(1), sleep(MONTH))
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from race(pivoting(1), sleep(MONTH))  # here
        yield from sleep(MONTH)


@breaking("a result of another type", "1", reason="value_undecodable")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from tells(1)  # here
        yield from ship("a")
        yield from sleep(MONTH)


@breaking("an input that is new", reason="value_undecodable")
class _:
    before = usual
    after = with_an_order


@breaking("a version that is not there any more", reason="no_code", version=2)
class _:
    before = usual
    after = usual


# --------------------------------------------------------------------------------------------------- harmless


@harmless("no change")
class _:
    before = usual
    after = usual


@harmless("a step behind the end")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from usual()
        yield from send("more")


@harmless("all that is still ahead")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from ship("a")
        yield from sleep(MONTH)
        with saga("more"):
            yield from gather(send("b"), charge(3))
        yield from PAID.wait()


@harmless("a sleep of another duration")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        yield from ship("a")
        yield from sleep(1)


@harmless("options on a step")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1).options(timeout=5, queue="slow")
        yield from ship("a")
        yield from sleep(MONTH)


@harmless("a change in place behind patched()")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from charge(1)
        if patched("checking.first"):
            yield from send("first")
        yield from ship("a")
        yield from sleep(MONTH)


@harmless("comments, names, a helper, a try block")
class _:
    before = usual

    def after() -> Flow[None]:
        def helper() -> Flow[int]:
            return (yield from charge(1))

        cents = yield from helper()  # what was paid
        try:
            yield from ship("a")
        finally:
            del cents
        yield from sleep(MONTH)


@harmless("another way to write it")
class _:
    before = usual

    async def after() -> None:
        await charge(1)
        await ship("a")
        await sleep(MONTH)


@harmless("a step that became a pivot")
class _:
    before = usual

    def after() -> Flow[None]:
        yield from pivoting(1)
        yield from ship("a")
        yield from sleep(MONTH)


@harmless("another value published, another text logged")
class _:
    def before() -> Flow[None]:
        yield from publish("state", 1)
        yield from log("one")
        yield from sleep(MONTH)

    def after() -> Flow[None]:
        yield from publish("state", 2)
        yield from log("two", level="warning")
        yield from sleep(MONTH)


@harmless("a deadline and more votes at a gate, a timeout of a wait")
class _:
    def before() -> Flow[None]:
        yield from gather(approval("desk"), PAID.wait())

    def after() -> Flow[None]:
        yield from gather(approval("desk", needed=2, deadline=60), PAID.wait(timeout=60))


@harmless("an input that has a default")
class _:
    before = usual
    after = with_perhaps_an_order


@harmless("what ends a run, what becomes of it then", fail_on=ValueError, on_failure="keep", queue="slow")
class _:
    before = usual
    after = usual


# ------------------------------------------------------------------------------------------------------ the proof


def flow(body: Callable[..., Any], **settings: Any) -> Workflow[..., Any]:
    body.__qualname__ = body.__name__  # it stands in a class for the looks of the table only
    return Workflow(body, name="checking", **settings)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


def left_open(url: str, *bodies: Callable[..., Any], days: float = 0) -> list[str]:
    """A run of each of these, as far as it gets by itself in so many days."""
    ids = []
    for body in bodies:
        made = flow(body)
        with VirtualMesh(url, workflows=[made]) as mesh:
            ids.append(mesh.start(made()).run_id)
            mesh.advance(days * 86_400)
    return ids


def checked(url: str, *flows: Workflow[..., Any], **how: Any) -> CheckReport:
    with VirtualMesh(url, workflows=flows) as mesh:
        return mesh.check_code(**how)


def marked_line(body: Callable[..., Any]) -> int | None:
    lines, first = inspect.getsourcelines(body)
    return next((first + n for n, line in enumerate(lines) if "# here" in line), None)


def test_there_are_enough_changes() -> None:
    assert len(BREAKING) >= 20
    assert len(HARMLESS) >= 10


@pytest.mark.parametrize("change", BREAKING, ids=lambda change: change.name)
def test_a_change_that_breaks_open_runs_is_found_with_both_lines(change: Change, url: str) -> None:
    (run_id,) = left_open(url, change.before)
    report = checked(url, flow(change.after, **change.settings))
    assert not report.ok
    (found,) = report.would_block
    assert (found.run_id, found.reason) == (run_id, change.reason)
    position, history, now = change.told
    if history is not None:
        assert (found.position, found.history, found.now) == (position, history, now or found.now)
        assert history in found.lines[0]
        assert str(found.now) in found.lines[1]
    if (line := marked_line(change.after)) is not None:
        assert found.place is not None
        assert (found.place.file, found.place.line) == (__file__, line)
        assert found.source is not None
        assert "# here" in found.source
    assert CheckReport.model_validate_json(report.model_dump_json()).would_block == report.would_block


@pytest.mark.parametrize("change", HARMLESS, ids=lambda change: change.name)
def test_a_change_that_open_runs_get_over_is_accepted(change: Change, url: str) -> None:
    left_open(url, change.before)
    report = checked(url, flow(change.after, **change.settings))
    assert (report.ok, report.checked, report.would_block) == (True, 1, ())


# ---------------------------------------------------------------------------------------------------- the report


def old() -> Flow[None]:
    yield from sleep(MONTH)
    yield from charge(1)
    yield from sleep(MONTH)


def new() -> Flow[None]:
    yield from sleep(MONTH)
    if patched("checking.first"):
        yield from send("first")
    yield from charge(1)
    yield from sleep(MONTH)


def test_a_patch_can_go_when_no_open_run_needs_its_old_branch(url: str) -> None:
    (needs_old,) = left_open(url, old, days=31)
    left_open(url, new, days=31)
    left_open(url, old)
    (patch,) = checked(url, flow(new)).patches
    assert (patch.id, patch.workflow, patch.version) == ("checking.first", "checking", 1)
    assert (patch.new, patch.old, patch.undecided, patch.unclear) == (1, 1, 1, 0)
    assert (patch.can_go, patch.old_runs) == (False, (needs_old,))
    assert str(patch).startswith("patched('checking.first') of checking version 1: its old branch is needed (1 new,")
    with VirtualMesh(url, workflows=[flow(new)]) as mesh:
        mesh.handle(needs_old).cancel()
        mesh.drain()
        (patch,) = mesh.check_code().patches
    assert (patch.can_go, patch.new, patch.old, patch.undecided) == (True, 1, 0, 1)


def test_of_a_run_that_would_block_before_a_patch_nothing_is_said(url: str) -> None:
    def other() -> Flow[None]:
        yield from charge(9)
        yield from sleep(MONTH)

    left_open(url, new, days=31)
    left_open(url, other)
    (patch,) = checked(url, flow(new)).patches
    assert (patch.new, patch.unclear, patch.can_go) == (1, 1, False)


def broken() -> Flow[None]:
    yield from charge(1)
    raise TypeError("broken")


def test_a_run_that_code_blocks_now_would_go_on_with_code_that_is_mended(url: str) -> None:
    (run_id,) = left_open(url, broken)
    still = checked(url, flow(broken))
    assert (still.ok, [run.already for run in still.would_block]) == (True, [True])
    mended = checked(url, flow(usual))
    assert (mended.would_go_on, mended.would_block) == ((run_id,), ())


def test_a_run_whose_undo_is_gone_is_told_of(url: str) -> None:
    undoable: Step[..., int] = Step(_charged, name="checking.undoable", undo=lost_undo)

    def before() -> Flow[None]:
        yield from undoable(1)
        yield from sleep(MONTH)

    (run_id,) = left_open(url, before)
    report = checked(url, flow(before))  # the step of the code at hand, found by its name, has no undo: there is none
    assert report.ok
    assert [(run.run_id, run.steps) for run in report.without_undo] == [(run_id, ("checking.undoable at 1",))]


def lost_undo(paid: int, cents: int) -> None: ...


def test_runs_of_workflows_that_are_not_at_hand_are_counted_and_no_more(url: str) -> None:
    left_open(url, usual, usual)
    report = checked(url, Workflow(usual, name="another"))
    assert (report.ok, report.checked, report.elsewhere) == (True, 0, {"checking": 2})
    assert str(report) == "0 open runs replayed: 0 would block; 2 are of workflows that are not at hand"


def test_a_run_that_is_being_undone_needs_its_body_no_more(url: str) -> None:
    (run_id,) = left_open(url, usual)
    with VirtualMesh(url, workflows=[flow(usual)]) as mesh:
        mesh.handle(run_id).cancel()
        mesh.drain()
    assert checked(url, flow(broken)).checked == 0


def test_it_goes_through_the_runs_in_batches_and_goes_on_where_it_stopped(url: str) -> None:
    from squidmesh.engine.checking import open_runs

    with VirtualMesh(url, workflows=[flow(usual)]) as mesh:
        ids = {handle.run_id for handle in mesh.start_many([flow(usual)() for _ in range(7)])}
        found = [row.run_id for row, _ in open_runs(mesh.connect_engine(), batch=3)]
        assert (len(found), set(found)) == (7, ids)
        first = mesh.check_code(limit=4)
        assert first.next is not None
        second = mesh.check_code(limit=4, after=first.next)
        assert (first.checked, second.checked, second.next) == (4, 3, None)


def test_it_reads_beside_writers_and_changes_nothing(database_url: str) -> None:
    from sqlalchemy import create_engine, text

    (run_id,) = left_open(database_url, usual)
    with VirtualMesh(database_url, workflows=[flow(usual)]) as mesh:
        before = mesh.handle(run_id).history()
        writer = create_engine(mesh.engine.url)
        with writer.connect() as connection:
            connection.execute(text("UPDATE squidmesh_runs SET priority = priority"))  # not committed: they are locked
            report = mesh.check_code()
            connection.rollback()
        writer.dispose()
        assert (report.ok, report.checked) == (True, 1)
        assert mesh.handle(run_id).history() == before


def test_secrets_in_what_differs_are_not_told(url: str) -> None:
    login: Step[..., None] = Step(_login, name="checking.login")

    def body(password: str) -> Callable[[], Flow[None]]:
        def made() -> Flow[None]:
            yield from login(SecretStr(password))
            yield from sleep(MONTH)

        return made

    left_open(url, body("swordfish-1"))
    report = checked(url, flow(body("swordfish-2")))
    assert not report.ok
    assert "swordfish" not in report.model_dump_json()


def _login(password: SecretStr) -> None: ...
