"""Child runs, as a parent sees them: the id of one that it starts, what its end means, what its rollback has left.

A child is an ordinary run. What the parent knows of it stands in the parent's own history: ``ChildStarted``, perhaps
``ChildCancelRequested``, ``ChildEnded``; and of its rollback, which is one entry of the parent's, ``UndoStarted`` and
``UndoCompleted`` with the child's report.

The rule of this file: from recorded facts to values; who tells whom is the engine's.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.failure import Failure, describe
from squidmesh.core.nodes import GONE, Bad, ChildNode, Ok, Outcome
from squidmesh.errors import ChildFailed, RunCancelled, RunTerminated, RunUndone

MOST_DEEP = 32
"""Generations below the first run; who goes deeper most likely calls itself without an end."""

EARLIER = "0"
"""The entry of a run for what the run before it, whose successor it is, has left to be undone."""

_HASHED = 42  # bits


def child_id(parent: str, position: str, at: int) -> str:
    """The id of the child that is started at a position, at ``at`` (microseconds): a UUID version 7.

    As ids of runs are, in order of time; those of one fan-out in the order of its members. The same three give the
    same id, so that a decision that has to be taken again starts no second run.
    """
    milliseconds, rest = divmod(at, 1_000)
    member = int(position.rpartition(".")[2]) & 0xF_FFFF
    hashed = int.from_bytes(hashlib.blake2b(f"{parent}:{position}".encode(), digest_size=8).digest()) >> (64 - _HASHED)
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | rest << 64
    return str(uuid.UUID(int=high | 0b10 << 62 | member << _HASHED | hashed))


def later_id(before: str, position: str, at: int) -> str:
    """The id of the run that continues ``before``: as ``child_id``, and above it, whatever the clock says."""
    made = child_id(before, position, at)
    if made > before:
        return made
    known = uuid.UUID(before).int
    milliseconds, rest = known >> 80, known >> 64 & 0xFFF
    return child_id(before, position, milliseconds * 1_000 + rest + 1)


def too_deep(workflow: str) -> Bad:
    """What the workflow gets for a child that would be one too deep."""
    told = (
        f"workflow {workflow!r} would be the {MOST_DEEP + 1}th generation of runs that start one another: does it "
        "start itself without an end? A loop belongs into one run, or into continue_as_new()"
    )
    return _failed("", workflow, describe(RecursionError(told)))


def came_out(node: ChildNode, end: ev.ChildEnded) -> Outcome:
    """What the end of a child gives to whoever waits for it; decoding its result may raise.

    One that was asked to cancel, and did, was not waited for any more.
    """
    match end.outcome:
        case "completed":
            return Ok(end.result if node.result is None else node.result.decode(end.result))
        case "cancelled" if node.closing:
            return GONE
        case _:
            return _failed(end.run_id, node.workflow, end.failure or _without_failure(end), end.rollback)


def _failed(run_id: str, workflow: str, failure: Failure, rollback: Any = None) -> Bad:
    from squidmesh.core.report import RollbackReport  # it imports the chain, which this file is below

    report = None if rollback is None else RollbackReport.model_validate(rollback)
    return Bad(ChildFailed(run_id, workflow, failure, report), failure)


def _without_failure(end: ev.ChildEnded) -> Failure:
    """Why there is no result of a child that did not fail by itself."""
    match end.outcome:
        case "cancelled":
            return describe(RunCancelled(end.run_id))
        case "undone":
            return describe(RunUndone(end.run_id))
        case _:
            return describe(RunTerminated(end.run_id))


def what_is_left(report: Mapping[str, Any] | None) -> tuple[str, str | None]:
    """State and reason of the entry of a child whose rollback is over: the worst of what is in the report.

    Without a report it had nothing to undo: it never came to do anything.
    """
    if report is None:
        return "skipped", "never_ran"
    match report.get("outcome"):
        case "clean":
            return "undone", None
        case "abandoned":
            return "failed", "child_abandoned"
        case "refused":
            return "irreversible", "declared"
        case _:
            return _worst(report)


def _worst(report: Mapping[str, Any]) -> tuple[str, str | None]:
    for state in ("failed", "unaccounted", "irreversible"):
        if entries := report.get(state):
            return state, None if state == "unaccounted" else entries[0].get("reason")
    return "skipped", "no_undo"
