"""A rollback: its plan, and the walk from one entry to the next. Both are functions of history.

    RollbackStarted ─▶ RollbackPlanned ─▶ ( UndoStarted ─▶ UndoCompleted ─▶ EntrySettled )… ─▶ RollbackEnded
                                             │   ▲              │ UndoFailed
                                             │   └── retried ───┤
                                             └──────────────────┴─▶ UndoHalted ─▶ a person chooses

The plan is the entries of the scope in reverse order of their completion, by number of event. The walk takes them one
at a time: what needs no call is settled at once; a call is made by whoever holds the run. An undo that failed for good
is not settled while a person may still have it tried again.

The rule of this file: the next move follows from the chain alone; nothing is changed but the walk's own place in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import TypeAlias

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain, Entry, Rollback
from squidmesh.core.children import what_is_left
from squidmesh.core.events import Event
from squidmesh.core.failure import describe
from squidmesh.errors import WorkerLost

HasUndo: TypeAlias = Callable[[str], bool]
"""Whether today's code has an undo for a step of this name."""

UNACCOUNTED = frozenset({"irreversible", "failed", "unaccounted"})
"""States that keep a rollback from being clean, as does a forgotten undo."""

Move: TypeAlias = Event | Entry | None
"""An event to record; or an entry whose undo is to be called (now, or when its time has come); or nothing to do."""


def plan(chain: Chain, begun: ev.RollbackStarted, carried: Iterable[str] = ()) -> list[str]:
    """The ids of what is to be undone, newest first.

    ``carried``: scopes that were rolled back before, by the failure that now goes on: what they could not undo counts.
    A parent is told of all that is left, whoever had it undone.
    """
    taken = frozenset(carried)
    return [
        entry.id
        for entry in _candidates(chain, begun)
        if (not entry.settled or ((begun.cause == "parent" or entry.scope in taken) and _left_behind(entry)))
        and not chain.inherited(entry)
        and _concerned(chain, begun, entry)
        and not chain.covered(entry)
    ]


def _candidates(chain: Chain, begun: ev.RollbackStarted) -> Iterator[Entry]:
    """What may belong to a rollback, newest first: no more of the run than need be looked at."""
    if begun.cause == "race":
        return iter(sorted(chain.branch(begun.position or ""), key=lambda entry: entry.seq, reverse=True))
    scope = chain.scopes.get(begun.scope or "")
    since = scope.seq if scope is not None else 0
    return takewhile(lambda entry: entry.seq >= since, reversed(chain.entries.values()))


def _left_behind(entry: Entry) -> bool:
    settled = entry.settled
    return settled is not None and (settled.state in UNACCOUNTED or settled.reason == "no_undo")


def _concerned(chain: Chain, begun: ev.RollbackStarted, entry: Entry) -> bool:
    if begun.cause == "race":
        return lost_race(chain, begun.position or "", entry.position)
    return chain.within(entry.scope, begun.scope)


def lost_race(chain: Chain, race: str, position: str) -> bool:
    """Whether a position belongs to a member of a race that did not win it."""
    won = chain.races.get(race)
    return won is not None and position.startswith(f"{race}.") and not _under(f"{race}.{won + 1}", position)


def _under(branch: str, position: str) -> bool:
    return position == branch or position.startswith((f"{branch}.", f"{branch}:"))


def next_move(chain: Chain, rollback: Rollback, has_undo: HasUndo, carried: Iterable[str] = ()) -> Move:
    """What comes next in a rollback."""
    begun, number = rollback.begun, rollback.number
    if rollback.outcome is not None:
        if not rollback.stale:
            return None
        ended = "abandoned" if rollback.outcome == "abandoned" else outcome(rollback)
        return ev.RollbackEnded(number=number, outcome=ended, revision=rollback.revision + 1)
    if rollback.planned is None:
        return ev.RollbackPlanned(number=number, entries=plan(chain, begun, carried))
    if begun.on_irreversible == "refuse" and not rollback.walked and _refuses(chain, rollback):
        return ev.RollbackEnded(number=number, outcome="refused")
    if rollback.halted is not None:
        return None
    if rollback.look is not None and begun.on_irreversible == "halt" and rollback.abandoned is None:
        if any(_worth_going_on(chain, rollback, entry, has_undo) for entry in _ahead(chain, rollback)):
            return ev.UndoHalted(number=number, reason="undo_halted", entry=rollback.look)
        rollback.look = None
    while rollback.at < len(rollback.planned):
        entry = chain.entries[rollback.planned[rollback.at]]
        move = None if entry.settled is not None else _move(chain, rollback, entry, has_undo)
        if move is not None:
            return move
        rollback.at += 1
    if any(entry.settled is None for entry in _all(chain, rollback)):
        return ev.UndoHalted(number=number, reason="undo_failed")
    ended = "abandoned" if rollback.abandoned is not None else outcome(rollback)
    return ev.RollbackEnded(number=number, outcome=ended, revision=rollback.revision)


