"""Spans of time under each other, each with its bar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from squidmesh.cli.blocks import Cell, Column, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.views.timeline import TimelineEntry

BAR = 24
"""Characters that the whole run takes."""


def table(entries: Sequence[TimelineEntry], now: datetime | None = None) -> Table:
    """``now``: where what has not ended is drawn to."""
    if not entries:
        return Table([Column("span")], [])
    now = now or datetime.now(UTC)
    began = min(entry.start for entry in entries)
    ended = max([entry.end or now for entry in entries], default=now)
    columns = [
        Column("after", right=True), Column("took", right=True), Column("kind"), Column("of", fold=True),
        Column("status"), Column("along time"),
    ]  # fmt: skip
    return Table(columns, [_row(entry, began, max(ended, began), now) for entry in entries])


def _row(entry: TimelineEntry, began: datetime, ended: datetime, now: datetime) -> list[Cell]:
    number = f" #{entry.number}" if entry.number is not None and entry.number > 1 else ""
    state = words.status(entry.status)
    return [
        Styled(words.duration((entry.start - began).total_seconds()), "quiet"),
        words.took(entry.start, entry.end) or "…",
        entry.kind,
        f"{entry.position} {entry.name}{number}".strip(),
        state,
        Styled(_bar(entry, began, ended, now), state.style),
    ]


def _bar(entry: TimelineEntry, began: datetime, ended: datetime, now: datetime) -> str:
    whole = (ended - began).total_seconds() or 1.0
    first = int((entry.start - began).total_seconds() / whole * BAR)
    last = int(((entry.end or max(now, entry.start)) - began).total_seconds() / whole * BAR)
    first = min(first, BAR - 1)
    size = max(1, last - first)
    return f"{'·' * first}{'━' * size}{'·' * (BAR - first - size)}"
