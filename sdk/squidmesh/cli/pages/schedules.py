"""Schedules in a list, and one of them with its ticks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from squidmesh.cli.blocks import Block, Cell, Column, Facts, Heading, Say, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.views.schedules import ScheduleView, Tick


def table(views: Sequence[ScheduleView]) -> Table:
    columns = [
        Column("schedule"), Column("when"), Column("workflow"), Column("next"), Column("state", fold=True),
        Column("overlap", wide=100), Column("catch-up", wide=110),
    ]  # fmt: skip
    return Table(columns, [_row(view) for view in views])


def schedule(view: ScheduleView, ticks: Sequence[Tick], upcoming: Sequence[datetime]) -> list[Block]:
    """One schedule: its rule, the next ticks, and what became of the last ones, newest first."""
    jitter = words.duration(view.jitter) if view.jitter else None
    blocks: list[Block] = [
        Facts([
            ("schedule", view.name),
            ("when", view.when),
            ("workflow", f"{view.workflow} version {view.version}"),
            ("state", _state(view)),
            ("input", words.value(view.input) if view.input else None),
            ("attributes", words.value(view.attributes) if view.attributes else None),
            ("overlap", view.overlap),
            ("catch-up", view.catch_up),
            ("jitter", jitter),
            ("from", words.at(view.start)),
            ("to", words.at(view.end)),
            ("trigger of", view.trigger),
            ("queued tick", words.at(view.queued)),
        ]),
        Heading("Next ticks", "as its rule says" if view.paused_at is not None else ""),
        *(Say(f"{words.at(at)}  {words.ago(at)}", indent=2) for at in upcoming),
    ]  # fmt: skip
    if not ticks:
        return [*blocks, Heading("Last ticks"), Say("None yet.", "quiet", 2)]
    rows: list[list[Cell]] = [
        [words.at(tick.at) or "", tick.outcome.value, tick.run_id or ""] for tick in reversed(ticks)
    ]
    return [*blocks, Heading("Last ticks"), Table([Column("tick"), Column("came to"), Column("run")], rows)]


def _row(view: ScheduleView) -> list[Cell]:
    ahead = f"{words.at(view.next_at)}" if view.next_at is not None else ""
    return [view.name, view.when, view.workflow, ahead, _state(view), view.overlap, view.catch_up]


def _state(view: ScheduleView) -> Styled:
    if view.paused_at is not None:
        by = f" by {view.actor}" if view.actor else ""
        return Styled(f"paused{by} since {words.at(view.paused_at)}{f': {view.note}' if view.note else ''}", "warn")
    return Styled("on", "good") if view.next_at is not None else Styled("over", "quiet")
