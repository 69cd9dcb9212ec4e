"""How a status is felt: good, bad, busy, open, undone, gone. Drawings choose their colours by that.

The rule of this file: one table; a status that is not in it is open.
"""

from __future__ import annotations

from typing import Literal

Tone = Literal["good", "bad", "busy", "open", "undone", "gone"]

_TONES: dict[str, Tone] = {
    **dict.fromkeys(("completed", "fired", "received", "approved", "resumed", "delivered", "continued"), "good"),
    **dict.fromkeys(
        ("failed", "rejected", "expired", "timed_out", "irreversible", "unaccounted", "undelivered"), "bad"
    ),
    **dict.fromkeys(("terminated", "in_doubt", "blocked", "halted", "partial", "refused", "abandoned"), "bad"),
    **dict.fromkeys(("running", "compensating", "retrying", "walking", "undoing"), "busy"),
    **dict.fromkeys(("undone", "clean"), "undone"),
    **dict.fromkeys(("cancelled", "skipped"), "gone"),
}


def tone(status: str) -> Tone:
    """The tone of a node's or an entry's status."""
    return "good" if status.startswith("won by") else _TONES.get(status, "open")
