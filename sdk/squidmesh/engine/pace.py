"""How many tasks to claim at once: as many as take about a fiftieth of a second, so that slow ones are shared.

The rule of this file: it learns from what was measured here, and starts with one.
"""

from __future__ import annotations

BUDGET = 0.5  # seconds that a thread goes straight on before others have their turn
TURN = 0.1  # seconds that it takes whatever is due before others have theirs
MOST = 64
TARGET = 0.02  # seconds


class Pace:
    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def of(self, queue: str) -> int:
        return self._next.get(queue, 1)

    def learn(self, queue: str, claimed: int, took: float, beside: bool) -> None:
        """``beside``: they ran side by side on the event loop, and how long they took says nothing."""
        fits = MOST if beside or took <= 0 else int(claimed * TARGET / took)
        self._next[queue] = max(1, min(MOST, 2 * claimed, fits))
