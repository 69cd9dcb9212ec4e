"""Views that are made unchecked are what the check would have made."""

import pytest
from pydantic import BaseModel

from squidmesh import events as ev
from squidmesh.views.entries import EntryView
from squidmesh.views.making import made
from squidmesh.views.run import AttemptView, CompensationView, RunView, StepView, fold
from tests.views.facts import DECLINED, at, numbered, row, scheduled, started

HISTORY = numbered(
    started(),
    scheduled("1", traits=["undo"]),
    ev.AttemptStarted(position="1", worker="w", at=at(1)),
    ev.CheckpointSaved(position="1", value={"page": 3}, at=at(2)),
    ev.AttemptFailed(position="1", failure=DECLINED, retry_at=at(3), at=at(2)),
    ev.AttemptStarted(position="1", number=2, at=at(3)),
    ev.StepCompleted(position="1", result={"id": 7}, at=at(4)),
    scheduled("2"),
    ev.AttemptStarted(position="2", worker="w", at=at(5)),
    ev.AttemptFailed(position="2", failure=DECLINED, effect="partial", at=at(6)),
    ev.CompensateStarted(position="2", worker="w", at=at(6)),
    ev.CompensateEnded(position="2", outcome="failed", failure=DECLINED, note="no", at=at(7)),
    ev.StepFailed(position="2", failure=DECLINED, effect="partial", at=at(7)),
    ev.RollbackStarted(cause="failure", number=1, failure=DECLINED, at=at(8)),
    ev.RollbackPlanned(number=1, entries=["2", "1"], at=at(8)),
    ev.EntrySettled(entry="2", state="unaccounted", at=at(8)),
    ev.UndoStarted(entry="1", worker="w", at=at(9)),
)


def test_a_view_that_was_made_unchecked_is_the_one_that_is_read_from_its_json() -> None:
    view = fold(row(status="undoing"), HISTORY)
    assert len(view.steps) == len(view.entries) == 2
    assert RunView.model_validate_json(view.model_dump_json()) == view
    assert RunView.model_validate(view.model_dump()) == view.model_copy(deep=True)


def test_its_fields_are_all_there_in_the_order_of_the_class() -> None:
    view = fold(row(status="undoing"), HISTORY)
    attempts, calls = view.steps[1].attempts, view.steps[1].compensations
    parts: list[BaseModel] = [*view.steps, *view.entries, *attempts, *calls]
    assert {type(part) for part in parts} == {StepView, EntryView, AttemptView, CompensationView}
    for part in parts:
        assert list(vars(part)) == list(type(part).model_fields)
        assert part.model_fields_set == vars(part).keys()


def test_it_is_as_frozen_as_one_that_was_checked() -> None:
    number = dict.fromkeys(AttemptView.model_fields) | {"number": 1}
    with pytest.raises(ValueError, match="frozen"):
        made(AttemptView, number).number = 2  # type: ignore[misc]
