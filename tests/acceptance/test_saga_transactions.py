"""Transactional steps and groups as an application uses them, on both databases; by the contract alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from squidmesh import (
    Flow,
    StepFailed,
    WorkflowError,
    context,
    fan_out,
    gather,
    step,
    transaction,
    workflow,
)
from squidmesh.testing import VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
BAD: set[str] = set()


class AccBase(DeclarativeBase): ...


class AccAccount(AccBase):
    __tablename__ = "acc_account"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    cents: Mapped[int]


@pytest.fixture
def mesh(database_url: str) -> Iterator[VirtualMesh]:
    BAD.clear()
    with VirtualMesh(database_url) as mesh:
        AccBase.metadata.create_all(mesh.engine)
        yield mesh


def accounts(mesh: VirtualMesh) -> dict[str, int]:
    with mesh.engine.connect() as connection:
        return {row.name: row.cents for row in connection.execute(text("select name, cents from acc_account"))}


@step(transactional=True)
def acc_open(name: str, cents: int) -> int:
    with Session(bind=context().connection) as session:
        session.add(AccAccount(name=name, cents=cents))
        session.commit()
    if name in BAD:
        raise ValueError(f"{name} is not wanted")
    return cents


@acc_open.undo
def acc_close(result: int, name: str, cents: int) -> None:
    with Session(bind=context().connection) as session:
        session.delete(session.get_one(AccAccount, name))
        session.commit()
    if name in BAD:
        raise ValueError(f"{name} is kept")


@step
def acc_call_partner() -> str:
    return "called"


def acc_family(inside: str) -> Flow[int]:
    total = yield from acc_open("mother", 1)
    try:
        total += yield from acc_open("uncle", 2)
    except StepFailed:
        total += 100
    one, two = yield from gather(acc_open("son", 3), acc_open("daughter", 4))
    more = yield from fan_out(lambda name: acc_open(name, 5), ["cat", "dog"])
    if inside == "partner":
        yield from acc_call_partner()
    if inside == "fails":
        raise WorkflowError("changed their mind")
    return total + one + two + sum(more.values())


@workflow
def acc_joining(inside: str = "", fails: bool = False) -> Flow[int]:
    total = yield from transaction(acc_family, inside)
    if fails:
        raise WorkflowError("later")
    return total


ALL = {"mother": 1, "uncle": 2, "son": 3, "daughter": 4, "cat": 5, "dog": 5}


def test_a_group_is_there_whole_and_undone_whole(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_joining())
    assert (run.result(), accounts(mesh)) == (20, ALL)
    run.rollback(**BY)
    mesh.advance(1)
    report = run.inspect().rollback
    assert report is not None
    assert [(entry.kind, entry.step, entry.position) for entry in report.undone] == [("transaction", "acc_family", "1")]
    assert (run.status(), report.outcome, accounts(mesh)) == ("undone", "clean", {})
    mesh.check(run)


def test_a_step_that_fails_in_a_group_and_is_caught_leaves_only_its_own_rows_out(mesh: VirtualMesh) -> None:
    BAD.add("uncle")
    assert mesh.run(acc_joining()) == 118
    assert accounts(mesh) == {name: cents for name, cents in ALL.items() if name != "uncle"}


@pytest.mark.parametrize(("inside", "status"), [("fails", "failed"), ("partner", "blocked")])
def test_a_group_that_does_not_end_well_leaves_nothing(mesh: VirtualMesh, inside: str, status: str) -> None:
    run = mesh.start(acc_joining(inside))
    mesh.advance(1)
    assert (run.status(), accounts(mesh)) == (status, {})
    mesh.check(run)


def test_where_one_undo_of_a_group_fails_none_of_it_is_undone(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_joining())
    run.result()
    BAD.add("mother")  # the last one to be undone
    run.rollback(**BY)
    mesh.advance(10_000)
    assert (run.explain().reason, accounts(mesh)) == ("undo_failed", ALL)
    BAD.clear()
    run.undo_retry("acc_family", **BY)
    mesh.advance(1)
    assert (run.status(), accounts(mesh)) == ("undone", {})
    mesh.check(run)


# ----------------------------------------------------------------------------- another run, begun in a transaction


@workflow
def acc_other(name: str) -> Flow[str]:
    yield from acc_call_partner()
    return name


@step(transactional=True)
def acc_begin(name: str) -> str:
    here = context()
    begun = here.mesh.start(acc_other(name), key=here.key, connection=here.connection)
    if name in BAD:
        raise ValueError("not after all")
    return begun.run_id


@workflow
def acc_beginning(name: str) -> Flow[str]:
    return (yield from acc_begin(name))


def test_a_run_that_a_transactional_step_begins_is_there_with_the_step_or_never_was(mesh: VirtualMesh) -> None:
    other = mesh.handle(mesh.run(acc_beginning("good")), acc_other)
    assert other.result() == "good"
    BAD.add("bad")
    run = mesh.start(acc_beginning("bad"))
    mesh.advance(1)
    assert run.status() == "failed"
    assert len(list(mesh.list(workflow="acc_other"))) == 1
