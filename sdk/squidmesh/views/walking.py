"""What a run waits for that is rolled back: the undo that is called, the next one, or a person.

The rule of this file: as findings.py, found in the recorded facts alone. Only the rollback that walks is looked at; one
that follows it waits.
"""

from __future__ import annotations

from collections.abc import Iterator

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry, Rollback
from squidmesh.core.status import Reason
from squidmesh.views.finding import Finding
from squidmesh.views.folding import Folded


def find_walk(run: Folded) -> Iterator[Finding]:
    """What the rollback of a run waits for; nothing where none is under way, or its next undo is not called yet."""
    if (rollback := walking(run)) is None:
        return
    if rollback.halted is not None:
        yield from _halted(run, rollback, rollback.halted)
        return
    for entry in left(run, rollback):
        if entry.running or entry.retry_at is not None:
            yield _called(run, entry)


def walking(run: Folded) -> Rollback | None:
    """The rollback that is walked now."""
    return run.chain.active[0] if run.chain.active else None


def left(run: Folded, rollback: Rollback) -> list[Entry]:
    """What it has still to undo."""
    return [run.chain.entries[entry] for entry in rollback.planned or () if entry not in rollback.settled]


def _halted(run: Folded, rollback: Rollback, halted: ev.UndoHalted) -> Iterator[Finding]:
    at = run.chain.entries.get(halted.entry or "")
    entries = [at] if at is not None else [entry for entry in left(run, rollback) if entry.failed is not None]
    for entry in entries:
        yield Finding(
            Reason(halted.reason), "person", entry.step, entry.position,
            since=halted.at, step=entry.step, attempt=entry.attempts, entry=entry.id, what=_what(entry),
            failure=entry.failed.failure if entry.failed is not None else None,
        )  # fmt: skip


def _called(run: Folded, entry: Entry) -> Finding:
    latest = run.undos.get(entry.id)
    failure = latest.failure if isinstance(latest, ev.UndoFailed) else None
    reason = Reason.UNDOING if entry.running else Reason.UNDO_RETRY_SCHEDULED
    if entry.running and entry.child is not None:
        since = latest.at if latest is not None else None
        reason = Reason.WAITING_FOR_CHILD_ROLLBACK
        return Finding(reason, "child", entry.step, entry.position, since=since, entry=entry.id, child=entry.child)
    return Finding(
        reason, "undo", entry.step, entry.position,
        since=latest.at if latest is not None else None, until=None if entry.running else entry.retry_at,
        step=entry.step, worker=entry.worker or None, attempt=entry.attempts, failure=failure,
        entry=entry.id, what=_what(entry),
    )  # fmt: skip


def _what(entry: Entry) -> str:
    return {"registered": "function", "child": "child run"}.get(entry.kind, entry.kind)
