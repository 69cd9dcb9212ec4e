import pytest

from squidmesh.core.status import (
    ENDED,
    REASONS,
    RUN_MOVES,
    SETTLED,
    STEP_MOVES,
    UNSERVED,
    Reason,
    RunStatus,
    StepStatus,
    check,
    check_step,
    fits,
)
from squidmesh.errors import IllegalState

LIVE = [s for s in RunStatus if s not in ENDED]


def test_the_tables_have_a_row_for_every_status() -> None:
    assert set(RUN_MOVES) == set(RunStatus)
    assert set(STEP_MOVES) == set(StepStatus)
    assert set(REASONS) == set(RunStatus)


@pytest.mark.parametrize("old", RunStatus)
@pytest.mark.parametrize("new", RunStatus)
def test_a_run_moves_only_as_the_table_says(old: RunStatus, new: RunStatus) -> None:
    if new in RUN_MOVES[old] or (old is new and old in LIVE):
        check("r-1", old, new)
        return
    with pytest.raises(IllegalState) as refused:
        check("r-1", old, new)
    assert refused.value.run_id == "r-1"
    assert refused.value.status == old
    assert set(refused.value.allowed) == RUN_MOVES[old]
    assert f"run r-1 is {old}: becoming {new} is not possible" in str(refused.value)


@pytest.mark.parametrize("ended", sorted(ENDED))
def test_an_ended_run_can_only_be_rolled_back(ended: RunStatus) -> None:
    assert RUN_MOVES[ended] <= {RunStatus.UNDOING}


@pytest.mark.parametrize("live", LIVE)
def test_a_run_that_has_not_ended_can_be_stopped_by_a_person(live: RunStatus) -> None:
    assert {RunStatus.CANCELLED, RunStatus.TERMINATED, RunStatus.FAILED} <= RUN_MOVES[live]


def test_nothing_returns_to_pending() -> None:
    assert all(RunStatus.PENDING not in moves for moves in RUN_MOVES.values())


def test_every_run_status_can_be_reached_from_pending() -> None:
    reached = {RunStatus.PENDING}
    while more := {new for old in reached for new in RUN_MOVES[old]} - reached:
        reached |= more
    assert reached == set(RunStatus)


def test_every_step_status_can_be_reached_from_scheduled() -> None:
    reached = {StepStatus.SCHEDULED}
    while more := {new for old in reached for new in STEP_MOVES[old]} - reached:
        reached |= more
    assert reached == set(StepStatus)


def test_only_an_undone_run_goes_nowhere() -> None:
    assert {s for s in RunStatus if not RUN_MOVES[s]} == {RunStatus.UNDONE}


@pytest.mark.parametrize("old", StepStatus)
@pytest.mark.parametrize("new", StepStatus)
def test_a_step_moves_only_as_the_table_says(old: StepStatus, new: StepStatus) -> None:
    if new in STEP_MOVES[old] or (old is new and old not in SETTLED):
        check_step("r-1", "3.2", old, new)
        return
    with pytest.raises(IllegalState, match=r"step at position 3\.2") as refused:
        check_step("r-1", "3.2", old, new)
    assert set(refused.value.allowed) == STEP_MOVES[old]


def test_a_completed_step_stays_completed_and_a_skipped_one_skipped() -> None:
    assert STEP_MOVES[StepStatus.COMPLETED] == STEP_MOVES[StepStatus.SKIPPED] == frozenset()


def test_a_step_that_a_person_decided_on_ends_as_they_said() -> None:
    assert {StepStatus.COMPLETED, StepStatus.FAILED} <= STEP_MOVES[StepStatus.IN_DOUBT]
    assert {StepStatus.RETRYING, StepStatus.SKIPPED} <= STEP_MOVES[StepStatus.FAILED]


@pytest.mark.parametrize("ended", sorted(ENDED - {RunStatus.UNDONE, RunStatus.CONTINUED}))
def test_a_run_that_is_rolled_back_later_ends_again(ended: RunStatus) -> None:
    assert RunStatus.UNDOING in RUN_MOVES[ended]
    assert {ended, RunStatus.UNDONE, RunStatus.BLOCKED} <= RUN_MOVES[RunStatus.UNDOING]


def test_every_reason_belongs_to_one_status_or_to_all() -> None:
    grouped = [reason for reasons in REASONS.values() for reason in reasons]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) | UNSERVED == set(Reason)
    assert UNSERVED.isdisjoint(grouped)


def test_the_reason_of_an_ended_run_is_its_status() -> None:
    for ended in ENDED:
        assert {str(r) for r in REASONS[ended]} == {str(ended)}
        assert not fits(ended, Reason.NO_WORKER)


def test_a_run_of_any_live_status_can_be_unserved() -> None:
    assert all(fits(live, Reason.NO_CODE) for live in LIVE)
    assert fits(RunStatus.WAITING, Reason.SLEEPING)
    assert not fits(RunStatus.RUNNING, Reason.SLEEPING)
