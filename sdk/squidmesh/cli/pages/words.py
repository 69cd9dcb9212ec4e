"""How statuses, times and values look in a table: short, and the same everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from squidmesh.cli.blocks import Styled
from squidmesh.core.failure import Failure
from squidmesh.views.telling import span

STATUSES = {
    "completed": "good", "failed": "bad", "blocked": "bad", "in_doubt": "bad", "undoing": "warn", "retrying": "warn",
    "compensating": "warn", "paused": "warn", "open": "warn", "running": "busy", "waiting": "calm", "received": "good",
    "approved": "good", "rejected": "bad", "resumed": "good", "expired": "warn", "clean": "good", "partial": "bad",
    "refused": "bad", "abandoned": "bad", "undone": "warn", "irreversible": "bad", "unaccounted": "bad",
    "pending": "quiet", "scheduled": "quiet", "cancelled": "quiet", "skipped": "quiet", "terminated": "quiet",
    "lost": "bad",
}  # fmt: skip


def status(name: str) -> Styled:
    return Styled(name.replace("_", " "), STATUSES.get(name, ""))


def outcome(name: str | None) -> Styled:
    """How a rollback came out, or that it goes on."""
    return Styled("", "") if name is None else status(name)


def at(when: datetime | None) -> str | None:
    """A point in time, in UTC to the second."""
    return None if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def ago(when: datetime | None, now: datetime | None = None) -> str:
    """How long ago it was, or how far ahead it is, to a glance."""
    if when is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - when).total_seconds()
    told = span(int(abs(seconds) * 1_000_000))
    return f"{told} ago" if seconds >= 0 else f"in {told}"


def took(began: datetime, ended: datetime | None) -> str:
    return "" if ended is None else duration((ended - began).total_seconds())


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{max(seconds, 0) * 1_000:.0f} ms"
    return span(int(seconds * 1_000_000))


def value(given: Any, limit: int = 200) -> str:
    """A JSON value in one line, cut where it is long; nothing for None."""
    if given is None:
        return ""
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def failure(given: Failure | None, limit: int = 300) -> str:
    if given is None:
        return ""
    return value(f"{given.type.rpartition('.')[2]}: {given.message}" if given.message else given.type, limit)
