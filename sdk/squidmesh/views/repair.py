"""What is said where a person must decide, where something is undone, and where something was left behind.

The rule of this file: as wording.py, sentences and what to type; each says what happened, to which step, and what is
safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry
from squidmesh.core.report import Action
from squidmesh.core.report import actions as rollback_actions
from squidmesh.core.status import Reason
from squidmesh.ports import RunRow
from squidmesh.views.finding import Finding, Serving
from squidmesh.views.folding import Folded
from squidmesh.views.telling import several, since, step, until
from squidmesh.views.walking import left, walking


def summary(row: RunRow, run: Folded, reason: Reason, found: Sequence[Finding], serving: Serving) -> str | None:
    """What the run waits for; None where the reason is none of these."""
    main = found[0]
    blocked = f"Blocked{since(main.since)}: {blocker(run, main)}."
    match reason:
        case Reason.STEP_IN_DOUBT:
            key = f"{row.run_id}:{main.position}"
            say = f"Find out by its key, {key}, and say so (resolve_step); nothing else was lost."
            return f"{blocked} It is not tried again by itself. {say}"
        case Reason.PAST_PIVOT if main.step:
            again = f"have {step(main)} tried again (retry_step), go on without it (skip_step)"
            return f"{blocked} Nothing was lost: {again}, or end the run (fail)."
        case Reason.PAST_PIVOT:
            return f"{blocked} Nothing was lost: end the run, undone or not (fail)."
        case Reason.UNDO_FAILED:
            again = "Mend the cause and have it called again (undo_retry); or go on without it"
            return f"{blocked} {_still_to_do(run)} {again} (undo_skip, undo_mark_done, undo_abandon)."
        case Reason.UNDO_HALTED:
            go_on = "Go on (undo_skip; undo_mark_done if it was reversed by hand), or end it there (undo_abandon)."
            return f"{blocked} {_still_to_do(run)} {go_on}"
        case Reason.UNDO_RETRY_SCHEDULED:
            why = f" ({main.failure})" if main.failure is not None else ""
            again = f"it is called again {until(main.until, serving.now)}, under the same key"
            return f"{_why(run)} Attempt {main.attempt} of the undo of {step(main)} failed{why}; {again}."
        case Reason.UNDOING:
            return f"{_why(run)} {_undoing(run, main, serving)}"
        case _:
            return None


def blocker(run: Folded, finding: Finding) -> str:
    """What a person is waited for, in a clause."""
    why = f" ({finding.failure})" if finding.failure is not None else ""
    match finding.reason:
        case Reason.STEP_IN_DOUBT:
            return f"nobody knows whether {step(finding)} had its effect{why}"
        case Reason.UNDO_FAILED if (missing := _reason(run, finding)) in ("handler_missing", "payload"):
            told = "is not in the code at hand" if missing == "handler_missing" else "cannot read what was recorded"
            return f"the undo of {step(finding)} {told}{why}"
        case Reason.UNDO_FAILED:
            times = "attempt" if finding.attempt == 1 else "attempts"
            return f"the undo of {step(finding)} has failed for good after {finding.attempt} {times}{why}"
        case Reason.UNDO_HALTED:
            return f"{step(finding)} cannot be undone, and the rollback halts there"
        case _:
            return run.blocked.message.rstrip(".") if run.blocked is not None else finding.reason.value


def called(finding: Finding) -> str:
    """What is found out about a step whose attempts are spent."""
    why = f" ({finding.failure})" if finding.failure is not None else ""
    if finding.reason is Reason.ATTEMPT_LOST:
        return f"the worker that called the {finding.call} of {step(finding)} is gone; it is called again soon."
    doing = "its compensate is called" if finding.call == "compensate" else "what is left of it is found out"
    return f"{step(finding)} has failed{why}; {doing}{since(finding.since)} on worker {finding.worker}."


def actions(row: RunRow, run: Folded, reason: Reason, found: Sequence[Finding]) -> list[Action]:
    """What to do where a person is waited for; empty elsewhere."""
    main = found[0]
    match reason:
        case Reason.STEP_IN_DOUBT:
            key = f"{row.run_id}:{main.position}"
            return [
                _step_action(row, "resolve_step", main, "Applied(…)", f"its effect happened: key {key} is known there"),
                _step_action(row, "resolve_step", main, "NotApplied()", "it did not: the step has failed, cleanly"),
                _terminate(row),
            ]
        case Reason.PAST_PIVOT:
            fail = _action(row, "fail", "ends the run as failed; what can be undone is undone")
            if main.step is None:
                return [fail]
            return [
                _step_action(row, "retry_step", main, None, "runs the step again, with fresh attempts"),
                _step_action(row, "skip_step", main, "value", "goes on with that value as its result"),
                fail,
            ]
        case Reason.UNDO_FAILED | Reason.UNDO_HALTED if (rollback := walking(run)) is not None:
            return rollback_actions(run.chain, rollback, row.run_id)
        case _:
            return []


def left_behind(run: Folded) -> str:
    """What is still there of a run that has ended, although it was rolled back; empty where nothing is."""
    told = [_told(entry) for entry in _left_behind(run)]
    refused = [rollback for rollback in run.chain.rollbacks if rollback.outcome == "refused"]
    if told:
        return f" Not all of it was undone: {several(told)}."
    if refused and _armed(run):
        return " Its rollback was refused, for not all of it can be undone; nothing was."
    return ""


def after_the_end(row: RunRow, run: Folded) -> list[Action]:
    """What can be done about what a run has left behind."""
    found: list[Action] = []
    for rollback in run.chain.rollbacks:
        found += [action for action in rollback_actions(run.chain, rollback, row.run_id) if action not in found]
    armed = _armed(run)
    if armed and not isinstance(run.end, ev.RunCompleted):
        what = several([f"{entry.step} at position {entry.position}" for entry in armed])
        found.append(_action(row, "rollback", f"undoes what it did: {what}"))
    return found


def _still_to_do(run: Folded) -> str:
    rollback = walking(run)
    open_ = [] if rollback is None else [entry for entry in left(run, rollback) if entry.failed is None]
    match len(open_):
        case 0:
            return "All else is settled."
        case 1:
            return f"{_at_position(open_[0])} is not undone yet."
        case count:
            return f"{count} others are not undone yet, {_at_position(open_[0])} the next."


def _why(run: Folded) -> str:
    """Why something is undone."""
    rollback = walking(run)
    if rollback is None:
        return "The run is rolled back."
    begun = rollback.begun
    by = f" by {begun.actor}" if begun.actor else ""
    note = f": {begun.note}" if begun.note else ""
    scope = run.chain.scopes.get(begun.scope or "")
    match begun.cause:
        case "failure":
            return f"The run has failed{f': {begun.failure}' if begun.failure is not None else ''}."
        case "cancel":
            return f"The run was cancelled{by}{note}."
        case "scope":
            return f"The scope {scope.name if scope is not None else begun.scope!r} is rolled back."
        case "race":
            return f"What has lost the race at position {begun.position} is undone."
        case _:
            return f"The run is rolled back{by}{note}."


def _undoing(run: Folded, main: Finding, serving: Serving) -> str:
    rollback = walking(run)
    if main.step is None or rollback is None:
        return "What it did is about to be undone."
    told = f"The undo of {step(main)}"
    if not serving.alive(main.worker):
        return f"{told} was called on worker {main.worker}, which is gone; it is called again soon, under the same key."
    settled = f"{len(rollback.settled)} of {len(rollback.planned or ())} entries are settled"
    return f"{told} has been running{since(main.since)} on worker {main.worker}, attempt {main.attempt}; {settled}."


def _reason(run: Folded, finding: Finding) -> str | None:
    entry = run.chain.entries.get(finding.entry or "")
    return entry.failed.reason if entry is not None and entry.failed is not None else None


def _left_behind(run: Folded) -> Iterator[Entry]:
    for entry in run.chain.entries.values():
        settled = entry.settled
        if settled is not None and settled.state != "undone" and settled.reason not in ("never_ran", "committed"):
            yield entry


def _armed(run: Folded) -> list[Entry]:
    return [entry for entry in run.chain.armed() if entry.undoable]


def _told(entry: Entry) -> str:
    assert entry.settled is not None
    state, reason, by, *_ = entry.settled
    why = {
        "irreversible": "cannot be undone",
        "failed": f"its undo failed ({reason})",
        "unaccounted": "nobody knows whether it happened",
    }.get(state, "has no undo" if reason == "no_undo" else "was given up" if reason == "abandoned" else "was skipped")
    return f"{_at_position(entry)} ({why}{f', as {by} knows' if by else ''})"


def _at_position(entry: Entry) -> str:
    return f"{entry.step!r} at position {entry.position}"


# ------------------------------------------------------------------------------------------------- what to type


def _action(row: RunRow, command: str, why: str) -> Action:
    return Action(
        python=f'mesh.handle("{row.run_id}").{command}(actor=…, note=…)',
        cli=f"squidmesh {command.replace('_', '-')} {row.run_id} --actor … --note …",
        why=why,
    )


def _step_action(row: RunRow, command: str, finding: Finding, given: str | None, why: str) -> Action:
    at = finding.position or ""
    cli = {"Applied(…)": " --applied …", "NotApplied()": " --not-applied", "value": " --value …"}.get(given or "", "")
    more = f", {given}" if given is not None else ""
    return Action(
        python=f'mesh.handle("{row.run_id}").{command}("{at}"{more}, actor=…, note=…)',
        cli=f"squidmesh {command.replace('_', '-')} {row.run_id} {at}{cli} --actor … --note …",
        why=why,
    )


def _terminate(row: RunRow) -> Action:
    return _action(row, "terminate", "ends the run at once, if it is not wanted any more; nothing is undone")
