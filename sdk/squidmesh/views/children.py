"""The runs that a run has started, or found instead: folded, and as people read them.

The rule of this file: what the run's own history says; how a child stands just now, its own row says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import mask


class ChildView(BaseModel, frozen=True):
    """A run that this one started. ``status`` is ``started``, or how it ended, as ``outcome`` (None before).

    ``joined``: it was found by its key, and is not this run's own. ``detached``: it is neither waited for nor cancelled
    with this run. ``deferred``: it waits for a condition before it does what it is for. ``rollback`` is the outcome of
    its own rollback, if it had one.
    """

    run_id: str
    workflow: str
    position: str
    status: str
    outcome: str | None = None
    joined: bool = False
    detached: bool = False
    deferred: bool = False
    input: dict[str, Any] = {}
    result: Any = None
    failure: Failure | None = None
    rollback: str | None = None
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(slots=True)
class Child:
    """A child, by the event that started it, and its end."""

    begun: ev.ChildStarted | ev.StepDeferred
    end: ev.ChildEnded | None = None

    @property
    def joined(self) -> bool:
        return isinstance(self.begun, ev.ChildStarted) and self.begun.joined

    @property
    def detached(self) -> bool:
        return isinstance(self.begun, ev.ChildStarted) and bool(self.begun.options.get("detached"))

    @property
    def deferred(self) -> bool:
        return isinstance(self.begun, ev.StepDeferred)

    @property
    def status(self) -> str:
        return "started" if self.end is None else self.end.outcome

    @property
    def waited_for(self) -> bool:
        """Whether its end is outstanding, and this run waits for it."""
        return self.end is None and not self.detached and not self.deferred


def take_in(children: dict[str, Child], event: Event) -> None:
    """Take in one event; the children are by position."""
    match event:
        case ev.ChildStarted() | ev.StepDeferred():
            children.setdefault(event.position, Child(event))
        case ev.ChildEnded() if (known := children.get(event.position)) is not None:
            known.end = known.end or event
        case _:
            pass


def child_view(child: Child) -> ChildView:
    begun, end = child.begun, child.end
    return ChildView(
        run_id=begun.run_id, workflow=begun.workflow, position=begun.position, status=child.status,
        outcome=None if end is None else end.outcome, joined=child.joined, detached=child.detached,
        deferred=child.deferred, input=mask(begun.input), started_at=instant(begun.at),
        result=None if end is None else mask(end.result), failure=None if end is None else end.failure,
        rollback=None if end is None or end.rollback is None else end.rollback.get("outcome"),
        ended_at=None if end is None else instant(end.at),
    )  # fmt: skip
