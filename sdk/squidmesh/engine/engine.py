"""What every use case of the engine works with: the store, the clock, the code at hand, the doorbell.

The rule of this file: it holds and observes; what is done stands in the files beside it, one concern each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from squidmesh.core.events import Event
from squidmesh.core.registry import Selection
from squidmesh.ports import NO_TRACING, Clock, Doorbell, Store, Tracing
from squidmesh.settings import Settings

logger = logging.getLogger("squidmesh.engine")

Observer = Callable[[str, str, int, Sequence[Event]], None]
"""Hears ``(run_id, workflow, first, events)`` after they were committed; the first event has number ``first``."""


@dataclass(slots=True)
class Engine:
    store: Store
    clock: Clock
    code: Selection
    doorbell: Doorbell
    settings: Settings
    mesh: Any = None
    observers: list[Observer] = field(default_factory=list)
    tracing: Tracing = NO_TRACING

    def observe(self, run_id: str, workflow: str, first: int, events: Sequence[Event]) -> None:
        """Tell the observers what was committed; one that raises is dropped, with a log line."""
        for observer in tuple(self.observers):
            try:
                observer(run_id, workflow, first, events)
            except Exception:
                self.observers.remove(observer)
                logger.exception("observer %r raised and is not told anything any more", observer)
