"""What a rollback achieved, entry by entry: the report that people and programs read.

The rule of this file: every planned entry is in exactly one list, and nothing is called undone that was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from squidmesh.core.chain import Chain, Entry, Rollback, Settled
from squidmesh.core.children import EARLIER
from squidmesh.core.deterministic import instant
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import mask
from squidmesh.core.rollback import UNACCOUNTED, foresee, plan

EntryState = Literal["undone", "irreversible", "failed", "unaccounted", "skipped", "pending"]
Outcome = Literal["clean", "partial", "refused", "abandoned"]


class Action(BaseModel, frozen=True):
    """Something to do next, as Python, as a command, or both."""

    python: str | None = None
    cli: str | None = None
    why: str


class EntryReport(BaseModel, frozen=True):
    """One entry of a rollback.

    ``kind``: step, child, transaction or registered; ``step`` the name of the step, workflow or function. ``result``
    is what it had given, ``error`` what its undo (or, unaccounted, the step itself) failed with, ``attempts`` how often
    its undo was tried. ``by`` is the person who settled it.
    """

    kind: str
    step: str
    position: str
    seq: int = 0
    state: EntryState
    reason: str | None = None
    attempts: int = 0
    result: Any = None
    error: Failure | None = None
    by: str | None = None
    note: str | None = None
    at: datetime | None = None
    child_run_id: str | None = None


class RollbackReport(BaseModel, frozen=True):
    """One rollback of a run or scope. ``outcome`` is None while it is not over.

    ``clean``: everything was undone, or had never run, or was committed. ``partial``: not everything. ``refused``:
    nothing, because something could not be. ``abandoned``: a person ended it.
    """

    id: str
    run_id: str
    workflow: str
    cause: str
    failure: Failure | None = None
    actor: str | None = None
    note: str | None = None
    outcome: Outcome | None = None
    undone: list[EntryReport] = []
    irreversible: list[EntryReport] = []
    failed: list[EntryReport] = []
    unaccounted: list[EntryReport] = []
    skipped: list[EntryReport] = []
    pending: list[EntryReport] = []
    children: list[RollbackReport] = []
    next_actions: list[Action] = []
    revision: int = 1

    def __str__(self) -> str:
        counts = [f"{len(getattr(self, state))} {state}" for state in _STATES if getattr(self, state)]
        return f"rollback {self.outcome or 'under way'}: {', '.join(counts) or 'nothing to undo'}"


_STATES: tuple[EntryState, ...] = ("undone", "irreversible", "failed", "unaccounted", "skipped", "pending")


def rollback_id(run_id: str, number: int) -> str:
    return f"{run_id}:rollback:{number}"


def report(chain: Chain, rollback: Rollback, run_id: str, workflow: str) -> RollbackReport:
    """The report of a rollback as it stands."""
    lists: dict[str, list[EntryReport]] = {state: [] for state in _STATES}
    for entry_id, settled in rollback.settled.items():
        lists[settled.state].append(_entry(chain.entries[entry_id], settled))
    for entry_id in rollback.planned or ():
        if entry_id not in rollback.settled:
            open_ = _entry(chain.entries[entry_id], None)
            lists[open_.state].append(open_)
    begun = rollback.begun
    return RollbackReport(
        id=rollback_id(run_id, rollback.number), run_id=run_id, workflow=workflow, cause=begun.cause,
        failure=begun.failure, actor=begun.actor, note=begun.note, outcome=rollback.outcome,  # type: ignore[arg-type]
        next_actions=actions(chain, rollback, run_id), revision=rollback.revision,
        children=list(_children(chain, rollback)), **lists,
    )  # fmt: skip


def _children(chain: Chain, rollback: Rollback) -> Iterator[RollbackReport]:
    """What was undone in child runs; of earlier links of a chain only the nearest, which names the one before."""
    for entry_id in rollback.planned or ():
        entry = chain.entries[entry_id]
        if entry.report is not None:
            told = RollbackReport.model_validate(entry.report)
            yield told.model_copy(update={"children": []}) if entry_id == EARLIER else told


def newest(chain: Chain, run_id: str, workflow: str) -> RollbackReport | None:
    """The report of the run's newest rollback."""
    return report(chain, chain.rollbacks[-1], run_id, workflow) if chain.rollbacks else None