def _move(chain: Chain, rollback: Rollback, entry: Entry, has_undo: HasUndo) -> Move:
    """What is to be done about an entry that is not settled; None: the walk goes on behind it."""
    if (given_up := rollback.abandoned) is not None:
        state, reason = ("failed", entry.failed.reason) if entry.failed is not None else ("skipped", "abandoned")
        return ev.EntrySettled(entry=entry.id, state=state, reason=reason, actor=given_up.actor, note=given_up.note)
    if entry.skip is not None:
        told = entry.skip
        return ev.EntrySettled(
            entry=entry.id, state="skipped", reason="operator", actor=told.actor, note=told.note, key=told.key
        )
    if (failed := entry.failed) is not None:
        if failed.reason == "irreversible":
            note = failed.failure.message
            return ev.EntrySettled(entry=entry.id, state="irreversible", reason="discovered", note=note)
        if rollback.begun.on_undo_failure == "halt":
            return ev.UndoHalted(number=rollback.number, reason="undo_failed", entry=entry.id)
        return None
    if entry.done:
        settled = what_is_left(entry.report) if entry.kind == "child" else ("undone", None)
        return ev.EntrySettled(entry=entry.id, state=settled[0], reason=settled[1], note=entry.note)
    if entry.running:
        return entry  # whatever has become known meanwhile: what has begun is heard first
    if (verdict := _without_call(chain, rollback, entry, has_undo)) is not None:
        return ev.EntrySettled(entry=entry.id, state=verdict[0], reason=verdict[1], note=entry.mark or None)
    return entry


def _without_call(chain: Chain, rollback: Rollback, entry: Entry, has_undo: HasUndo) -> tuple[str, str | None] | None:
    """What becomes of an entry that there is no undo to call for."""
    if _committed(chain, rollback, entry):
        return "skipped", "committed"
    if entry.kind == "child" and not entry.certain:  # it was rolled back before, or nobody wanted that
        return what_is_left(entry.report) if entry.report is not None else ("unaccounted", None)
    if not entry.certain and not entry.undoable:
        return "unaccounted", None
    if (why := entry.irreversible) is not None:
        return "irreversible", why
    if entry.undoable or (entry.kind == "step" and has_undo(entry.step)):
        return None
    return "skipped", "no_undo"


def _committed(chain: Chain, rollback: Rollback, entry: Entry) -> bool:
    """Whether a scope has committed it; what lost a race is not what its scope has come to."""
    return rollback.begun.cause != "race" and chain.committed(entry, rollback.begun.scope)


def foresee(chain: Chain, rollback: Rollback, entry: Entry) -> str | None:
    """Why an entry would not be undone, as far as history tells."""
    verdict = _without_call(chain, rollback, entry, lambda _: False)
    return None if verdict is None else verdict[1] or verdict[0]


def lost_undo(entry: Entry, now: int, most: int) -> ev.UndoFailed:
    """What is recorded of an undo whose worker was lost: it is called again, ``most`` times at most."""
    told = (
        f"the worker was lost in {entry.lost + 1} attempts of the undo of {entry.step!r} at position {entry.position}"
    )
    return ev.UndoFailed(
        at=now, entry=entry.id, number=entry.attempts, failure=describe(WorkerLost(told), attempts=entry.lost + 1),
        retry_at=now if entry.lost < most else None, reason="lost",
    )  # fmt: skip


def outcome(rollback: Rollback) -> str:
    """``clean``: all of it was undone, or never ran, or had been committed; else ``partial``.

    A refused one stays refused while anything of it is there that was refused.
    """
    if any(settled.reason == "refused" for settled in rollback.settled.values()):
        return "refused"
    for settled in rollback.settled.values():
        if settled.state == "skipped" and settled.reason not in ("never_ran", "committed"):
            return "partial"
        if settled.state in UNACCOUNTED:
            return "partial"
    return "clean"


def _refuses(chain: Chain, rollback: Rollback) -> bool:
    return any(
        entry.settled is None and entry.irreversible is not None and not _committed(chain, rollback, entry)
        for entry in _all(chain, rollback)
    )


def _all(chain: Chain, rollback: Rollback) -> Iterable[Entry]:
    return (chain.entries[entry] for entry in rollback.planned or ())


def _ahead(chain: Chain, rollback: Rollback) -> Iterable[Entry]:
    return (entry for entry in _all(chain, rollback) if entry.settled is None)


def _worth_going_on(chain: Chain, rollback: Rollback, entry: Entry, has_undo: HasUndo) -> bool:
    return _without_call(chain, rollback, entry, has_undo) is None


def race_due(chain: Chain, open_positions: Iterable[str]) -> str | None:
    """The position of a race with something to undo in a branch that lost, now that nothing of it is in flight."""
    for race in list(chain.watched):
        if any(lost_race(chain, race, position) for position in open_positions):
            continue
        if any(lost_race(chain, race, entry.position) for entry in chain.branch(race)):
            return race
        chain.watched.pop(race, None)
    return None
