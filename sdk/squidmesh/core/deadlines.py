"""How something that is open stands to its deadline: on time, due soon, overdue.

The rule of this file: one definition, for views, for sentences, and (by its two numbers) for the database's lists.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SOON_SHARE: Final = 10
"""It is due soon in the last tenth of its time …"""
SOON_MOST: Final = 86_400_000_000
"""… though never more than a day ahead (microseconds)."""


class DeadlineState(StrEnum):
    """``due_soon``: the last tenth of its time has begun, no more than a day is left. ``overdue``: it passed."""

    ON_TIME = "on_time"
    DUE_SOON = "due_soon"
    OVERDUE = "overdue"


def deadline_state(began: int | None, due: int, now: int) -> DeadlineState:
    """The state at ``now`` of what began then and is due then (microseconds); without a beginning it is never soon."""
    left = due - now
    if left <= 0:
        return DeadlineState.OVERDUE
    soon = began is not None and left <= SOON_MOST and left * SOON_SHARE <= due - began
    return DeadlineState.DUE_SOON if soon else DeadlineState.ON_TIME
