"""What a measure is: how a session is warmed, and what is done in it while the clock runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.systems.system import Session

Figures = dict[str, float]

#: Seconds after which a run that does not end is given up.
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    ``name`` and ``case``: how it is called in the results; ``perform``: what is timed, given the session and
    the size; it gives the figures it took itself, ``steps`` (steps done meanwhile) and ``n`` among them.
    ``warm``: what is done before, untimed. ``full`` and ``quick``: the sizes (0: left out). ``workers``:
    worker processes. ``counted``: the size of the extra pass in which statements and messages are counted
    (0: not counted). ``leading``: the figure that says how good it is.
    """

    name: str
    case: str
    perform: Callable[[Session, int], Figures]
    warm: Callable[[Session], None]
    full: int
    quick: int
    counted: int
    leading: str
    workers: int = 2
    more_is_better: bool = True


def wait_for(session: Session, finished: int, pause: float = 0.02) -> None:
    """Wait until that many runs of the session have finished; one cheap query every ``pause`` seconds."""
    until = time.monotonic() + PATIENCE
    while (done := session.finished()) < finished:
        if time.monotonic() > until:
            raise TimeoutError(f"{finished - done} of {finished} runs have not finished in {PATIENCE:g} s")
        time.sleep(pause)


def wait_until(what: str, condition: Callable[[], bool], pause: float = 0.02) -> None:
    """Wait for something to become so."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not so in {PATIENCE:g} s: {what}")
        time.sleep(pause)


def at(took: list[float], share: float) -> float:
    """The time that so large a share of them took at most; they are sorted."""
    return took[min(len(took) - 1, int(share * len(took)))]


def warm_up(session: Session, runs: int = 30, steps: int = 10) -> None:
    """Let connections, caches and the pages of the tables exist before something is measured."""
    before = session.finished()
    session.sequences(runs, steps)
    wait_for(session, before + runs)
