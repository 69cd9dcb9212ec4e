"""The chain of a run as people read it: each thing that may have to be undone, armed or settled.

The rule of this file: one view an entry, in the order they were armed in; its state is what a rollback made of it.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel

from squidmesh.core.chain import Chain, Entry
from squidmesh.core.deterministic import instant
from squidmesh.views.making import made

State = Literal["armed", "running", "retrying", "undone", "irreversible", "failed", "unaccounted", "skipped"]


class EntryView(BaseModel, frozen=True):
    """One entry of the chain. ``id`` is how commands name it; ``kind``: step, child, transaction or registered.

    ``undoable``: an undo was there for it when it ran. ``reason`` says why it is in its ``state``, or would stay:
    no_undo, declared, marked, unaccounted. ``attempts`` are of its undo, ``by`` is the person who settled it.
    """

    id: str
    kind: str
    step: str
    position: str
    scope: str | None = None
    state: State
    undoable: bool
    reason: str | None = None
    attempts: int = 0
    by: str | None = None
    note: str | None = None
    at: datetime | None = None


def entries(chain: Chain) -> tuple[EntryView, ...]:
    """All entries of a chain; not what a fork has kept, which is another run's to undo."""
    own = (entry for entry in chain.entries.values() if not (chain.inherited(entry) or chain.covered(entry)))
    return tuple(_view(chain, entry) for entry in own)


def _view(chain: Chain, entry: Entry) -> EntryView:
    state, reason, by, note, at = _stands(entry)
    scope = None if entry.scope is None else chain.scopes.get(entry.scope)
    return made(EntryView, {
        "id": entry.id, "kind": entry.kind, "step": entry.step, "position": entry.position,
        "scope": None if scope is None else scope.name, "state": state, "undoable": why_not(entry) is None,
        "reason": reason, "attempts": entry.attempts, "by": by, "note": note, "at": instant(at) if at else None,
    })  # fmt: skip


def _stands(entry: Entry) -> tuple[State, str | None, str | None, str | None, int]:
    if (done := entry.settled) is not None:
        return done.state, done.reason, done.by, done.note, done.at  # type: ignore[return-value]
    if entry.failed is not None:
        return "failed", entry.failed.reason, None, None, entry.failed.at
    if entry.running:
        return "running", None, None, None, 0
    if entry.retry_at is not None:
        return "retrying", None, None, None, 0
    return "armed", why_not(entry), None, None, 0


def why_not(entry: Entry) -> str | None:
    """Why it would stay, were it rolled back now and no scope had committed it; None: it has an undo."""
    if entry.kind == "step":  # as nearly all, of a few kinds
        return _step_stays(entry.certain, entry.mark is not None, tuple(entry.traits))
    return _stays(entry)


@lru_cache(256)
def _step_stays(certain: bool, marked: bool, traits: tuple[str, ...]) -> str | None:
    mark = "" if marked else None
    return _stays(Entry("", "step", "", "", 0, None, list(traits), certain=certain, mark=mark))


def _stays(entry: Entry) -> str | None:
    if entry.undoable:
        return None
    return "unaccounted" if not entry.certain else entry.irreversible or "no_undo"
