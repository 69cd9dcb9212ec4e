"""What is stored of a history: complete, self-describing, and small."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squidmesh.core import events as ev
from squidmesh.core.codec import decode, decode_rows, encode
from squidmesh.core.events import ALL, BY_KIND, Event
from squidmesh.core.failure import Failure

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)
_objects = st.dictionaries(_texts, _json, max_size=3)
_failures = st.builds(
    Failure, type=st.just("builtins.ValueError"), message=_texts, data=_json, attempts=st.integers(1, 9)
)
_BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": _texts, "int": st.integers(-(2**40), 2**60), "bool": st.booleans(), "Any": _json, "dict[str, Any]": _objects,
    "Failure": _failures, "list[str]": st.lists(_texts, max_size=3),
    "list[dict[str, Any]]": st.lists(_objects, max_size=2),
}  # fmt: skip
_positions = st.sampled_from(["1", "1.2", "12.3.4"])


def _field(annotation: str) -> st.SearchStrategy[Any]:
    plain = _BY_TYPE[annotation.removesuffix(" | None")]
    return st.none() | plain if annotation.endswith(" | None") else plain


def _events(cls: type[Event]) -> st.SearchStrategy[Event]:
    given_fields = {
        f.name: _positions if f.name == "position" and f.default is MISSING else _field(str(f.type))
        for f in fields(cls)
        if f.name not in ("seq", "at")
    }
    return st.builds(cls, at=st.sampled_from([0, 5, 10**15]), **given_fields)


histories = st.lists(st.one_of([_events(cls) for cls in ALL]), max_size=6)


@given(histories)
def test_what_is_stored_is_read_back_the_same(history: list[Event]) -> None:
    assert decode(encode(history)) == history


@given(st.lists(histories.filter(bool), max_size=3))
def test_rows_read_together_are_numbered_through(rows: list[list[Event]]) -> None:
    stored, seq = [], 1
    for row in rows:
        stored.append((seq, encode(row)))
        seq += len(row)
    whole = [event for row in rows for event in row]
    assert decode_rows(stored) == [replace(event, seq=n) for n, event in enumerate(whole, 1)]


def test_events_of_an_inbox_are_not_numbered() -> None:
    (read,) = decode(encode([ev.TimerFired(position="1", at=3)]))
    assert read.seq == 0


def test_a_stored_event_says_itself_what_it_is_and_leaves_out_its_defaults() -> None:
    stored = encode([
        ev.StepCompleted(position="1", result={"a": 1}, at=7),
        ev.StepScheduled(position="2", step="ship", input={"order": "o"}, at=7),
        ev.AttemptStarted(position="2", worker="w", at=9),
    ])  # fmt: skip
    assert json.loads(stored) == [
        ["StepCompleted", 7, "1", {"a": 1}],
        ["StepScheduled", 0, "2", "ship", {"order": "o"}],
        ["AttemptStarted", 2, "2", 1, "w"],
    ]


def test_rows_can_be_strung_together() -> None:
    at = 1_700_000_000_000_000
    first = [ev.TimerFired(position="1", at=at), ev.TimerFired(position="2", at=at + 5)]
    second = [ev.StepCompleted(position="3", at=at - 7), ev.StepCancelled(position="4", at=at + 3)]
    assert decode(f"{encode(first)[:-1]},{encode(second)[1:]}") == [*first, *second]


def test_what_a_newer_version_has_added_is_passed_over() -> None:
    assert decode('[["TimerFired",7,"1","new"]]') == [ev.TimerFired(position="1", at=7)]


def test_a_sequential_step_takes_few_bytes() -> None:
    at = 1_700_000_000_000_000
    row = [
        ev.StepCompleted(position="41", result="x" * 100, at=at),
        ev.StepScheduled(position="42", step="charge", input={"data": "x" * 100}, at=at),
        ev.AttemptStarted(position="42", worker="host:4711:abcdef", at=at),
    ]
    assert len(encode(row)) < 360


def test_a_missing_position_is_not_taken_over_from_the_event_before() -> None:
    row = [ev.StepCompleted(position="3"), ev.RunBlocked(reason="code_error", message="x"), ev.TimerFired(position="3")]
    assert decode(encode(row)) == row


def test_a_position_that_may_be_missing_is_not_passed_on_to_the_event_after() -> None:
    row = [
        ev.StepCompleted(position="1"),
        ev.RunBlocked(reason="code_changed", message="x", position="3"),
        ev.TimerFired(position="3"),
    ]
    assert decode(encode(row)) == row


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_the_stored_kind_is_the_name_of_the_class(cls: type[Event]) -> None:
    assert BY_KIND[cls.__name__] is cls
    assert all(f.name == "position" or f.name.islower() for f in fields(cls))


def test_a_number_is_not_taken_for_a_default_that_equals_it() -> None:
    (read,) = decode(encode([ev.SignalReceived(at=1, name="n", payload=1)]))
    assert isinstance(read, ev.SignalReceived)
    assert read.payload is not True
