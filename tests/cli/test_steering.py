"""Every command that steers a run: what it does to the run, and what it says, to people and to programs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Place

BY = ("--actor", "ada", "--note", "as agreed")
Drain = Callable[[Place], None]


def status(place: Place, name: str) -> str:
    told: str = place.read("show", "--key", name)["run"]["status"]
    return told


def test_a_signal_is_sent_with_its_payload(either: Place, drain: Drain) -> None:
    said = either.ask("signal", either.ids["signal"], "payment.done", "--payload", '"receipt-1"').stdout
    assert said.startswith(f"sent payment.done: run {either.ids['signal']} is waiting")
    drain(either)
    assert either.read("show", "--key", "signal")["run"]["result"] == "receipt-1"


def test_a_signal_is_sent_once_under_a_command_key(place: Place) -> None:
    for _ in range(2):
        place.ask("signal", "--key", "signal", "other", "--command-key", "k-1")
    drained = [event for event in _inbox(place, "signal") if event == "SignalReceived"]
    assert len(drained) == 1


def _inbox(place: Place, name: str) -> list[str]:
    from squidmesh import Mesh
    from squidmesh.core.codec import decode

    with Mesh(place.url) as mesh:
        rows = mesh.connect_engine().store.inbox(place.ids[name])
        return [event.kind for row in rows for event in decode(row.events)]


def test_an_approval_is_given(either: Place, drain: Drain) -> None:
    answer = either.read("approve", "--key", "approval", "fraud-desk", *BY)
    assert answer == {
        "schema_version": 1, "command": "approve", "run_id": either.ids["approval"], "status": "paused",
        "rollback": None,
    }  # fmt: skip
    drain(either)
    assert status(either, "approval") == "completed"


def test_an_approval_is_refused_and_what_was_done_is_undone(place: Place, drain: Drain) -> None:
    assert "rejected by ada" in place.ask("reject", place.ids["approval"], *BY).stdout
    drain(place)
    assert status(place, "approval") == "failed"


def test_a_decision_that_is_made_already_is_refused_with_how_it_came_out(place: Place, drain: Drain) -> None:
    place.ask("approve", "--key", "approval", *BY)
    drain(place)
    said = place.ask("approve", "--key", "approval", "--actor", "bob", code=1)
    assert said.stderr.startswith(f"squidmesh: run {place.ids['approval']} is completed: there is nothing to approve")
    assert said.stdout == ""


def test_a_pause_is_resumed_with_its_payload(place: Place, drain: Drain) -> None:
    place.ask("resume", "--key", "pause", "count", "--payload", "3", "--actor", "ada")
    drain(place)
    assert place.read("show", "--key", "pause")["run"]["result"] == 3


def test_a_run_is_held_and_released(place: Place, drain: Drain) -> None:
    place.ask("hold", "--key", "sleeping", *BY)
    drain(place)
    assert place.read("explain", "--key", "sleeping")["explanation"]["reason"] == "held"
    place.ask("release", "--key", "sleeping", "--actor", "ada")
    drain(place)
    assert status(place, "sleeping") == "waiting"


def test_a_cancelled_run_says_what_is_undone(place: Place, drain: Drain) -> None:
    answer = place.read("cancel", "--key", "retrying", "--actor", "ada")
    assert [entry["step"] for entry in answer["rollback"]["pending"]] == ["reserve"]
    drain(place)
    assert status(place, "retrying") == "cancelled"
    assert place.ask("cancel", "--key", "sleeping", "--no-undo").stdout.startswith("asked to end: run")


def test_a_run_is_terminated(place: Place, drain: Drain) -> None:
    place.ask("terminate", "--key", "sleeping", *BY)
    drain(place)
    assert status(place, "sleeping") == "terminated"


def test_a_run_is_failed_by_a_person(place: Place, drain: Drain) -> None:
    place.ask("fail", "--key", "past_pivot", *BY, "--no-undo")
    drain(place)
    assert status(place, "past_pivot") == "failed"


def test_a_step_is_tried_again_past_its_pivot(place: Place, drain: Drain) -> None:
    assert "notify is tried again" in place.ask("retry-step", "--key", "past_pivot", "notify", *BY).stdout
    drain(place)
    tried = place.read("history", "--key", "past_pivot", "--kind", "AttemptStarted")["events"]
    assert [event["position"] for event in tried] == ["1", "2", "3", "3"]


def test_a_step_is_skipped_past_its_pivot(place: Place, drain: Drain) -> None:
    place.ask("skip-step", "--key", "past_pivot", "3", "--value", '"mailed"', *BY)
    drain(place)
    assert place.read("show", "--key", "past_pivot")["run"]["result"] == "mailed"


@pytest.mark.parametrize(("said", "ends"), [(("--applied", '"tx-9"'), "completed"), (("--not-applied",), "failed")])
def test_a_step_in_doubt_is_resolved(place: Place, drain: Drain, said: tuple[str, ...], ends: str) -> None:
    place.ask("resolve-step", "--key", "in_doubt", "cash_out", *said, *BY)
    drain(place)
    assert status(place, "in_doubt") == ends


@pytest.mark.parametrize("said", [(), ("--applied", "1", "--not-applied")])
def test_a_verdict_is_one_of_two(place: Place, said: tuple[str, ...]) -> None:
    place.ask("resolve-step", "--key", "in_doubt", "cash_out", *said, *BY, code=2)


def test_with_the_code_at_hand_a_value_is_checked_by_its_type(place: Place) -> None:
    wrong = ("resolve-step", "--key", "in_doubt", "cash_out", "--applied", "[1]", *BY, "--module", "tests.cli.shop")
    said = place.ask(*wrong, code=1)
    assert said.stderr.startswith("squidmesh: the value for step 'cash_out' at position 2 does not fit")
    assert said.stderr.count("\n") == 1


def test_a_dry_run_of_a_rollback_says_what_it_would_meet_and_records_nothing(either: Place) -> None:
    before = len(either.read("history", "--key", "completed")["events"])
    answer = either.read("rollback", "--key", "completed", "--dry-run")
    assert [(e["step"], e["reason"]) for e in answer["rollback"]["pending"]] == [
        ("hand_over", "no_undo"), ("take_card", None), ("reserve", None),
    ]  # fmt: skip
    assert "planned, nothing is done" in either.ask("rollback", "--key", "completed", "--dry-run").stdout
    assert len(either.read("history", "--key", "completed")["events"]) == before


def test_an_ended_run_is_rolled_back(place: Place, drain: Drain) -> None:
    place.ask("rollback", "--key", "completed", code=2)
    place.ask("rollback", "--key", "completed", "--on-irreversible", "halt", *BY)
    drain(place)
    assert status(place, "completed") == "undone"


@pytest.mark.parametrize(
    ("command", "entry", "outcome"),
    [
        ("undo-skip", (), "partial"),
        ("undo-mark-done", ("lend",), "clean"),
        ("undo-abandon", (), "abandoned"),
        ("undo-retry", ("lend",), None),
    ],
)
def test_a_person_decides_where_an_undo_has_failed(
    place: Place, drain: Drain, command: str, entry: tuple[str, ...], outcome: str | None
) -> None:
    answer = place.read(command, "--key", "undo_failed", *entry, *BY)
    assert answer["rollback"]["run_id"] == place.ids["undo_failed"]
    drain(place)
    assert place.read("show", "--key", "undo_failed")["run"]["rollback"]["outcome"] == outcome


def test_an_entry_that_there_is_not_is_not_found(place: Place) -> None:
    said = place.ask("undo-retry", "--key", "undo_failed", "hand_over", *BY, code=3)
    assert "has no single entry 'hand_over'" in said.stderr


def test_an_ended_run_is_run_again(either: Place, drain: Drain) -> None:
    answer = either.read("rerun", "--key", "failed", "--actor", "ada", "--command-key", "again")
    assert answer["rerun_of"] == either.ids["failed"]
    assert (
        either.read("rerun", "--key", "failed", "--actor", "ada", "--command-key", "again")["run_id"]
        == answer["run_id"]
    )
    drain(either)
    assert either.read("show", answer["run_id"])["run"]["status"] == "failed"


def test_a_run_is_run_again_from_a_position_and_what_precedes_it_keeps_its_results(place: Place, drain: Drain) -> None:
    answer = place.read("rerun", "--key", "completed", "--from-position", "3", *BY)
    drain(place)
    assert place.read("show", answer["run_id"])["run"]["status"] == "completed"
    said = place.ask("rerun", "--key", "failed", "--from-position", "3", *BY, code=1)
    assert "what precedes position 3 was undone" in said.stderr


def test_who_decides_is_asked_for(place: Place) -> None:
    assert "Missing option '--actor'" in place.ask("approve", "--key", "approval", code=2).stderr
    assert "Missing option '--note'" in place.ask("terminate", "--key", "approval", "--actor", "a", code=2).stderr
    said = place.ask("hold", "--key", "approval", "--actor", " ", code=2)
    assert said.stderr.startswith("squidmesh: hold: actor= says who decides this")


def test_what_has_ended_cannot_be_held(place: Place) -> None:
    said = place.ask("hold", "--key", "failed", "--actor", "ada", code=1)
    assert said.stderr.startswith(f"squidmesh: run {place.ids['failed']} is failed: hold is not possible")


def test_one_command_is_given_to_all_runs_that_a_filter_finds(either: Place, drain: Drain) -> None:
    filters = ("--status", "waiting", "--workflow", "napping", "--workflow", "paid")
    told = either.read("bulk", "cancel", *filters)["report"]
    assert {(run["run_id"], run["outcome"]) for run in told["runs"]} == {
        (either.ids["sleeping"], "would"), (either.ids["signal"], "would"),
    }  # fmt: skip
    assert (
        "cancel: would do for 2 runs, refused for 0; --apply does it" in either.ask("bulk", "cancel", *filters).stdout
    )
    either.ask("bulk", "cancel", *filters, "--apply", code=2)
    assert "done for 2 runs" in either.ask("bulk", "cancel", *filters, "--apply", *BY).stdout
    drain(either)
    assert {status(either, "sleeping"), status(either, "signal"), status(either, "held")} == {"cancelled", "paused"}


def test_bulk_tells_why_a_run_refuses(place: Place) -> None:
    (run,) = place.read("bulk", "release", "--workflow", "paid")["report"]["runs"]
    assert run["outcome"] == "refused"
    assert "release is not possible" in run["why"]
    assert place.ask("bulk", "rebase", "--workflow", "paid", code=1).stderr.startswith(
        "squidmesh: bulk: 'rebase' is no"
    )
