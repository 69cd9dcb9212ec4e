"""What would happen, if a person had a run undone, or run again: said before anybody does.

The rule of this file: judged by what history recorded, never by today's code, as the commands themselves judge it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain, Entry, Rollback
from squidmesh.core.effects import Trait
from squidmesh.core.rollback import foresee
from squidmesh.core.status import ENDED, RunStatus, StepStatus
from squidmesh.views.entries import why_not
from squidmesh.views.folding import Folded, Step

SHOWN = 10
"""Entries that are named; the rest is in the run's ``entries``."""


class Affected(BaseModel, frozen=True):
    """A step, or another entry of the chain, and why it is listed."""

    step: str
    position: str
    reason: str | None = None


class UndoProspect(BaseModel, frozen=True):
    """What a rollback of the whole run would meet if it began now, newest first.

    ``possible``: a person can ask for it (``rollback``, or ``cancel`` of a run that goes on); ``clean``: all of it
    would be undone. ``undoable`` counts what has an undo, ``left`` what would stay, by why: no_undo, declared, marked,
    unaccounted; ``first`` are the first of these. ``pivot`` is the position of a completed pivot: going back behind it
    takes ``force``.
    """

    possible: bool = False
    clean: bool = True
    undoable: int = 0
    left: dict[str, int] = {}
    first: list[Affected] = []
    pivot: str | None = None


class ReplayProspect(BaseModel, frozen=True):
    """Whether the run can be run again from its input (``rerun``), by its own steps; ``rerun`` asks its children, too.

    ``possible``: it is over. ``safe``: nothing irreversible would happen twice; ``unsafe`` lists the first that would,
    and with it ``rerun`` takes ``allow_irreversible=True``, an actor and a note.
    """

    possible: bool = False
    safe: bool = True
    unsafe: list[Affected] = []


class Prospects(BaseModel, frozen=True):
    """What can still be done about a run as a whole."""

    undo: UndoProspect = UndoProspect()
    replay: ReplayProspect = ReplayProspect()


def prospects(run: Folded, status: RunStatus) -> Prospects:
    """The prospects of a run that stands so."""
    return Prospects(undo=_undo(run.chain, status), replay=_replay(run, status))


def _undo(chain: Chain, status: RunStatus) -> UndoProspect:
    imagined = Rollback(len(chain.rollbacks) + 1, ev.RollbackStarted(cause="operator"))
    undoable, left, first = 0, dict[str, int](), list[Affected]()
    for entry in chain.armed():
        reason = why_not(entry) if entry.scope is None else foresee(chain, imagined, entry)
        if reason is None:
            undoable += 1
        elif reason != "committed":
            left[reason] = left.get(reason, 0) + 1
            if len(first) < SHOWN:
                first.append(_affected(entry, reason))
    walked = any(rollback.begun.cause != "scope" for rollback in chain.active)
    return UndoProspect(
        possible=bool(undoable or left) and not walked and status is not RunStatus.CONTINUED,
        clean=not left,
        undoable=undoable,
        left=left,
        first=first,
        pivot=None if status in ENDED else chain.past_pivot(None),
    )


def _replay(run: Folded, status: RunStatus) -> ReplayProspect:
    unsafe = list(islice(_unsafe(run), SHOWN))
    return ReplayProspect(possible=status in ENDED, safe=not unsafe, unsafe=unsafe)


def _unsafe(run: Folded) -> Iterator[Affected]:
    """Irreversible steps that have completed, or of which nobody knows: they would happen again."""
    told: set[str] = set()
    for entry in run.chain.entries.values():
        for part in (entry, *entry.members):
            if not part.traits and part.mark is None and part.settled is None:
                continue  # as most
            found_so = part.settled is not None and part.settled.state == "irreversible"
            if part.kind == "step" and (part.irreversible is not None or found_so):
                told.add(part.position)
                yield _affected(part, "completed" if part.certain else "unknown")
    for step in run.steps.values():
        if step.position not in told and _may_have_happened(step):
            yield Affected(step=step.name, position=step.position, reason="unknown")


def _may_have_happened(step: Step) -> bool:
    irreversible = Trait.IRREVERSIBLE in step.traits or Trait.PIVOT in step.traits
    if not irreversible or Trait.TRANSACTIONAL in step.traits or not step.attempts:
        return False
    if step.status is StepStatus.IN_DOUBT:
        return True
    return not step.settled or step.status is StepStatus.CANCELLED


def _affected(entry: Entry, reason: str | None) -> Affected:
    return Affected(step=entry.step, position=entry.position, reason=reason)
