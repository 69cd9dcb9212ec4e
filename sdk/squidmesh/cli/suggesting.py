"""What may have been meant by a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CLOSE = 0.1
"""Names that are nearly as good a guess as the best are told too."""


def meant(wrong: str, known: Iterable[str]) -> str:
    """``: did you mean 'approve'?``, or nothing where nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if not near:
        return ""
    best = _alike(wrong, near[0])
    *others, last = [repr(name) for name in near if best - _alike(wrong, name) < CLOSE]
    return f": did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
