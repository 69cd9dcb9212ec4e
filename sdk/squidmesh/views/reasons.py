"""What each reason of ``explain()`` means, and what to do next: the one table, and the page that is made of it.

The rule of this file: data, and its rendering. Every reason of the closed set is here once; ``docs/reasons.md`` is what
``reasons_page()`` gives, and a test holds them equal.
"""

from __future__ import annotations

from typing import NamedTuple

from squidmesh.core.status import ENDED, REASONS, UNSERVED, Reason, RunStatus


class Meaning(NamedTuple):
    """``waits``: what for, as ``waiting_on`` names it; None: nothing. ``next``: what to do, None: nothing but wait."""

    meaning: str
    waits: str | None
    next: str | None


_R = Reason

MEANINGS: dict[Reason, Meaning] = {
    _R.QUEUED: Meaning("It is due, and every thread of the workers that serve it is busy.", "run", None),
    _R.START_DELAYED: Meaning(
        "It was started with `at=`, or by a schedule with jitter, and begins then.", "start", None
    ),
    _R.NO_WORKER: Meaning(
        "Something is due on a queue that no worker alive serves.", "worker", "Start a worker for that queue."
    ),
    _R.NO_CODE: Meaning(
        "Workers serve the queue, but none has this workflow in this version, or this step.",
        "code",
        "Start a worker with the module that defines it; keep old versions until their runs are over.",
    ),
    _R.ADVANCING: Meaning("A worker is about to carry it on, or does so at this moment.", "run", None),
    _R.STEP_QUEUED: Meaning("A step is due, and every thread of the workers that serve it is busy.", "step", None),
    _R.STEP_RUNNING: Meaning("An attempt of a step, or one of its handlers, runs now.", "step", None),
    _R.ATTEMPT_LOST: Meaning(
        "The worker of an attempt is gone; the step is tried again as soon as its lease is over.", "attempt", None
    ),
    _R.RETRY_SCHEDULED: Meaning("An attempt failed, and the next one is due later.", "retry", None),
    _R.SLEEPING: Meaning("It waits for a time.", "timer", None),
    _R.WAITING_FOR_SIGNAL: Meaning("It waits for a message.", "signal", "Send it: `signal`."),
    _R.WAITING_FOR_CHILD: Meaning(
        "It waits for a run that it has started.",
        "child",
        "Look at what that run waits for: its actions are shown here.",
    ),
    _R.WAITING_FOR_APPROVAL: Meaning("People vote on an approval.", "gate", "Decide: `approve` or `reject`."),
    _R.WAITING_FOR_RESUME: Meaning("It is paused until somebody gives it what it asks for.", "gate", "`resume` it."),
    _R.HELD: Meaning("An operator holds it: nothing new begins.", "person", "`release` it."),
    _R.CODE_ERROR: Meaning(
        "The workflow's body raised what is no `WorkflowError`: the code is broken, and nothing was undone.",
        "code",
        "Mend the code and start a worker with it, or `release` it to try once more.",
    ),
    _R.CODE_CHANGED: Meaning(
        "The code now asks for something else than history has at this position.",
        "code",
        "Put the recorded call back, or keep both branches with `patched()`.",
    ),
    _R.CODE_MISSING: Meaning("The code at hand names something that is missing.", "code", "Bring it back."),
    _R.VALUE_UNDECODABLE: Meaning(
        "A recorded value does not fit the type that the code declares for it now.",
        "code",
        "Let the type take the recorded value.",
    ),
    _R.STEP_IN_DOUBT: Meaning(
        "Nobody knows whether a step that must not be repeated has had its effect.",
        "person",
        "Find out by its key, and say so: `resolve_step`.",
    ),
    _R.PAST_PIVOT: Meaning(
        "Something failed behind a pivot, and the run only goes forward.",
        "person",
        "`retry_step`, `skip_step`, or end it with `fail`.",
    ),
    _R.UNDO_FAILED: Meaning(
        "An undo has failed for good; what is older is not undone yet.",
        "person",
        "`undo_retry`, `undo_skip`, `undo_mark_done` or `undo_abandon`.",
    ),
    _R.UNDO_HALTED: Meaning(
        "The rollback has met something irreversible, and halts there as the workflow says.",
        "person",
        "`undo_skip`, `undo_mark_done` or `undo_abandon`.",
    ),
    _R.DRAINING: Meaning("It is to end, and attempts in flight settle first.", "step", None),
    _R.UNDOING: Meaning("What it did is undone, newest first.", "undo", None),
    _R.UNDO_RETRY_SCHEDULED: Meaning("An undo failed, and is called again later under the same key.", "undo", None),
    _R.WAITING_FOR_CHILD_ROLLBACK: Meaning(
        "A run that it started is being undone with it, and needs time or a person.",
        "child",
        "Look at what that run waits for: its actions are shown here.",
    ),
    _R.COMPLETED: Meaning("It returned.", None, "`result()` gives what it returned."),
    _R.FAILED: Meaning("It failed; `rollback` says what became of its effects.", None, "`inspect` it; `rerun` it."),
    _R.CANCELLED: Meaning("It was cancelled, and undone unless that was not wanted.", None, None),
    _R.UNDONE: Meaning("It had completed, and was rolled back later.", None, None),
    _R.TERMINATED: Meaning("A person ended it at once; nothing was undone.", None, "`rollback` undoes what it did."),
    _R.CONTINUED: Meaning("Another run goes on from here.", None, "Follow it: `continued_as`."),
}

_HEAD = """# Why a run is where it is

`explain().reason` is one of these, and no other. When several hold, it is the one that needs a person, then what is due
earliest; all are in `waiting_on`, by the kind named here. The explanation itself says which step, since when, until
when, and what to type. This page is made from the code (`squidmesh.views.reasons`).
"""


def reasons_page() -> str:
    """The page of all reasons, by the status that they belong to, as Markdown."""
    lines = [_HEAD]
    for status in RunStatus:
        if status not in ENDED:
            lines += _table(status.value.capitalize(), [reason for reason in Reason if reason in REASONS[status]])
    lines += _table("Of any status that has work due", [reason for reason in Reason if reason in UNSERVED])
    lines += _table("Ended", [Reason(status.value) for status in RunStatus if status in ENDED])
    return "\n".join(lines).rstrip() + "\n"


def _table(title: str, reasons: list[Reason]) -> list[str]:
    rows = [f"| `{reason.value}` | {_cells(MEANINGS[reason])} |" for reason in reasons]
    return [f"## {title}\n", "| reason | what it means | waits for | what to do |", "|---|---|---|---|", *rows, ""]


def _cells(told: Meaning) -> str:
    nothing = "Nothing." if told.waits is None else "Nothing: it goes on by itself."
    return f"{told.meaning} | {told.waits or '—'} | {told.next or nothing}"
