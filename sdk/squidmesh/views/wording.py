"""What an explanation says: one or two plain sentences, what is in the way, and what to type next.

The rule of this file: sentences only. What is the case was found before (findings.py); times are told in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.deterministic import instant
from squidmesh.core.failure import Failure
from squidmesh.core.status import CODE_REASONS, UNSERVED, Reason, StepStatus
from squidmesh.ports import RunRow
from squidmesh.views.findings import Finding, Serving
from squidmesh.views.folding import Folded


class Action(BaseModel, frozen=True):
    """Something to do next, as Python, as a command, or both."""

    python: str | None = None
    cli: str | None = None
    why: str


def summary(row: RunRow, run: Folded, reason: Reason, found: Sequence[Finding], serving: Serving) -> str:
    """What the run waits for, since when, until when, and what to do."""
    main = found[0]
    if reason is Reason.DRAINING:
        return f"{_why_draining(run)} {_sentence(_in_flight(found))} Nothing to do."
    told = _sentence(_told(row, run, main, serving))
    if reason not in CODE_REASONS | UNSERVED:
        told += " Nothing to do."
    match len(found) - 1:
        case 0:
            return told
        case 1:
            return f"{told} One other thing is outstanding."
        case others:
            return f"{told} {others} other things are outstanding."


def ended(row: RunRow, run: Folded, status: str, at: int | None) -> str:
    """How and when a run ended."""
    when = f" at {_at(at)}, {_span(at - row.created_at)} after its start" if at is not None else ""
    told = f"The run is {status}{when}"
    match run.end:
        case ev.RunFailed(failure=failure):
            return f"The run failed{when}: {failure}{failed_step(run, failure)}."
        case ev.RunCancelled(actor=actor, note=note):
            by = f" by {actor}" if actor else ""
            return f"The run was cancelled{by}{when}{f': {note}' if note else ''}."
        case ev.RunCompleted():
            return f"The run completed{when}."
        case _:
            return f"{told}."


def blockers(row: RunRow, run: Folded, found: Sequence[Finding], serving: Serving) -> list[str]:
    """What is in the way and will not go by itself, each once."""
    told: dict[str, None] = {}
    for finding in found:
        match finding.reason:
            case Reason.NO_WORKER | Reason.NO_CODE:
                told[_unserved(row, finding, serving)] = None
            case reason:
                if reason in CODE_REASONS and run.blocked is not None:
                    told[run.blocked.message] = None
    return list(told)


def actions(row: RunRow, reason: Reason, main: Finding) -> list[Action]:
    """What to do next, best first; empty where there is nothing to do but wait."""
    handle = f'mesh.handle("{row.run_id}")'
    cancel = Action(python=f"{handle}.cancel()", why="ends the run, if it is not wanted any more")
    match reason:
        case Reason.NO_WORKER | Reason.NO_CODE:
            return [_worker(row, main), cancel]
        case Reason.CODE_ERROR | Reason.CODE_CHANGED | Reason.CODE_MISSING | Reason.VALUE_UNDECODABLE:
            again = "a worker that comes up with other code tries the run again"
            why = f"{_mend(reason)}; {again}"
            return [Action(python="mesh.worker()", cli="squidmesh worker MODULE", why=why), cancel]
        case Reason.START_DELAYED | Reason.SLEEPING | Reason.RETRY_SCHEDULED:
            return [cancel]
        case Reason.COMPLETED:
            return [Action(python=f"{handle}.result()", why="gives what it returned")]
        case Reason.FAILED:
            return [Action(python=f"{handle}.inspect()", why="shows its steps, each with its attempts")]
        case _:
            return []


def _told(row: RunRow, run: Folded, main: Finding, serving: Serving) -> str:
    since, until = _since(main.since), _until(main.until, serving.now)
    what = _step(main)
    match main.reason:
        case Reason.QUEUED:
            return f"The run has been waiting{since} for a free thread of {_workers(main.queue, serving)}."
        case Reason.START_DELAYED:
            return f"The run starts {until}."
        case Reason.NO_WORKER | Reason.NO_CODE:
            what = what or f"the run of {row.workflow!r}"
            one = "one" if main.reason is Reason.NO_WORKER else "one that has it"
            but = f"but {_unserved(row, main, serving)}. Start {one}: {_command(row, main)}"
            return f"{what} is due{since}, {but}"
        case Reason.STEP_RUNNING:
            return f"{what} has been running{since} on worker {main.worker}, attempt {main.attempt}."
        case Reason.STEP_QUEUED:
            return f"{what} has been waiting{since} for a free thread of {_workers(main.queue, serving)}."
        case Reason.ATTEMPT_LOST:
            lost = f"the worker of attempt {main.attempt} of {what} is gone{since}"
            return f"{lost}; the step is tried again soon."
        case Reason.RETRY_SCHEDULED:
            why = f" ({main.failure})" if main.failure is not None else ""
            return f"Attempt {main.attempt} of {what} failed{why}; it is tried again {until}."
        case Reason.SLEEPING:
            return f"The run has been sleeping{since}, and goes on {until}."
        case reason if reason in CODE_REASONS:
            why = run.blocked.message.rstrip(".") if run.blocked is not None else reason.value
            return f"Blocked{since}: {why}. Nothing was lost: {_mend(reason)}, and start a worker with that."
        case Reason.ADVANCING if main.worker is not None and serving.alive(main.worker):
            return f"Worker {main.worker} carries the run on."
        case Reason.ADVANCING:
            return f"The run is about to be carried on{since}."
        case reason:
            return f"The run is {row.status} ({reason.value})."


def _why_draining(run: Folded) -> str:
    if run.cancel is not None:
        by = f" by {run.cancel.actor}" if run.cancel.actor else ""
        return f"The run was asked to cancel{by} at {_at(run.cancel.at)}."
    return "The run's deadline has passed." if run.expired else "The run has failed."


def _in_flight(found: Sequence[Finding]) -> str:
    steps = [finding for finding in found if finding.step is not None]
    match steps:
        case []:
            return "It ends as soon as a worker has looked at it."
        case [one]:
            return f"{_step(one)} is in flight and settles first."
        case _:
            return f"{len(steps)} steps are in flight and settle first, {_step(steps[0])} among them."


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
    for step in run.steps.values():
        if step.status is StepStatus.FAILED and step.failure == failure:
            return f" (step {step.name!r} at position {step.position})"
    return ""


def _step(finding: Finding) -> str:
    return f"step {finding.step!r} (position {finding.position})" if finding.step else ""


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _workers(queue: str | None, serving: Serving) -> str:
    count = serving.count(queue or "")
    return f"the {'worker' if count == 1 else f'{count} workers'} of queue {queue!r}"


def _since(at: int | None) -> str:
    return f" since {_at(at)}" if at is not None else ""


def _until(at: int | None, now: int) -> str:
    if at is None:
        return "soon"
    return f"at {_at(at)} (in {_span(at - now)})" if at > now else f"now, as was due at {_at(at)}"


def _at(at: int) -> str:
    return f"{instant(at):%Y-%m-%d %H:%M:%S} UTC"


def _span(micros: int) -> str:
    """A duration to a glance: its largest unit, or two."""
    seconds = max(micros, 0) / 1_000_000
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
