"""The places of a run that another one can go on from: the positions that a fork may name.

    a command of the body ─▶ always one: what precedes it came out before it
    a member of a group   ─▶ where all its elders came out well: then the group goes on with their results, whenever
                             they came, and asks for the member as it would have done
    inside of a race, or of a transaction ─▶ never: these are one, and run anew as a whole

The rule of this file: history says what a place is. Where there is none, the nearest that precedes it is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from squidmesh.core import events as ev
from squidmesh.core.effects import Trait
from squidmesh.core.events import Event
from squidmesh.core.past import order
from squidmesh.core.recorded import COMMANDS, told

POSITION = re.compile(r"\d+(\.\d+)*")

DONE = (
    ev.StepCompleted, ev.StepSkipped, ev.TransactionCommitted, ev.TimerFired, ev.SignalTaken, ev.SignalSent,
    ev.GateDecided, ev.GateExpired, ev.ValuePublished, ev.MessageLogged, ev.StepDeferred,
)  # fmt: skip
"""Events that let a group go on which has the command for a member."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why nothing can go on from a position that is there, and the nearest before it that something can go on from."""

    why: str
    nearest: str


def places(history: Sequence[Event]) -> dict[str, str]:
    """The positions that a run can be forked at, and what stands there."""
    asked = _asked(history)
    hindered = dict(_members(history, asked))
    return {at: told(asked[at]) for at in sorted(asked, key=order) if hindered.get(at) is None}


def is_known(history: Sequence[Event], position: str) -> bool:
    """Whether a run has come to a position: also to one that leaves no trace of its own, as that of a ``gather``."""
    if not POSITION.fullmatch(position):
        return False
    if "." in position:
        return any(at == position or at.startswith(f"{position}.") for at in _asked(history))
    tops = [order(at)[0] for at in map(position_of, history) if at is not None]
    return 1 <= int(position) <= max(tops, default=0)


def hindrance(history: Sequence[Event], position: str) -> Hindrance | None:
    """What keeps a position that is known from being a place; None: it is one."""
    return dict(_members(history, _asked(history))).get(position)


def position_of(event: Event) -> str | None:
    """The position of the command that an event is of."""
    found = getattr(event, "position", None)
    return found if isinstance(found, str) and POSITION.fullmatch(found) else None


def _asked(history: Sequence[Event]) -> dict[str, Event]:
    asked: dict[str, Event] = {}
    for event in history:
        if isinstance(event, COMMANDS):
            asked.setdefault(event.position, event)
    return asked


def _members(history: Sequence[Event], asked: Mapping[str, Event]) -> Iterator[tuple[str, Hindrance | None]]:
    """All members of groups, and the groups that are members themselves, in order, and what hinders them."""
    races = {e.position: "race" for e in history if isinstance(e, ev.RaceWon)}
    whole = races | {at: "transaction" for at, e in asked.items() if _is_transaction(e)}
    done = _done(history, asked)
    seen: set[str] = set()
    top = ""
    by_elder: Hindrance | None = None
    for at in sorted(asked, key=order):
        if (this := at.partition(".")[0]) != top:
            top, by_elder = this, None
        for member in _with_groups(at):
            if member not in seen:
                seen.add(member)
                around = _around(member, whole.keys())
                inside = None if around is None else Hindrance(f"it is a part of the {whole[around]} there", around)
                yield member, by_elder or inside
        if by_elder is None and "." in at and at not in done:
            what = f"{told(asked[at])} at {at}, beside which it stands, had not come out well".replace("`", "")
            by_elder = Hindrance(what, _around(at, whole.keys()) or at)


def _done(history: Sequence[Event], asked: Mapping[str, Event]) -> set[str]:
    done = {at for at, event in asked.items() if isinstance(event, ev.UndoRegistered)}  # not: by the step there
    for event in history:
        if isinstance(event, DONE) or (isinstance(event, ev.ChildEnded) and event.outcome == "completed"):
            done.add(event.position)
    return done


def _is_transaction(asked: Event) -> bool:
    return isinstance(asked, ev.StepScheduled) and Trait.GROUP in asked.traits


def _with_groups(position: str) -> Iterator[str]:
    """The groups that are members which a member is inside of, the outermost first; and itself."""
    parts = position.split(".")
    return (".".join(parts[:n]) for n in range(2, len(parts) + 1))


def _around(position: str, whole: Set[str]) -> str | None:
    """The outermost of these that a position is a part of."""
    parts = position.split(".")
    return next((at for n in range(1, len(parts)) if (at := ".".join(parts[:n])) in whole), None)
