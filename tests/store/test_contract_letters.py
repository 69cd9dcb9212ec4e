"""What an append puts into the inboxes of other runs, on each database, alone and in a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from squidmesh.ports import Append, Appended, Claimed, Letter, RunChange
from squidmesh.store import SqlStore

from .support import CAN, an_append, at_once, events_of, held, let_go, new_run, started

WAITING = RunChange("waiting", release=True)


def a_letter(run_id: str, kind: str = "ChildEnded", **given: Any) -> Letter:
    return Letter(run_id, kind, json.dumps([{"kind": kind}]), "default", **given)


def ends(claimed: Claimed, *letters: Letter, **given: Any) -> Append:
    return an_append(claimed, change=RunChange("completed", ended_at=5), letters=letters, **given)


def waiting(store: SqlStore, name: str = "w1") -> str:
    """A run that nobody holds, and that is not due."""
    claimed = held(store, name)
    assert let_go(store, claimed) == Appended(accepted=True, pinged=False)
    return claimed.run.run_id


def over(store: SqlStore) -> str:
    claimed = held(store)
    assert store.append(ends(claimed)) == Appended(accepted=True, pinged=False)
    return claimed.run.run_id


def is_due(store: SqlStore, run_id: str) -> bool:
    row = store.run(run_id)
    assert row is not None
    return row.due_at is not None and row.due_at <= store.now()


def write(store: SqlStore, appends: Sequence[Append]) -> list[Appended | None]:
    return store.database.dialect.write(store.database, appends)


def kinds(store: SqlStore, run_id: str) -> list[str]:
    return [event["kind"] for event in events_of(store.inbox(run_id))]


def test_a_letter_lands_with_the_append_and_makes_its_receiver_due(store: SqlStore) -> None:
    parent, child = waiting(store), held(store)
    assert store.append(ends(child, a_letter(parent))) == Appended(accepted=True, pinged=False)
    assert kinds(store, parent) == ["ChildEnded"]
    assert is_due(store, parent)


def test_a_refused_append_tells_nobody(store: SqlStore) -> None:
    parent, child = waiting(store), held(store)
    assert not store.append(ends(child, a_letter(parent), epoch=9)).accepted
    assert kinds(store, parent) == []
    assert not is_due(store, parent)


def test_who_is_held_or_due_already_is_awake(store: SqlStore) -> None:
    asleep, holding, due = waiting(store), held(store).run.run_id, started(store)
    letters = [a_letter(run_id) for run_id in (asleep, holding, due)]
    answer = store.append(an_append(held(store), letters=tuple(letters), change=WAITING))
    assert answer.awake == {holding, due}
    again = store.append(ends(held(store), *letters))
    assert again.awake == {asleep, holding, due}
    assert [kinds(store, run_id) for run_id in (asleep, holding, due)] == [["ChildEnded"] * 2] * 3


@pytest.mark.parametrize(("opens", "status"), [(None, "completed"), ("", "completed"), ("undoing", "undoing")])
def test_a_run_that_has_ended_hears_only_what_opens_it(store: SqlStore, opens: str | None, status: str) -> None:
    ended = over(store)
    assert store.append(an_append(held(store), letters=(a_letter(ended, opens=opens),))).accepted
    row = store.run(ended)
    assert row is not None
    assert row.status == status
    assert (row.ended_at is None) == (opens is not None)
    assert kinds(store, ended) == ([] if opens is None else ["ChildEnded"])


def test_a_run_that_is_started_hears_what_it_is_told_in_the_same_append(store: SqlStore) -> None:
    child, other = new_run(store), waiting(store)
    letters = (a_letter(child.run_id, "CancelRequested", opens=""), a_letter(other))
    assert store.append(an_append(held(store), runs=(child,), letters=letters)).accepted
    assert kinds(store, child.run_id) == ["CancelRequested"]
    assert kinds(store, other) == ["ChildEnded"]


def test_ends_in_a_batch_tell_their_parent_together(store: SqlStore) -> None:
    parent, other = waiting(store), waiting(store)
    children = [held(store) for _ in range(4)]
    answers = write(
        store,
        [
            ends(children[0], a_letter(parent, "First")),
            ends(children[1], a_letter(parent, "Second"), epoch=9),
            ends(children[2], a_letter(other, "Third")),
            ends(children[3], a_letter(parent, "Fourth")),
        ],
    )
    assert [answer and answer.accepted for answer in answers] == [True, None, True, True]
    assert sorted(kinds(store, parent)) == ["First", "Fourth"]
    assert kinds(store, other) == ["Third"]
    assert is_due(store, parent)
    assert is_due(store, other)
    called = [not answer.awake for answer in answers if answer is not None]
    assert sorted(called) == [False, True, True], "one of them calls for each parent"
    rows = [store.run(child.run.run_id) for child in children]
    assert [row and row.status for row in rows] == ["completed", "running", "completed", "completed"]


def test_a_batch_tells_no_run_that_is_over(store: SqlStore) -> None:
    ended, parent = over(store), waiting(store)
    children = [held(store), held(store)]
    answers = write(store, [ends(children[0], a_letter(ended)), ends(children[1], a_letter(parent))])
    assert all(answer is not None and answer.accepted for answer in answers)
    assert kinds(store, ended) == []
    assert kinds(store, parent) == ["ChildEnded"]
    row = store.run(ended)
    assert row is not None
    assert row.ended_at == 5


def test_what_arrived_for_an_end_in_a_batch_is_looked_at_and_the_letter_goes(store: SqlStore) -> None:
    parent, children = waiting(store), [held(store), held(store)]
    store.post(children[0].run.run_id, "Signal", "[{}]")
    answers = write(store, [ends(child, a_letter(parent)) for child in children])
    assert [answer and answer.pinged for answer in answers] == [True, False]
    assert kinds(store, parent) == ["ChildEnded"] * 2


def test_many_ends_at_once_and_a_parent_that_is_driven_meanwhile_lose_no_word(store: SqlStore) -> None:
    """Ends come in batches and alone, while the parent is claimed, read, and let go again."""
    store._committer._most_direct = 1
    parent = waiting(store)
    children = [held(store) for _ in range(24)]
    heard: list[str] = []

    def drive(_: int) -> None:
        seq = 3
        while len(heard) < len(children):
            claimed = store.claim("w1", parent, CAN)
            if claimed is None:
                continue
            heard.extend(event["kind"] for event in events_of(claimed.inbox))
            taken = tuple(row.id for row in claimed.inbox)
            assert store.append(an_append(claimed, seq, taken=taken, change=WAITING)).accepted
            seq += 1

    def end(number: int) -> None:
        for child in children[number::6]:
            assert store.append(ends(child, a_letter(parent))).accepted

    at_once(7, lambda number: drive(number) if number == 6 else end(number))
    assert heard == ["ChildEnded"] * len(children)
    assert store.inbox(parent) == []
