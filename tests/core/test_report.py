"""What people read of a rollback."""

from __future__ import annotations

from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.report import prospect
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import WorkflowError
from tests.core.play import Play, listed
from tests.core.sagashop import bare, book, look, mail


@workflow(name="report_order")
def order() -> Flow[None]:
    yield from book(1)
    yield from look(2)
    yield from mail(3)
    yield from bare(4)
    yield from book(5)
    raise WorkflowError("no stock")


def failed() -> Play:
    play = Play(order)
    for position in ("1", "2", "3", "4", "5"):
        play.complete(position, int(position) * 10)
    return play


def test_a_report_says_which_run_why_and_what_became_of_each_entry() -> None:
    play = failed()
    play.undo("5", "1")
    told = play.report
    assert (told.id, told.run_id, told.workflow, told.cause) == ("run-1:rollback:1", "run-1", "report_order", "failure")
    assert told.failure is not None
    assert told.failure.message == "no stock"
    assert listed(told) == {"undone": ["5", "1"], "irreversible": ["3 declared"], "skipped": ["4 no_undo"]}
    newest = told.undone[0]
    assert (newest.kind, newest.step, newest.result, newest.attempts) == ("step", "core_book", 50, 1)
    assert newest.at is not None
    assert str(told) == "rollback partial: 2 undone, 1 irreversible, 1 skipped"


def test_entries_stand_in_the_order_in_which_they_were_settled() -> None:
    play = failed()
    play.undo("5", "1")
    assert [entry.position for entry in play.report.undone] == ["5", "1"]
    seqs = [entry.seq for entry in play.report.undone]
    assert seqs == sorted(seqs, reverse=True)


def test_while_it_walks_what_is_ahead_is_pending_and_there_is_no_outcome() -> None:
    play = failed()
    assert play.report.outcome is None
    assert listed(play.report) == {"pending": ["5", "4", "3", "1"]}
    assert str(play.report).startswith("rollback under way")


def test_a_failed_undo_shows_its_error_and_what_to_do_next() -> None:
    play = failed()
    play.undo_fails("5", reason="timeout")
    (entry,) = play.report.failed
    assert (entry.reason, entry.attempts) == ("timeout", 1)
    assert entry.error is not None
    assert entry.error.message == "the undo failed"
    commands = [action.cli or "" for action in play.report.next_actions]
    assert [command.split()[1] for command in commands] == ["undo-retry", "undo-skip", "undo-mark-done", "undo-abandon"]


def test_after_the_end_what_nobody_has_answered_for_can_be_marked_done() -> None:
    play = failed()
    play.undo("5", "1")
    assert [(action.cli or "").split()[1:4:2] for action in play.report.next_actions] == [
        ["undo-mark-done", "4"], ["undo-mark-done", "3"],
    ]  # fmt: skip
    for entry in ("4", "3"):
        play.says(ev.EntrySettled(entry=entry, state="undone", actor="ann", note="by hand"))
    assert play.report.next_actions == []
    assert (play.report.outcome, play.report.revision) == ("clean", 3)


def test_a_dry_run_tells_what_a_rollback_would_meet_and_changes_nothing() -> None:
    @workflow(on_failure="keep", name="report_kept")
    def kept() -> Flow[None]:
        yield from book()
        yield from mail()
        raise WorkflowError("no")

    play = Play(kept)
    play.complete("1", 1)
    play.complete("2", 2)
    before = list(play.history)
    told = prospect(play.live.chain, ev.RollbackStarted(cause="operator"), "run-1", "report_kept")
    assert [entry.position for entry in told.pending] == ["2", "1"]
    assert told.outcome is None
    assert (play.history, play.live.chain.rollbacks) == (before, [])


def test_secrets_are_masked_in_results() -> None:
    from pydantic import SecretStr

    from squidmesh.core.step import step

    @step(name="report_secret")
    def token() -> SecretStr:
        return SecretStr("hunter22")

    @workflow(name="report_hiding")
    def hiding() -> Flow[None]:
        yield from token()
        raise WorkflowError("no")

    play = Play(hiding)
    secret: Any = token.result.encode(SecretStr("hunter22"))
    play.complete("1", secret)
    assert "hunter22" not in play.report.model_dump_json()