def prospect(chain: Chain, begun: Any, run_id: str, workflow: str) -> RollbackReport:
    """What a rollback would meet, if it began now: all of it is pending, with the reason why it would not be undone."""
    rollback = Rollback(len(chain.rollbacks) + 1, begun, plan(chain, begun))
    told = report(chain, rollback, run_id, workflow)
    entries = (chain.entries[entry_id] for entry_id in rollback.planned or ())
    pending = [entry for entry in entries if entry.failed is None]  # not so where a scope's rollback stands at it
    foreseen = [
        shown.model_copy(update={"reason": foresee(chain, rollback, entry)})
        for shown, entry in zip(told.pending, pending, strict=True)
    ]
    return told.model_copy(update={"pending": foreseen})


def _entry(entry: Entry, settled: Settled | None) -> EntryReport:
    error = entry.failed.failure if entry.failed is not None else entry.failure
    if settled is not None:
        state, reason, by, note, at = settled
    elif entry.failed is not None:
        state, reason, by, note, at = "failed", entry.failed.reason, None, None, entry.failed.at
    else:
        state, reason, by, note, at = "pending", None, None, None, 0
    return EntryReport(
        kind=entry.kind, step=entry.step, position=entry.position, seq=entry.seq,
        state=state, reason=reason, attempts=entry.attempts,  # type: ignore[arg-type]
        result=mask(entry.result), error=None if state == "undone" else error,
        by=by, note=note, at=instant(at) if at else None, child_run_id=entry.child,
    )  # fmt: skip


def actions(chain: Chain, rollback: Rollback, run_id: str) -> list[Action]:
    """What a person can do about a rollback now."""
    urgent: list[Action] = []
    later: list[Action] = []
    for entry_id in rollback.planned or ():
        entry = chain.entries[entry_id]
        if entry.failed is not None and rollback.settled.get(entry_id) is None:
            urgent.append(_do(run_id, "undo-retry", entry, "tries its undo again, with a new budget and the same key"))
            urgent.append(_do(run_id, "undo-skip", entry, "goes on without it; it is listed as skipped"))
            urgent.append(_do(run_id, "undo-mark-done", entry, "says that it was undone by hand"))
        elif rollback.halted is not None and rollback.halted.entry == entry_id:
            urgent.append(_do(run_id, "undo-skip", entry, "goes on to what lies beyond it"))
            urgent.append(_do(run_id, "undo-mark-done", entry, "says that it was reversed by hand"))
        elif (done := rollback.settled.get(entry_id)) is not None and _left(done):
            later.append(_do(run_id, "undo-mark-done", entry, "says that it was reversed by hand"))
    if rollback.halted is not None:
        python = f"mesh.handle({run_id!r}).undo_abandon(actor=…, note=…)"
        cli = f"squidmesh undo-abandon {run_id} --actor … --note …"
        urgent.append(Action(python=python, cli=cli, why="ends the rollback here; what is left stays done"))
    return [*urgent, *later]


def _left(settled: Settled) -> bool:
    """Whether something is still there that nobody has answered for."""
    return settled.by is None and (settled.state in UNACCOUNTED or settled.reason == "no_undo")


def _do(run_id: str, command: str, entry: Entry, why: str) -> Action:
    method = command.replace("-", "_")
    return Action(
        python=f"mesh.handle({run_id!r}).{method}({entry.id!r}, actor=…, note=…)",
        cli=f"squidmesh {command} {run_id} {entry.id} --actor … --note …",
        why=f"{entry.step} at position {entry.position}: {why}",
    )
