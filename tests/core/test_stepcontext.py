"""What a step sees of the steps before it, and what it can say of its own effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any

import pytest

from squidmesh.core.failure import Failure
from squidmesh.core.stepcontext import RollbackInfo, State, StepContext
from squidmesh.errors import DefinitionError, InvalidPayload


@dataclass
class Seen:
    """What a context asks of the engine."""

    connected: Any = None
    undos: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def state(self) -> Mapping[str, list[Any]]:
        return {}

    def checkpoint(self, value: Any) -> None: ...

    def heartbeat(self) -> None: ...

    def connection(self) -> Any:
        return self.connected

    def add_undo(self, function: str, input: dict[str, Any]) -> None:
        self.undos.append((function, input))

    def mark_irreversible(self, note: str) -> None:
        self.notes.append(note)


def made(attempt: Seen, **more: Any) -> StepContext:
    return StepContext("run", "charge", "3", 1, more.pop("key", "run:3"), None, None, attempt, **more)


def take_back(order: str, cents: int = 5) -> None: ...


async def take_back_slowly(order: str) -> None: ...


def takes_back_piecemeal(order: str) -> Iterator[None]:
    yield


def test_the_latest_result_of_a_step_and_all_of_them() -> None:
    state = State({"charge": [1, 2], "ship": ["label"]})
    assert state["charge"] == 2
    assert state.all("charge") == [1, 2]
    assert (list(state), len(state), state.all("none"), state.get("none")) == (["charge", "ship"], 2, [], None)


@pytest.mark.parametrize(("results", "there"), [({}, "none"), ({"charge": [1]}, "charge")])
def test_a_step_without_a_result_is_named_with_those_there_are(results: dict[str, list[int]], there: str) -> None:
    with pytest.raises(KeyError, match=f"no result of 'ship' when this attempt was scheduled; there were: {there}"):
        State(results)["ship"]


def test_the_key_of_the_step_is_its_own_and_known_to_its_handlers() -> None:
    assert made(Seen()).forward_key == "run:3"
    undo = made(Seen(), key="run:3:undo", forward_key="run:3")
    assert (undo.key, undo.forward_key) == ("run:3:undo", "run:3")


def test_an_undo_knows_the_rollback_that_it_is_part_of() -> None:
    why = RollbackInfo("run:rollback:1", "failure", Failure(type="shop.Declined", message="no"))
    assert made(Seen(), rollback=why).rollback == why
    assert (made(Seen()).rollback, why.actor, why.note) == (None, None, None)
    with pytest.raises(FrozenInstanceError):
        why.cause = "cancel"  # type: ignore[misc]


def test_the_connection_is_that_of_the_transaction() -> None:
    connection = object()
    assert made(Seen(connected=connection)).connection is connection


def test_a_step_that_is_not_transactional_is_told_how_to_get_a_connection() -> None:
    with pytest.raises(DefinitionError, match=r"step 'charge' has no connection.*@step\(transactional=True\)"):
        _ = made(Seen()).connection


def test_an_undo_is_registered_by_its_name_with_its_arguments_as_json() -> None:
    seen = Seen()
    made(seen).add_undo(take_back, "o", 7)
    made(seen).add_undo(take_back, "o")
    made(seen).add_undo(take_back_slowly, "p")
    assert seen.undos == [
        (f"{__name__}:take_back", {"order": "o", "cents": 7}),
        (f"{__name__}:take_back", {"order": "o", "cents": 5}),
        (f"{__name__}:take_back_slowly", {"order": "p"}),
    ]


@pytest.mark.parametrize(
    ("args", "named"), [((), "order"), (("o", "many"), "cents"), (("o", 1, 2), "argument 3"), ((object(),), "order")]
)
def test_arguments_that_an_undo_could_not_take_are_refused_at_once(args: Any, named: str) -> None:
    seen = Seen()
    with pytest.raises(InvalidPayload, match="undo 'take_back'") as raised:
        made(seen).add_undo(take_back, *args)
    assert named in raised.value.errors
    assert seen.undos == []


def test_an_undo_that_no_other_worker_could_find_is_refused() -> None:
    def inner(order: str) -> None: ...

    seen = Seen()
    for fn, told in [
        (inner, r"context\(\)\.add_undo\(\).* is a function inside another one"),
        (takes_back_piecemeal, "yields; an undo is called once"),
        ("take_back", "takes a function"),
    ]:
        with pytest.raises(DefinitionError, match=told):
            made(seen).add_undo(fn, "o")  # type: ignore[arg-type]
    assert seen.undos == []


def test_a_step_may_be_marked_as_irreversible_while_it_runs() -> None:
    seen = Seen()
    made(seen).mark_irreversible("the window is closed")
    made(seen).mark_irreversible()
    assert seen.notes == ["the window is closed", ""]
