"""Names by which people ask for runs: of workflows, statuses, reasons.

The rule of this file: one or several, each by its name or by the definition that has it; what there cannot be is
refused, with what there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def names(what: str, wanted: Any, known: Sequence[str] = ()) -> Sequence[str] | None:
    """One or several names (of definitions: theirs) as a filter takes them; None is no filter."""
    if wanted is None:
        return None
    several = wanted if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
    found: list[Any] = [one if isinstance(one, str) else getattr(one, "name", one) for one in several]
    for name in found:
        if not isinstance(name, str) or "\0" in name or (known and name not in known):
            one_of = f", one of {', '.join(known)}" if known else ""
            raise ValueError(f"{what} takes a name{one_of}, or a list of them, not {name!r}")
    return found
