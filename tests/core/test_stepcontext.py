"""The results that a step sees of the steps before it."""

from __future__ import annotations

import pytest

from squidmesh.core.stepcontext import State


def test_the_latest_result_of_a_step_and_all_of_them() -> None:
    state = State({"charge": [1, 2], "ship": ["label"]})
    assert state["charge"] == 2
    assert state.all("charge") == [1, 2]
    assert (list(state), len(state), state.all("none"), state.get("none")) == (["charge", "ship"], 2, [], None)


@pytest.mark.parametrize(("results", "there"), [({}, "none"), ({"charge": [1]}, "charge")])
def test_a_step_without_a_result_is_named_with_those_there_are(results: dict[str, list[int]], there: str) -> None:
    with pytest.raises(KeyError, match=f"no result of 'ship' when this attempt was scheduled; there were: {there}"):
        State(results)["ship"]
