"""The shape of one run: its history is gapless, it has ended or stands for a stated reason, and nothing of it is left.

The rule of this file: the row of the run, its history and what is left in other tables; no step is looked at.
"""

from collections.abc import Iterator

from tests.chaos.checks.violation import Violation
from tests.chaos.ledger import Ledger, Run

STATUS = {
    "RunCompleted": "completed",
    "RunFailed": "failed",
    "RunCancelled": "cancelled",
    "RunTerminated": "terminated",
    "RunUndone": "undone",
    "RunContinued": "continued",
}
"""The status that an end gives; what a person's rollback leaves of a failed run is what it was."""

STATED = {"step_in_doubt", "past_pivot", "undo_failed", "undo_halted"}
"""Why a run of this workload may stand until a person comes. Its code is never broken, and never changes."""


def check(run: Run, ledger: Ledger) -> Iterator[Violation]:
    for law, told in (*_history(run), *_end(run, ledger)):
        yield Violation(law, run.id, told)


def _history(run: Run) -> Iterator[tuple[str, str]]:
    for gap in run.gaps:
        yield "history is gapless", gap
    if not run.history:
        yield "history is gapless", "it has none"
        return
    if [event["seq"] for event in run.history] != list(range(1, len(run.history) + 1)):
        yield "history is gapless", "its numbers are not 1 to n"
    if run.length != len(run.history):
        yield "history is gapless", f"the row says {run.length} events, there are {len(run.history)}"
    if run.history[0]["kind"] != "RunStarted" or len(run.of("RunStarted")) != 1:
        yield "a run starts once", f"RunStarted stands at {[event['seq'] for event in run.of('RunStarted')]}"
    for event in run.of("RunBlocked"):
        if event["reason"] not in STATED:
            yield "no code breaks", f"event {event['seq']}: {event['reason']}: {event['message']}"


def _end(run: Run, ledger: Ledger) -> Iterator[tuple[str, str]]:
    ends = run.of(*STATUS)
    bodies = [event for event in ends if event["kind"] != "RunUndone"]
    if len(bodies) > 1 or len(ends) - len(bodies) > 1:
        yield "a run ends once", f"its ends: {[(event['seq'], event['kind']) for event in ends]}"
    if run.worker is not None:
        yield "nothing is left claimed", f"worker {run.worker} holds it"
    if run.ended:
        if not ends or STATUS[ends[-1]["kind"]] != run.status:
            yield "the status is that of history", f"{run.status}, and its ends are {[e['kind'] for e in ends]}"
        for row in ledger.left.get(run.id, ()):
            yield "nothing is left of what has ended", row
    elif not _stands(run, ledger, frozenset()):
        left = ", ".join(ledger.left.get(run.id, ())) or "nothing"
        yield "every run ends", f"it is {run.status} ({run.reason}); left in the tables: {left}"


def _stands(run: Run, ledger: Ledger, seen: frozenset[str]) -> bool:
    """Whether it waits for a person, or for a run that does."""
    if run.status == "blocked":
        return run.reason in STATED
    kin = {event["run_id"] for event in run.of("ChildStarted", "StepDeferred")} - seen
    return any(
        _stands(child, ledger, seen | {run.id}) for child in (ledger.runs[at] for at in kin if at in ledger.runs)
        if not child.ended
    )  # fmt: skip
