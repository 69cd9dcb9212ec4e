"""Schedules in the database: what is due, and changes that happen once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from squidmesh.ports import Capability, NewRun, RunChange, ScheduleChange, ScheduleRow, TickRow
from squidmesh.store import SqlStore, schedules

from .support import CAN, SECOND, HandClock, an_append, at_once, held, new_run

Open = Callable[..., SqlStore]


def a_row(store: SqlStore, name: str = "nightly", **given: Any) -> ScheduleRow:
    now = store.now()
    row: dict[str, Any] = {
        "name": name, "workflow": "shop", "version": 1, "definition": '{"b": 1.0, "a": [2]}', "origin": None,
        "created_at": now, "anchor": now, "revision": now, "due_at": now,
    }  # fmt: skip
    return ScheduleRow(**(row | given))


def made(store: SqlStore, name: str = "nightly", **given: Any) -> ScheduleRow:
    row = a_row(store, name, **given)
    assert store.change_schedule(ScheduleChange(name, None, row))
    return row


def change(row: ScheduleRow, **given: Any) -> ScheduleChange:
    runs: tuple[NewRun, ...] = given.pop("runs", ())
    ticks: tuple[TickRow, ...] = given.pop("ticks", ())
    met, messages = given.pop("met", ()), given.pop("messages", ())
    fresh = replace(row, revision=row.revision + 1, **given)
    return ScheduleChange(row.name, row.revision, fresh, ticks, runs, met, messages)


def due(store: SqlStore, can: Capability = CAN) -> list[str]:
    return [found.row.name for found in store.due(can, 10).schedules]


# ------------------------------------------------------------------------------------------------------------ changes


def test_a_schedule_is_read_as_it_was_written(store: SqlStore) -> None:
    row = made(store, origin="shop", queued_at=5, paused_at=7, actor="ann", note="why")
    assert store.schedule("nightly") == row
    other = made(store, "another", due_at=None)
    assert store.schedules() == [other, row]
    assert store.schedule("none") is None


def test_a_name_is_taken_once(store: SqlStore) -> None:
    row = made(store)
    assert not store.change_schedule(ScheduleChange("nightly", None, replace(row, workflow="other")))
    assert store.schedule("nightly") == row


def test_who_has_seen_another_revision_changes_nothing(store: SqlStore) -> None:
    row = made(store)
    run = new_run(store)
    first = change(row, due_at=1)
    assert store.change_schedule(first)
    late = change(row, due_at=2, runs=(run,), ticks=(TickRow("nightly", 1, "started", run.run_id),))
    assert not store.change_schedule(late)
    assert not store.change_schedule(ScheduleChange("nightly", row.revision, None))
    assert store.schedule("nightly") == first.row
    assert store.run(run.run_id) is None
    assert store.ticks("nightly", 0, 9, 9) == []


def test_all_of_a_change_is_written_together(store: SqlStore) -> None:
    row, run = made(store), new_run(store)
    other = held(store).run.run_id
    ticks = (TickRow("nightly", 1, "missed"), TickRow("nightly", 2, "started", run.run_id))
    told = (other, "CancelRequested", '[{"kind":"CancelRequested"}]')
    assert store.change_schedule(change(row, due_at=9, ticks=ticks, runs=(run,), met=(run.run_id,), messages=(told,)))
    assert store.ticks("nightly", 0, 9, 9) == list(ticks)
    assert store.run(run.run_id) is not None
    assert store.history(run.run_id)[0].events == run.events
    assert store.met("nightly") == [run.run_id]
    assert json.loads(store.inbox(other)[0].events) == [{"kind": "CancelRequested"}]
    pinged = store.run(other)
    assert pinged is not None
    assert pinged.due_at is not None


def test_a_message_for_a_run_that_has_ended_is_left_out(store: SqlStore) -> None:
    row, claimed = made(store), held(store)
    store.append(an_append(claimed, change=RunChange("completed", ended_at=1)))
    told = (claimed.run.run_id, "CancelRequested", "[{}]")
    assert store.change_schedule(change(row, messages=(told,)))
    assert store.inbox(claimed.run.run_id) == []


def test_a_tick_keeps_its_run(store: SqlStore) -> None:
    row, run, other = made(store), new_run(store), new_run(store)
    first = change(row, ticks=(TickRow("nightly", 1, "started", run.run_id),), runs=(run,))
    assert store.change_schedule(first)
    assert first.row is not None
    again = change(first.row, ticks=(TickRow("nightly", 1, "started", other.run_id),), runs=(other,))
    assert not store.change_schedule(again)
    assert store.ticks("nightly", 0, 9, 9) == list(first.ticks)
    assert store.schedule("nightly") == first.row
    assert store.run(other.run_id) is None


def test_a_tick_without_a_run_may_get_one_later(store: SqlStore) -> None:
    row, run = made(store), new_run(store)
    first = change(row, ticks=(TickRow("nightly", 1, "queued"), TickRow("nightly", 2, "missed")))
    assert store.change_schedule(first)
    assert first.row is not None
    later = (TickRow("nightly", 1, "started", run.run_id),)
    assert store.change_schedule(change(first.row, ticks=later, runs=(run,)))
    assert store.ticks("nightly", 0, 9, 9) == [later[0], TickRow("nightly", 2, "missed")]


def test_ticks_are_read_in_order_the_newest_of_more_than_asked_for(store: SqlStore) -> None:
    row = made(store)
    ticks = tuple(TickRow("nightly", at, "missed") for at in (-3, 1, 5, 10_000_000_000_000_000))
    assert store.change_schedule(change(row, ticks=ticks))
    assert store.ticks("nightly", -9, 10**17, 9) == list(ticks)
    assert store.ticks("nightly", -9, 10**17, 2) == list(ticks[2:])
    assert store.ticks("nightly", 1, 5, 9) == list(ticks[1:3])
    assert store.ticks("other", -9, 9, 9) == []


def test_many_ticks_are_one_change(store: SqlStore) -> None:
    row = made(store)
    assert store.change_schedule(change(row, ticks=tuple(TickRow("nightly", at, "missed") for at in range(5_000))))
    assert len(store.ticks("nightly", 0, 10_000, 10_000)) == 5_000


def test_ticks_outlive_their_schedule(store: SqlStore) -> None:
    row, run = made(store), new_run(store)
    first = change(row, ticks=(TickRow("nightly", 1, "started", run.run_id),), runs=(run,), met=(run.run_id,))
    assert store.change_schedule(first)
    assert first.row is not None
    assert store.change_schedule(ScheduleChange("nightly", first.row.revision, None))
    assert store.schedule("nightly") is None
    assert store.met("nightly") == []
    assert store.ticks("nightly", 0, 9, 9) == list(first.ticks)


def test_of_changes_at_once_one_is_made(url: str, opened: Open) -> None:
    if url == "sqlite://":
        pytest.skip("a database in memory has one store")
    stores = [opened(url) for _ in range(2)]
    row = made(stores[0])
    for _ in range(10):
        runs = [new_run(stores[0]) for _ in range(4)]

        def fire(n: int, row: ScheduleRow = row, runs: list[NewRun] = runs) -> bool:
            at = row.revision
            ticks = (TickRow("nightly", at, "started", runs[n].run_id),)
            return stores[n % 2].change_schedule(change(row, ticks=ticks, runs=(runs[n],)), wait=n > 1)

        won = at_once(4, fire)
        assert won.count(True) == 1
        assert [stores[0].run(run.run_id) is not None for run in runs] == won
        row = replace(row, revision=row.revision + 1)
        assert stores[1].schedule("nightly") == row
    assert len(stores[0].ticks("nightly", 0, 2**62, 99)) == 10


def test_one_that_is_being_changed_is_passed_over(opened: Open, emptied_postgres_url: str) -> None:
    store = opened(emptied_postgres_url)
    row = made(store)
    with store.database.transaction() as statements:
        statements.rows("SELECT 1 FROM squidmesh_schedules WHERE name = 'nightly' {wait}")
        assert not store.change_schedule(change(row), wait=False)
    assert store.change_schedule(change(row), wait=False)


# ---------------------------------------------------------------------------------------------------------- what is due


def test_what_is_due_is_found_with_the_time_of_the_look(clocked: SqlStore, clock: HandClock) -> None:
    now = clock.now()
    made(clocked, "later", due_at=now + 5 * SECOND)
    row = made(clocked, "now", due_at=now)
    made(clocked, "before", due_at=now - 7)
    made(clocked, "over", due_at=None)
    made(clocked, "paused", due_at=now, paused_at=now)
    found = clocked.due(CAN, 10)
    assert [one.row.name for one in found.schedules] == ["before", "now"]
    assert (found.schedules[1].row, found.schedules[1].now, found.schedules[1].busy) == (row, now, False)
    assert found.next_at == found.next_tick == now + 5 * SECOND


def test_by_the_database_s_own_clock(store: SqlStore) -> None:
    made(store, "hour", due_at=store.now() + 3_600 * SECOND)
    made(store, "past", due_at=store.now() - SECOND)
    (found,) = store.due(CAN, 10).schedules
    assert found.row.name == "past"
    assert abs(found.now - store.now()) < 10 * SECOND


def test_only_of_code_that_is_at_hand_in_this_version_or_a_higher_one(store: SqlStore) -> None:
    for version in (1, 2, 3):
        made(store, f"shop {version}", version=version)
    made(store, "unknown", workflow="else")
    assert due(store) == ["shop 1", "shop 2"]
    assert due(store, Capability((), (("shop", 3),), ())) == ["shop 1", "shop 2", "shop 3"]
    assert due(store, Capability((), (), ())) == []
    assert due(store, Capability((), (('a "quoted" $.name', 3), ("else", 1)), ())) == ["unknown"]


def test_of_triggers_only_those_that_the_code_has(store: SqlStore) -> None:
    made(store, "mine", origin="shop")
    made(store, "theirs", origin="shop")
    made(store, "by hand")
    assert due(store) == ["by hand"]
    assert due(store, replace(CAN, triggers=("mine",))) == ["mine", "by hand"]


def test_a_schedule_is_busy_while_a_run_that_its_tick_meets_goes_on(store: SqlStore) -> None:
    row, claimed = made(store), held(store)
    first = change(row, met=(claimed.run.run_id,))
    assert store.change_schedule(first)
    assert [found.busy for found in store.due(CAN, 10).schedules] == [True]
    store.append(an_append(claimed, change=RunChange("completed", ended_at=1)))
    assert [found.busy for found in store.due(CAN, 10).schedules] == [False]
    assert store.met("nightly") == []


def test_a_queued_tick_is_due_when_no_run_goes_on_any_more(store: SqlStore) -> None:
    later = store.now() + 3_600 * SECOND
    row, claimed = made(store, due_at=later, queued_at=store.now() - 1), held(store)
    first = change(row, met=(claimed.run.run_id,))
    assert store.change_schedule(first)
    assert due(store) == []
    store.append(an_append(claimed, change=RunChange("failed", ended_at=1)))
    assert due(store) == ["nightly"]
    made(store, "paused", due_at=None, queued_at=5, paused_at=6)
    assert due(store) == ["nightly"]


def test_runs_that_have_ended_are_cleared_away_by_the_next(store: SqlStore) -> None:
    row, claimed = made(store), held(store)
    first = change(row, met=(claimed.run.run_id, str(uuid4())))
    assert store.change_schedule(first)
    store.append(an_append(claimed, change=RunChange("completed", ended_at=1)))
    run = new_run(store)
    assert first.row is not None
    assert store.change_schedule(change(first.row, runs=(run,), met=(run.run_id,)))
    rows = store.database.read("SELECT {text:run_id} FROM squidmesh_schedule_runs")
    assert [found[0] for found in rows] == [run.run_id]


def test_a_look_when_nothing_is_due_is_one_statement(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made(store, due_at=store.now() + SECOND * 60)
    said: list[str] = []
    read = store.database.read

    def listening(text: str, connection: Any = None, **parameters: Any) -> list[Any]:
        said.append(text)
        return read(text, connection, **parameters)

    monkeypatch.setattr(store.database, "read", listening)
    assert schedules.due(store.database, CAN)[0] == ()
    assert len(said) == 1


def test_a_lost_answer_is_no_second_run(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    row, run = made(store), new_run(store)
    wanted = change(row, runs=(run,), ticks=(TickRow("nightly", 1, "started", run.run_id),))
    patiently = store.database.patiently

    def unheard(attempt: Any, limit: float, *, resend: bool = True) -> Any:
        """What was changed is committed, and the answer to that is lost."""
        answer = patiently(attempt, limit, resend=resend)
        return attempt(True) if answer is True else answer

    monkeypatch.setattr(store.database, "patiently", unheard)
    assert store.change_schedule(wanted)
    assert store.schedule("nightly") == wanted.row
