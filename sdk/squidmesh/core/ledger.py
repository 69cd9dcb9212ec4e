"""The events of a live run, kept for its chain: folded when somebody asks. Most runs end well, and nobody does.

The rule of this file: what the chain says is what it would say, had it heard each event at once.
"""

from __future__ import annotations

from squidmesh.core import events as ev
from squidmesh.core.chain import NOTHING_TO_UNDO, Chain, Rollback
from squidmesh.core.events import Event

MOST = 512
"""Events that are kept before they are folded."""

_WALKED = frozenset({ev.RollbackStarted, ev.RaceWon})


class Ledger:
    """``walked``: there was a rollback, or a race, which may have left losers: only then is the chain worth a look."""

    __slots__ = ("walked", "_chain", "_kept")

    def __init__(self) -> None:
        self.walked = False
        self._chain = Chain()
        self._kept: list[tuple[Event, int]] = []

    def keep(self, event: Event, seq: int) -> None:
        """Take in an event, and the number that it has or will have."""
        kind = type(event)
        if kind in NOTHING_TO_UNDO:
            return
        if kind in _WALKED:
            self.walked = True
        self._kept.append((event, seq))
        if len(self._kept) > MOST:
            self._fold()

    def _fold(self) -> None:
        kept, self._kept = self._kept, []
        for event, seq in kept:
            self._chain.apply(event, seq)

    @property
    def chain(self) -> Chain:
        """What the run has done that could be undone, its scopes and rollbacks."""
        if self._kept:
            self._fold()
        return self._chain

    @property
    def rolling(self) -> list[Rollback]:
        """Rollbacks that are not over, the oldest first."""
        return self.chain.active if self.walked else []
