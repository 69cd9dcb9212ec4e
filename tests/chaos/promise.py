"""What the engine has promised somebody outside: a start that it confirmed, how that has to come out, and every word
of a person that it said yes to.

The rule of this file: values only, known to the crowd that heard them and to the checker that holds the engine to them.
"""

from dataclasses import dataclass, field
from typing import Any

ANY = object()
"""A result of which nothing is said."""


@dataclass(slots=True)
class Promise:
    """A run that the mesh said it has. ``ends``: the statuses that the last run of its chain may have; ``result`` goes
    with ``completed``; ``words``: what was confirmed of it later, by key."""

    run_id: str
    ends: frozenset[str]
    result: Any = ANY
    words: dict[str, str] = field(default_factory=dict)
