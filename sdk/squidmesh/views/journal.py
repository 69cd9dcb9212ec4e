"""Events as JSON: what ``inspect(history=True)`` and programs read.

The rule of this file: each event whole, by the names of its fields, with seq, kind and time; secrets are masked.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from squidmesh.core.deterministic import instant
from squidmesh.core.events import ALL, Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import mask

_FIELDS = {cls: tuple(f.name for f in fields(cls) if f.name not in ("seq", "at")) for cls in ALL}


def event_json(event: Event) -> dict[str, Any]:
    """An event as a JSON object; ``seq`` is None while it waits to be folded into the history."""
    told: dict[str, Any] = {"seq": event.seq or None, "kind": event.kind, "at": instant(event.at).isoformat()}
    for name in _FIELDS[type(event)]:
        value = getattr(event, name)
        told[name] = value.to_json() if isinstance(value, Failure) else mask(value)
    return told
