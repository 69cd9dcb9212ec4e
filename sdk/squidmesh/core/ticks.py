"""What becomes of ticks that are due: started, skipped, queued or missed.

A tick is *late* when the next one is due already, or when it is found longer after its time than a hiccup takes. What
is late was missed: ``catch_up`` says whether it runs all the same. What is to run meets the runs before it: ``overlap``
says what follows from that. One tick may wait at a time; with ``cancel`` that is the newest, else the first.

The rule of this file: pure. A tick that is recorded already is not decided again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from squidmesh.core.schedule import CatchUp, Overlap


class Outcome(StrEnum):
    STARTED = "started"
    SKIPPED = "skipped"  # a run before it was still going on
    QUEUED = "queued"  # it waits for that one's end
    MISSED = "missed"  # nobody was there, and it is not caught up


@dataclass(frozen=True, slots=True)
class Decided:
    outcomes: Mapping[int, Outcome]
    waiting: int | None  # the tick that is queued from now on


def decide(
    due: Sequence[int],
    *,
    more: bool,
    now: int,
    grace: int,
    catch_up: CatchUp,
    overlap: Overlap,
    busy: bool,
    waiting: int | None,
    known: Container[int] = (),
) -> Decided:
    """What becomes of each tick that is due, the oldest first, and of the one that waits.

    :param more: others are due after these.
    :param grace: microseconds after its time until which the newest tick is not late.
    :param busy: a run before is still going on.
    :param waiting: the tick that is queued.
    :param known: ticks that are recorded already.
    """
    decided: dict[int, Outcome] = {}
    if waiting is not None and (not busy or overlap == "allow"):
        decided[waiting] = Outcome.STARTED
        busy, waiting = True, None
    for at in due:
        if at in known:
            continue
        newest = at == due[-1] and not more
        if _is_missed(catch_up, newest, late=not newest or now - at > grace):
            decided[at] = Outcome.MISSED
        elif overlap == "cancel" and not newest:
            decided[at] = Outcome.SKIPPED
        elif overlap == "allow" or (not busy and waiting is None):
            decided[at] = Outcome.STARTED
            busy = True
        elif overlap == "cancel" or (overlap == "queue" and waiting is None):
            if waiting is not None:
                decided[waiting] = Outcome.SKIPPED
            decided[at] = Outcome.QUEUED
            waiting = at
        else:
            decided[at] = Outcome.SKIPPED
    return Decided(decided, waiting)


def _is_missed(catch_up: CatchUp, newest: bool, late: bool) -> bool:
    match catch_up:
        case "all":
            return False
        case "last":
            return not newest
        case "none":
            return late
