"""What is said about a start besides the call: the same is refused on both databases, before anything is written."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from squidmesh import DefinitionError, Flow, IllegalState, InvalidPayload, RunFailed, step, workflow
from squidmesh.core.commands import micros
from squidmesh.engine.wish import LONGEST_KEY, wish
from squidmesh.testing import VirtualMesh

NOW = micros("now", datetime(2026, 1, 1, tzinfo=UTC))
HOUR = 3_600_000_000


@step(name="wish.weigh")
def weigh(grams: int) -> int:
    if grams < 0:
        raise ValueError("lighter than nothing")
    return grams


@workflow(name="wish.parcel")
def parcel(grams: int = 1) -> Flow[int]:
    return (yield from weigh(grams))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"priority": "high"}, "priority is a whole number, not 'high'"),
        ({"priority": 2**40}, "priority is a whole number"),
        ({"priority": True}, "priority is a whole number"),
        ({"queue": ""}, "queue is the name of a queue, not ''"),
        ({"queue": 5}, "queue is the name of a queue, not 5"),
        ({"queue": "a\0b"}, "queue is the name of a queue"),
        ({"key": ""}, "key= takes a string that is not empty"),
        ({"key": 5}, "key= takes a string that is not empty, not 5"),
        ({"key": "a\0b"}, "without NUL characters"),
        ({"key": "é" * LONGEST_KEY}, "takes up to 2,000 bytes"),
    ],
)
def test_what_a_database_would_refuse_is_refused_by_name(mesh: VirtualMesh, said: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        mesh.start(parcel(), **said)
    assert len(mesh.list()) == 0


@pytest.mark.parametrize(
    ("attributes", "wrong"),
    [
        (["a"], {"value"}),
        ("tenant", {"value"}),
        ({"a": object()}, {"value"}),
        ({1: 2}, {"value"}),
        ({"note": "a\0b", "fine": 1}, {"note"}),
        ({"deep": {"list": ["", "\0"]}, "na\0me": 1}, {"deep.list.1", "na\0me"}),
    ],
)
def test_attributes_that_cannot_be_looked_for_are_refused_by_name(
    mesh: VirtualMesh, attributes: Any, wrong: set[str]
) -> None:
    with pytest.raises(InvalidPayload) as refused:
        mesh.start(parcel(), attributes=attributes)
    assert set(refused.value.errors) == wrong
    with pytest.raises(InvalidPayload):
        mesh.list(attributes=attributes)
    assert len(mesh.list(attributes={"fine": 1})) == 0


def test_the_longest_key_can_be_found_again(mesh: VirtualMesh) -> None:
    key = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(LONGEST_KEY // 3))  # nothing that compresses
    handle = mesh.start(parcel(), key=key)
    found = mesh.find(key)
    assert found is not None
    assert found.run_id == handle.run_id


def test_a_deadline_that_is_a_duration_begins_with_the_run() -> None:
    later = datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert wish(NOW, deadline=3600).deadline == NOW + HOUR
    assert wish(NOW, deadline=timedelta(hours=1), at=later).deadline == NOW + 2 * HOUR
    assert wish(NOW, deadline=later).deadline == NOW + HOUR


# ------------------------------------------------------------------------------------------- the caller's transaction


def test_a_scoped_session_is_a_session(mesh: VirtualMesh) -> None:
    sessions = scoped_session(sessionmaker(mesh.engine))
    handle = mesh.start(parcel(), connection=sessions)
    sessions.commit()
    sessions.remove()
    assert handle.result() == 1


@pytest.mark.parametrize("given", [5, object()])
def test_what_is_no_connection_is_refused(mesh: VirtualMesh, given: Any) -> None:
    with pytest.raises(TypeError, match="connection= takes a SQLAlchemy Connection or Session"):
        mesh.start(parcel(), connection=given)


def test_a_connection_to_another_kind_of_database_is_refused(postgres_url: str) -> None:
    elsewhere = sa.create_engine("sqlite://")
    with (
        VirtualMesh(postgres_url) as mesh,
        elsewhere.connect() as connection,
        pytest.raises(TypeError, match="connection= is on sqlite; it must be on the mesh's database"),
    ):
        mesh.start(parcel(), connection=connection)
    elsewhere.dispose()


@pytest.mark.parametrize("how", ["session", "connection"])
def test_observers_hear_nothing_of_a_run_that_was_rolled_back(mesh: VirtualMesh, how: str) -> None:
    heard: list[str] = []
    told = threading.Event()

    def hear(run_id: str, *_: Any) -> None:
        heard.append(run_id)
        told.set()

    mesh.connect_engine().observers.append(hear)
    with Session(mesh.engine) if how == "session" else mesh.engine.connect() as connection:
        mesh.start(parcel(), connection=connection)
        connection.rollback()
        connection.execute(sa.text("SELECT 1"))
        connection.commit()
        kept = mesh.start(parcel(), connection=connection)
        connection.commit()
    assert told.wait(30)
    assert heard == [kept.run_id]


# ------------------------------------------------------------------------------------------------ asking for runs


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"status": "done"}, "status takes a name, one of pending, running, .*not 'done'"),
        ({"status": 5}, "status takes a name"),
        ({"reason": ["queued", "tired"]}, "not 'tired'"),
        ({"workflow": 5}, "workflow takes a name"),
        ({"limit": 0}, "limit is a count from 1 to 1000"),
    ],
)
def test_a_filter_that_fits_no_run_ever_is_refused(mesh: VirtualMesh, asked: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        mesh.list(**asked)


def test_runs_are_listed_by_several_definitions_or_names(mesh: VirtualMesh) -> None:
    mesh.start(parcel())
    assert len(mesh.list(workflow=parcel)) == 1
    assert len(mesh.list(workflow=[parcel, "other"])) == 1
    assert len(mesh.list(workflow=["other"])) == 0


# --------------------------------------------------------------------------------------------------- what is told


def test_the_failure_of_a_run_names_its_step(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed, match=r"ValueError: lighter than nothing \(step 'wish.weigh' at position 1\)"):
        mesh.run(parcel(-1))


def test_a_command_that_comes_too_late_is_named_as_it_was_typed(mesh: VirtualMesh) -> None:
    handle = mesh.start(parcel())
    handle.result()
    with pytest.raises(IllegalState, match="cancel is not possible") as refused:
        handle.cancel()
    assert refused.value.command == "cancel"
