"""What a workflow has published under a name.

The rule of this file: the latest value counts, as it was stored; who shows it masks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, Literal

from squidmesh.core.events import Event, RunStarted, ValuePublished


class Never(Enum):
    """The marker for a name that was never published (a published value may be None)."""

    NEVER = "never"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NEVER"


NEVER: Final = Never.NEVER


def published(events: Iterable[Event], name: str) -> Any | Literal[Never.NEVER]:
    """The latest payload published as ``name``, or ``NEVER``.

    :param events: a history, or a part of it, in order.
    """
    latest: Any = NEVER
    for event in events:
        match event:
            case ValuePublished(name=told, value=value) if told == name:
                latest = value
            case RunStarted(carried=carried) if carried is not None:
                latest = carried["published"].get(name, NEVER)
            case _:
                pass
    return latest
