"""What an explanation says: one or two plain sentences, what is in the way, and what to type next.

The rule of this file: sentences only. What is the case was found before (findings.py); times are told in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from squidmesh.core import events as ev
from squidmesh.core.failure import Failure
from squidmesh.core.report import Action
from squidmesh.core.status import CODE_REASONS, REASONS, UNSERVED, Reason, RunStatus, StepStatus
from squidmesh.ports import RunRow
from squidmesh.views import listening, repair
from squidmesh.views.finding import Finding, Serving
from squidmesh.views.folding import Folded
from squidmesh.views.listening import FROM_OUTSIDE
from squidmesh.views.telling import at, due, sentence, since, span, step, until

SELF_HELP = CODE_REASONS | UNSERVED | REASONS[RunStatus.BLOCKED] | FROM_OUTSIDE
"""Reasons for which there is something to do."""


def summary(row: RunRow, run: Folded, reason: Reason, found: Sequence[Finding], serving: Serving) -> str:
    """What the run waits for, since when, until when, and what to do."""
    main = found[0]
    if reason is Reason.DRAINING:
        return f"{_why_draining(run)} {sentence(_in_flight(found))} Nothing to do."
    if reason in FROM_OUTSIDE and main.kind != "run":
        told = sentence(listening.summary(run, main, serving.now))
    else:
        told = sentence(repair.summary(row, run, reason, found, serving) or _told(row, run, main, serving))
    if reason not in SELF_HELP:
        told += " Nothing to do."
    told += _out_of_time(row, serving.now)
    match len(found) - 1:
        case 0:
            return told
        case 1:
            return f"{told} One other thing is outstanding."
        case others:
            return f"{told} {others} other things are outstanding."


def ended(row: RunRow, run: Folded, status: str, ended_at: int | None) -> str:
    """How and when a run ended, and what is left of what it did, where it was not undone whole."""
    when = f" at {at(ended_at)}, {span(ended_at - row.created_at)} after its start" if ended_at is not None else ""
    match run.end:
        case _ if status == RunStatus.UNDONE:
            told = f"The run had completed, and was undone{f' at {at(ended_at)}' if ended_at is not None else ''}."
        case ev.RunFailed(failure=failure):
            told = f"The run failed{when}: {failure}{failed_step(run, failure)}."
        case ev.RunCancelled(actor=actor, note=note):
            told = f"The run was cancelled{f' by {actor}' if actor else ''}{when}{f': {note}' if note else ''}."
        case ev.RunTerminated(actor=actor, note=note):
            told = f"The run was terminated by {actor}{when}: {note}."
        case ev.RunCompleted():
            told = f"The run completed{when}."
        case ev.RunContinued(run_id=successor, workflow=workflow):
            return (
                f"The run went on as run {successor} of {workflow!r}{when}; that one has its key, result and signals."
            )
        case _:
            told = f"The run is {status}{when}."
    return told + repair.left_behind(run)


def of_a_fork(run: Folded, summary: str) -> str:
    """The summary of a run; of a fork it also says where it comes from, and whose the rest is."""
    first = run.started
    if first is None or first.rerun_of is None or first.from_position is None:
        return summary
    return (
        f"{summary} It goes on from position {first.from_position} of run {first.rerun_of}, "
        "which has done, and is to undo, what precedes it."
    )


def blockers(row: RunRow, run: Folded, found: Sequence[Finding], serving: Serving) -> list[str]:
    """What is in the way and will not go by itself, each once."""
    told: dict[str, None] = {}
    for finding in found:
        match finding.reason:
            case Reason.NO_WORKER | Reason.NO_CODE:
                told[_unserved(row, finding, serving)] = None
            case reason if reason in REASONS[RunStatus.PAUSED] and finding.kind != "run":
                told[listening.blocker(run, finding)] = None
            case reason if finding.kind == "person":
                told[repair.blocker(run, finding)] = None
            case reason:
                if reason in CODE_REASONS and run.blocked is not None:
                    told[run.blocked.message] = None
    return list(told)


def actions(row: RunRow, run: Folded, reason: Reason, found: Sequence[Finding]) -> list[Action]:
    """What to do next, best first; empty where there is nothing to do but wait."""
    main = found[0]
    handle = f'mesh.handle("{row.run_id}")'
    cancel = Action(
        python=f"{handle}.cancel()",
        cli=f"squidmesh cancel {row.run_id}",
        why="ends the run, if it is not wanted any more",
    )
    match reason:
        case Reason.NO_WORKER | Reason.NO_CODE:
            return [_worker(row, main), cancel]
        case Reason.CODE_ERROR | Reason.CODE_CHANGED | Reason.CODE_MISSING | Reason.VALUE_UNDECODABLE:
            again = "a worker that comes up with other code tries the run again"
            why = f"{_mend(reason)}; {again}"
            now = Action(
                python=f"{handle}.release(actor=…)",
                cli=f"squidmesh release {row.run_id} --actor …",
                why="tries it again now, with the code that there is",
            )
            return [Action(python="mesh.worker()", cli="squidmesh worker MODULE", why=why), now, cancel]
        case Reason.START_DELAYED | Reason.SLEEPING | Reason.RETRY_SCHEDULED:
            return [cancel]
        case reason if reason in FROM_OUTSIDE:
            return [*listening.actions(row, found), cancel]
        case Reason.COMPLETED:
            result = Action(python=f"{handle}.result()", why="gives what it returned")
            return [result, *repair.after_the_end(row, run)]
        case Reason.FAILED:
            shown = f"squidmesh show {row.run_id}"
            look = Action(python=f"{handle}.inspect()", cli=shown, why="shows its steps, each with its attempts")
            return [look, *repair.after_the_end(row, run)]
        case Reason.CONTINUED if isinstance(run.end, ev.RunContinued):
            on = run.end.run_id
            return [Action(python=f'mesh.handle("{on}")', cli=f"squidmesh show {on}", why="is the run that goes on")]
        case Reason.CANCELLED | Reason.TERMINATED | Reason.UNDONE:
            return repair.after_the_end(row, run)
        case _:
            return repair.actions(row, run, reason, found)


def _told(row: RunRow, run: Folded, main: Finding, serving: Serving) -> str:
    began, due = since(main.since), until(main.until, serving.now)
    what = step(main)
    match main.reason:
        case Reason.QUEUED:
            return f"The run has been waiting{began} for a free thread of {_workers(main.queue, serving)}."
        case Reason.START_DELAYED:
            return f"The run starts {due}."
        case Reason.NO_WORKER | Reason.NO_CODE:
            what = what or f"the run of {row.workflow!r}"
            one = "one" if main.reason is Reason.NO_WORKER else "one that has it"
            but = f"but {_unserved(row, main, serving)}. Start {one}: {_command(row, main)}"
            return f"{what} is due{began}, {but}"
        case Reason.STEP_RUNNING | Reason.ATTEMPT_LOST if main.call is not None:
            return repair.called(main)
        case Reason.STEP_RUNNING:
            return f"{what} has been running{began} on worker {main.worker}, attempt {main.attempt}."
        case Reason.STEP_QUEUED:
            return f"{what} has been waiting{began} for a free thread of {_workers(main.queue, serving)}."
        case Reason.ATTEMPT_LOST:
            lost = f"the worker of attempt {main.attempt} of {what} is gone{began}"
            return f"{lost}; the step is tried again soon."
        case Reason.RETRY_SCHEDULED:
            why = f" ({main.failure})" if main.failure is not None else ""
            return f"Attempt {main.attempt} of {what} failed{why}; it is tried again {due}."
        case Reason.SLEEPING:
            return f"The run has been sleeping{began}, and goes on {due}."
        case reason if reason in CODE_REASONS:
            why = run.blocked.message.rstrip(".") if run.blocked is not None else reason.value
            return f"Blocked{began}: {why}. Nothing was lost: {_mend(reason)}, and start a worker with that."
        case Reason.ADVANCING if main.worker is not None and serving.alive(main.worker):
            return f"Worker {main.worker} carries the run on."
        case Reason.ADVANCING:
            return f"The run is about to be carried on{began}."
        case reason:
            return f"The run is {row.status} ({reason.value})."


def _out_of_time(row: RunRow, now: int) -> str:
    """That the run's own deadline is near, or has passed and nobody has looked."""
    told = due(row.created_at, row.deadline, now)
    return "" if " on time" in told else told.replace(" It is", " The run as a whole is", 1)


