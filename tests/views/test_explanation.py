import pytest

from squidmesh import events as ev
from squidmesh.views.explanation import Explanation, Place
from tests.views.facts import DECLINED, RUN, at, begun, row, scheduled, task, told

BLOCKED = ev.RunBlocked(
    at=at(50), reason="code_error", message="shop.py:41: TypeError: bad.", file="shop.py", line=41, function="checkout"
)  # fmt: skip


# ------------------------------------------------------------------------------------------- blocked


def test_a_blocked_run_names_the_code_and_what_to_do() -> None:
    found = told(row(status="blocked", reason="code_error"), BLOCKED)
    assert (found.status, found.reason) == ("blocked", "code_error")
    assert found.code == Place(file="shop.py", line=41, function="checkout")
    assert found.blockers == ["shop.py:41: TypeError: bad."]
    assert found.summary == (
        "Blocked since 2026-01-01 00:00:50 UTC: shop.py:41: TypeError: bad. Nothing was lost: mend the code, and "
        "start a worker with that."
    )
    assert found.next_actions[0].cli == "squidmesh worker MODULE"
    assert [action.python for action in found.next_actions[1:]] == [
        f'mesh.handle("{RUN}").release(actor=…)',
        f'mesh.handle("{RUN}").cancel()',
    ]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [("code_changed", "patched()"), ("code_missing", "bring back"), ("value_undecodable", "type")],
)
def test_each_reason_of_code_has_advice_of_its_own(reason: str, advice: str) -> None:
    found = told(
        row(status="blocked", reason=reason), ev.RunBlocked(at=at(50), reason=reason, message="why", position="3")
    )
    assert (found.reason, found.code) == (reason, None)
    assert advice in found.summary
    assert advice in found.next_actions[0].why


def test_a_blocked_run_comes_first_even_if_nobody_serves_its_queue() -> None:
    found = told(row(status="blocked", reason="code_error", due_at=at(60)), BLOCKED, workers=[])
    assert found.reason == "code_error"
    assert found.blockers == ["shop.py:41: TypeError: bad.", "nobody alive serves queue 'default'"]


def test_a_run_that_goes_on_after_a_fixed_deploy_is_not_blocked() -> None:
    found = told(row(worker="w1"), BLOCKED, ev.RunUnblocked(at=at(60), code="new"), scheduled(), begun())
    assert (found.reason, found.code, found.blockers) == ("step_running", None, [])


# ------------------------------------------------------------------------------------------- draining, ended


def test_a_cancelled_run_drains_what_is_in_flight() -> None:
    cancel = ev.CancelRequested(at=at(90), actor="ada")
    claimed = task(worker="w1", number=1, claimed_at=at(80))
    found = told(row(status="undoing", reason="draining"), scheduled(elsewhere=True), cancel, tasks=[claimed])
    assert (found.status, found.reason) == ("undoing", "draining")
    assert found.summary == (
        "The run was asked to cancel by ada at 2026-01-01 00:01:30 UTC. Step 'charge' (position 1) is in "
        "flight and settles first. Nothing to do."
    )
    assert [w.kind for w in found.waiting_on] == ["step"]


def test_a_run_past_its_deadline_drains_and_says_so() -> None:
    found = told(row(status="undoing"), ev.TimerFired(at=at(90), position="deadline"))
    assert (found.reason, found.summary.startswith("The run's deadline has passed.")) == ("draining", True)


def test_a_failed_run_says_how_it_failed_and_where() -> None:
    found = told(
        row(status="failed", ended_at=at(3)),
        scheduled(),
        begun(),
        ev.StepFailed(at=at(3), position="1", failure=DECLINED),
        ev.RunFailed(at=at(3), failure=DECLINED),
    )
    assert (found.status, found.reason) == ("failed", "failed")
    assert found.summary == (
        "The run failed at 2026-01-01 00:00:03 UTC, 3.0 s after its start: Declined: no funds (step 'charge' at "
        "position 1)."
    )
    assert found.next_actions[0].python == f'mesh.handle("{RUN}").inspect()'
    assert found.waiting_on == []


def test_a_completed_run_says_when_and_how_to_get_its_result() -> None:
    found = told(row(status="completed", ended_at=at(150)), ev.RunCompleted(at=at(150), result=1))
    assert found.summary == "The run completed at 2026-01-01 00:02:30 UTC, 2.5 min after its start."
    assert found.next_actions[0].python == f'mesh.handle("{RUN}").result()'


def test_a_cancelled_run_says_by_whom_and_why() -> None:
    found = told(row(status="cancelled", ended_at=at(3)), ev.RunCancelled(at=at(3), actor="ada", note="a duplicate"))
    assert (
        found.summary == "The run was cancelled by ada at 2026-01-01 00:00:03 UTC, 3.0 s after its start: a duplicate."
    )


# ------------------------------------------------------------------------------------------- its form


def test_the_evidence_is_what_was_recorded() -> None:
    found = told(row(worker="w1", epoch=4), scheduled(), begun(), inbox=3)
    assert found.evidence == {
        "run": {"status": "running", "reason": None, "worker": "w1", "epoch": 4, "due_at": None},
        "event": {"kind": "AttemptStarted", "seq": 3, "at": "2026-01-01T00:00:01+00:00"},
        "inbox": 3,
        "workers": 1,
    }


def test_an_explanation_comes_back_from_its_json() -> None:
    found = told(row(status="blocked", reason="code_error"), BLOCKED)
    assert Explanation.model_validate_json(found.model_dump_json()) == found
