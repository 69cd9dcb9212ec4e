"""What people have done to a run: who, when, what, and why.

The rule of this file: every event that a person's word has put down is one command, and no other is; in order. Said
again with the same key, a command has put nothing down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event


class CommandView(BaseModel, frozen=True):
    """One command of a person. ``command`` is the method of the handle; ``on`` the position or entry it was about.

    ``pending``: the run has not looked at it yet. ``key`` is the caller's, as given.
    """

    command: str
    at: datetime
    actor: str | None = None
    note: str | None = None
    on: str | None = None
    key: str | None = None
    pending: bool = False


_NAMES: dict[type[Event], str] = {
    ev.RunHeld: "hold", ev.RunReleased: "release", ev.CancelRequested: "cancel", ev.FailRequested: "fail",
    ev.RunTerminated: "terminate", ev.StepRetried: "retry_step", ev.StepSkipped: "skip_step",
    ev.StepResolved: "resolve_step", ev.UndoRetried: "undo_retry", ev.UndoSkipped: "undo_skip",
    ev.RollbackAbandoned: "undo_abandon",
}  # fmt: skip


_CONCERNED = frozenset({
    *_NAMES, ev.RunStarted, ev.VoteCast, ev.GateDecided, ev.RollbackStarted, ev.EntrySettled,
})  # fmt: skip


def commands(events: Iterable[Event]) -> Iterator[CommandView]:
    """The commands in a history, and in what waits to be folded into it."""
    asked = False  # a rollback of an operator's, which its holder takes up with an event of the same kind
    voted: set[str] = set()  # positions of approvals, which are decided by a vote
    for event in events:
        if type(event) not in _CONCERNED:
            continue
        match event:
            case ev.RunStarted(rerun_of=str()):
                name = "rerun"
            case ev.VoteCast(approved=approved):
                name = "approve" if approved else "reject"
                voted.add(event.position)
            case ev.GateDecided(actor=str()) if event.position not in voted:
                name = "resume"
            case ev.RollbackStarted(cause="operator", number=0):
                name, asked = "rollback", True
            case ev.RollbackStarted(cause="operator") if not asked:
                name = "rollback"
            case ev.RollbackStarted():
                asked = False
                continue
            case ev.EntrySettled(actor=str(), state="undone"):
                name = "undo_mark_done"
            case _:
                found = _NAMES.get(type(event))
                if found is None:
                    continue
                name = found
        yield _view(name, event)


def _view(name: str, event: Event) -> CommandView:
    on = getattr(event, "position", None) or getattr(event, "entry", None)
    return CommandView(
        command=name, at=instant(event.at), actor=getattr(event, "actor", None), note=getattr(event, "note", None),
        on=on, key=None if isinstance(event, ev.RunStarted) else getattr(event, "key", None), pending=event.seq == 0,
    )  # fmt: skip
