"""What a chain holds: entries that may have to be undone, scopes, rollbacks, and how far each of them is.

The rule of this file: values that chain.py folds events into. Nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from squidmesh.core import events as ev
from squidmesh.core.effects import Trait
from squidmesh.core.failure import Failure


class Settled(NamedTuple):
    """What became of an entry, in one rollback."""

    state: str  # undone, irreversible, failed, unaccounted, skipped
    reason: str | None
    by: str | None
    note: str | None
    at: int


class Scheduled(NamedTuple):
    """What is known of a step that has not ended."""

    step: str
    input: dict[str, Any]
    traits: list[str]
    scope: str | None
    undo: str | None


@dataclass(slots=True)
class Entry:
    """One thing that may have to be undone, and how far its undo is."""

    id: str
    kind: str  # step, child, transaction, registered
    step: str
    position: str
    seq: int
    scope: str | None
    traits: list[str] = field(default_factory=list)
    input: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    certain: bool = True  # False: it failed, and its effect may be there
    failure: Failure | None = None  # of the step, where it is not certain
    function: str | None = None  # of a registered undo, or of a transaction's own: module:name
    members: tuple[Entry, ...] = ()
    mark: str | None = None  # the note of a step that marked itself irreversible
    attempts: int = 0  # of its undo, in all
    spent: int = 0  # of these, failed in this budget
    lost: int = 0
    running: bool = False
    elsewhere: bool = False  # a task has it
    worker: str = ""
    first_at: int = 0
    retry_at: int | None = None
    failed: ev.UndoFailed | None = None  # for good, as far as the engine can do
    skip: ev.UndoSkipped | None = None
    done: bool = False  # its undo has completed
    note: str | None = None  # of its undo
    progress: Any = None  # of its undo: what that has given to checkpoint() last
    child: str | None = None  # the run that a child's entry is of, and its queue
    queue: str = "default"
    report: dict[str, Any] | None = None  # of that run's rollback, as JSON
    settled: Settled | None = None

    def has(self, trait: Trait) -> bool:
        return trait in self.traits

    @property
    def irreversible(self) -> str | None:
        """Why it cannot be undone: ``declared`` or ``marked``; None: it may be."""
        if self.mark is not None:
            return "marked"
        declared = self.has(Trait.IRREVERSIBLE) or (
            self.kind == "transaction" and self.function is None and any(m.irreversible for m in self.members)
        )
        return "declared" if declared else None

    @property
    def undoable(self) -> bool:
        """Whether an undo was there for it when it ran."""
        if self.irreversible is not None:
            return False
        match self.kind:
            case "step":
                return self.has(Trait.UNDO) and (self.certain or self.has(Trait.ATTEMPTED))
            case "transaction":
                return self.function is not None or all(member.has(Trait.UNDO) for member in self.members)
            case _:
                return True

    @property
    def orphaned(self) -> bool:
        """Whether a rollback has left it behind, and nobody has answered for it."""
        if (done := self.settled) is not None:
            return done.by is None and done.state in ("irreversible", "failed", "unaccounted")
        return self.failed is not None


@dataclass(slots=True)
class Scope:
    id: str
    name: str
    parent: str | None
    commit: bool
    on_irreversible: str | None
    on_undo_failure: str | None
    seq: int = 0  # of the event that it was entered by
    left: bool = False
    failed: bool = False

    @property
    def committed(self) -> bool:
        return self.commit and self.left and not self.failed


@dataclass(slots=True)
class Rollback:
    """One execution of a chain of undos. ``at`` is where its walk stands in ``planned``."""

    number: int
    begun: ev.RollbackStarted
    planned: list[str] | None = None
    settled: dict[str, Settled] = field(default_factory=dict)  # in the order they were settled
    at: int = 0
    look: str | None = None  # an irreversible entry just met, where the walk may have to halt
    halted: ev.UndoHalted | None = None
    abandoned: ev.RollbackAbandoned | None = None
    outcome: str | None = None
    ended: bool = False  # it came to its end, and was not cut off by a termination
    revision: int = 1
    stale: bool = False  # an entry was settled anew since the report was issued
    walked: bool = False  # something of it was undone, or settled otherwise