def _why_draining(run: Folded) -> str:
    if (asked := run.cancel) is not None:
        what = {"FailRequested": "fail", "RunTerminated": "end at once"}.get(asked.kind, "cancel")
        return f"The run was asked to {what}{f' by {asked.actor}' if asked.actor else ''} at {at(asked.at)}."
    return "The run's deadline has passed." if run.expired else "The run has failed."


def _in_flight(found: Sequence[Finding]) -> str:
    steps = [finding for finding in found if finding.step is not None]
    match steps:
        case []:
            return "It ends as soon as a worker has looked at it."
        case [one]:
            return f"{step(one)} is in flight and settles first."
        case _:
            return f"{len(steps)} steps are in flight and settle first, {step(steps[0])} among them."


def _unserved(row: RunRow, finding: Finding, serving: Serving) -> str:
    queue = finding.queue or row.queue
    if finding.reason is Reason.NO_WORKER:
        return f"nobody alive serves queue {queue!r}"
    code = f"step {finding.step!r}" if finding.step else f"workflow {row.workflow!r} version {row.version}"
    count = serving.count(queue)
    whom = "the worker" if count == 1 else f"none of the {count} workers"
    return f"{whom} of queue {queue!r} {'does not have' if count == 1 else 'has'} {code}"


def _worker(row: RunRow, main: Finding) -> Action:
    queue = main.queue or row.queue
    code = f"step {main.step!r}" if main.step else f"workflow {row.workflow!r} version {row.version}"
    python = "mesh.worker()" if queue == "default" else f"mesh.worker(queues=[{queue!r}])"
    why = f"serves queue {queue!r} with {code}; MODULE is where that is defined"
    return Action(python=python, cli=_command(row, main), why=why)


def _command(row: RunRow, main: Finding) -> str:
    queue = main.queue or row.queue
    return "squidmesh worker MODULE" + ("" if queue == "default" else f" --queues {quote(queue)}")


def _mend(reason: Reason) -> str:
    match reason:
        case Reason.CODE_CHANGED:
            return "put the recorded call back, or keep both branches with patched()"
        case Reason.CODE_MISSING:
            return "bring back what the code names"
        case Reason.VALUE_UNDECODABLE:
            return "let the type take the value that is recorded"
        case _:
            return "mend the code"


def failed_step(run: Folded, failure: Failure) -> str:
    """Which step a run's failure came from, in brackets; empty where it came from none."""
    for failed in run.steps.values():
        if failed.status is StepStatus.FAILED and failed.failure == failure:
            return f" (step {failed.name!r} at position {failed.position})"
    return ""


def _workers(queue: str | None, serving: Serving) -> str:
    count = serving.count(queue or "")
    return f"the {'worker' if count == 1 else f'{count} workers'} of queue {queue!r}"
