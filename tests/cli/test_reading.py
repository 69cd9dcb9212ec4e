"""What the commands that read say, to people and to programs."""

from __future__ import annotations

import pytest

from squidmesh.core.status import Reason
from tests.cli.conftest import Place
from tests.cli.world import SECRET


def test_runs_lists_them_newest_first(either: Place) -> None:
    lines = either.ask("runs").stdout.splitlines()
    assert lines[0].split()[:3] == ["run", "status", "workflow"]
    assert [line.split()[0] for line in lines[1:]] == sorted(either.ids.values(), reverse=True)


def test_runs_gives_programs_a_page_and_where_the_next_begins(either: Place) -> None:
    first = either.read("runs", "--limit", "2")
    assert [run["run_id"] for run in first["runs"]] == [either.ids["held"], either.ids["secret"]]
    second = either.read("runs", "--limit", "1", "--after", first["next"])
    assert [run["run_id"] for run in second["runs"]] == [either.ids["undo_failed"]]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("--status", "failed"), {"failed"}),
        (("--status", "failed", "--status", "paused"), {"failed", "approval", "pause", "held"}),
        (("--reason", "code_error"), {"blocked"}),
        (("--workflow", "napping"), {"sleeping", "held"}),
        (("--key", "signal"), {"signal"}),
        (("--workflow", "checkout", "--version", "2"), set()),
        (("--since", "1w", "--status", "completed"), {"completed", "secret"}),
        (("--before", "1w"), set()),
        (("--ended-since", "2020-01-01", "--status", "failed"), {"failed"}),
        (("--ended-before", "2020-01-01"), set()),
        (("--attributes", '{"region": "eu"}'), set()),
    ],
)
def test_runs_takes_filters(place: Place, filters: tuple[str, ...], found: set[str]) -> None:
    assert {run["key"] for run in place.read("runs", *filters)["runs"]} == found


def test_runs_of_nothing_says_so(place: Place) -> None:
    assert place.ask("runs", "--before", "1w").stdout == "No runs.\n"


def test_a_page_that_is_not_the_last_names_the_command_for_the_next(place: Place) -> None:
    last = place.ask("runs", "--limit", "1").stdout.splitlines()[-1]
    assert last == f"more: squidmesh runs --after {place.ids['held']} --database {place.url}"


def test_a_filter_that_there_cannot_be_is_a_usage_error(place: Place) -> None:
    said = place.ask("runs", "--status", "fialed", code=2)
    assert said.stderr.startswith("squidmesh: status takes a name, one of pending,")


def test_show_has_the_steps_and_the_rollback(either: Place) -> None:
    said = either.ask("show", either.ids["failed"]).stdout
    assert "failure   GiveUp: no courier goes to Atlantis" in said
    assert "2    take_card  completed, undone" in said
    assert "Rollback  clean (cause: failure)" in said


def test_show_has_gates_and_signals(place: Place) -> None:
    assert "fraud-desk  approval  open" in place.ask("show", "--key", "approval").stdout
    assert "payment.done  waiting" in place.ask("show", "--key", "signal").stdout


def test_show_names_what_can_be_done_about_a_rollback_that_stands(place: Place) -> None:
    said = place.ask("show", "--key", "undo_failed").stdout
    run = place.ids["undo_failed"]
    assert f"  squidmesh undo-retry {run} 2 --actor … --note … --database {place.url}\n" in said


def test_explain_says_why_and_what_to_type(either: Place) -> None:
    said = either.ask("explain", "--key", "approval").stdout
    assert "status    paused (waiting_for_approval)" in said
    assert "Approval 'fraud-desk' (position 2) is open since" in said
    assert f"  squidmesh approve {either.ids['approval']} fraud-desk --actor …" in said


def test_explain_names_the_line_of_broken_code(place: Place) -> None:
    told = place.read("explain", "--key", "blocked")["explanation"]
    assert told["code"]["file"].endswith("shop.py")
    assert f"shop.py:{told['code']['line']} in broken" in place.ask("explain", "--key", "blocked").stdout


def test_history_has_every_event(either: Place) -> None:
    events = either.read("history", "--key", "failed")["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    lines = either.ask("history", "--key", "failed").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [str(event["seq"]) for event in events]
    assert "by=" not in lines[1]


def test_history_can_be_of_some_kinds_and_of_the_newest(place: Place) -> None:
    shown = place.read("history", "--key", "failed", "--kind", "StepCompleted", "--last", "1")["events"]
    assert [(event["kind"], event["position"]) for event in shown] == [("StepCompleted", "2")]
    said = place.ask("history", "--key", "failed", "--kind", "StepComplete", code=2)
    assert "did you mean 'StepCompleted'" in said.stderr


def test_history_says_who_did_what_and_why(place: Place) -> None:
    assert "by ada note: the bank is down" in place.ask("history", "--key", "held").stdout


def test_timeline_has_a_bar_for_each_span(either: Place) -> None:
    lines = either.ask("timeline", "--key", "failed").stdout.splitlines()
    entries = either.read("timeline", "--key", "failed")["entries"]
    assert len(lines) == len(entries) + 1
    assert all("━" in line for line in lines[1:])
    assert {entry["kind"] for entry in entries} >= {"run", "attempt", "undo"}


def test_reasons_has_each_of_the_closed_set() -> None:
    found = Place("sqlite://", {}).read("reasons")["reasons"]
    assert {entry["reason"] for entry in found} == {reason.value for reason in Reason}
    said = Place("sqlite://", {}).ask("reasons").stdout
    assert all(reason.value in said for reason in Reason)


def test_status_is_one_screen(either: Place) -> None:
    found = either.read("status")
    assert found["runs"] == {"blocked": 4, "completed": 2, "failed": 1, "paused": 3, "waiting": 3}
    assert {run["key"] for run in found["blocked"]} == {"blocked", "in_doubt", "past_pivot", "undo_failed"}
    said = either.ask("status").stdout
    assert "13 in all" in said
    assert len(said.splitlines()) <= 24


def test_workers_are_told_with_what_they_serve(either: Place) -> None:
    assert either.ask("workers").stdout
    from squidmesh import Mesh
    from tests.cli import shop

    with Mesh(either.url, workflows=[shop]) as mesh, mesh.worker(queues=["elsewhere"]):
        (worker,) = either.read("workers")["workers"]
        assert worker["queues"] == ["elsewhere"]
        assert "checkout" in either.ask("workers").stdout


def test_what_is_secret_is_in_no_answer(place: Place) -> None:
    for command in ("show", "explain", "history", "timeline"):
        for form in ((), ("--json",)):
            said = place.ask(command, "--key", "secret", *form).output
            assert SECRET not in said
            assert "4111" not in said
    assert "**********" in place.ask("show", "--key", "secret").stdout
    assert "**********" in place.ask("history", "--key", "secret", "--json").stdout


def test_explain_tells_deadlines_and_what_undoing_would_meet(place: Place) -> None:
    said = place.ask("explain", "--key", "approval").stdout
    assert "gate deadline  " in said
    assert ", on time\n" in said
    assert "undoing it     1 can be undone\n" in said
