"""A history that a newer release has written: this one leaves it alone, and says so."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from squidmesh import Flow, PayloadError, sleep, step, workflow
from squidmesh.testing import VirtualMesh


@step
def of_today() -> int:
    return 1


@workflow
def over_a_night() -> Flow[int]:
    yield from sleep(3600)
    return (yield from of_today())


def test_a_run_with_an_unknown_event_is_left_to_others_and_holds_up_nobody(
    mesh: VirtualMesh, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = mesh.start(over_a_night()), mesh.start(over_a_night())
    mesh.drain()
    with mesh.engine.begin() as connection:
        added = connection.execute(
            sa.text(
                "INSERT INTO squidmesh_history (run_id, seq, epoch, events) "
                'SELECT run_id, 3, 1, \'[["EventOfTheFuture",1,"x"]]\' FROM squidmesh_history '
                "WHERE seq = 1 AND replace(CAST(run_id AS text), '-', '') = :run"
            ),
            {"run": theirs.run_id.replace("-", "")},
        )
        assert added.rowcount == 1
    mesh.restart()
    with caplog.at_level(logging.WARNING, "squidmesh.engine"):
        mesh.advance(3601)
    assert ours.result() == 1
    assert theirs.status() in ("waiting", "running")
    assert "left to others" in caplog.text
    with pytest.raises(PayloadError, match=r"event 3 is of kind 'EventOfTheFuture'.*newer"):
        theirs.history()
