"""Runs in a list, one line each."""

from __future__ import annotations

from collections.abc import Iterable

from squidmesh.cli.blocks import Cell, Column, Styled, Table
from squidmesh.cli.naming import short
from squidmesh.cli.pages import words
from squidmesh.cli.screen import on_terminal
from squidmesh.views.summary import RunSummary

WHOLE = 120
"""Characters of a terminal that has room for whole ids."""


def table(runs: Iterable[RunSummary], width: int | None = None) -> Table:
    """``width``: of the terminal, where that is known; ids are cut to their end where there is no room for them."""
    room = _width() if width is None else width
    columns = [
        Column("run"), Column("status"), Column("workflow"), Column("key"), Column("reason"),
        Column("rollback", wide=90), Column("age", right=True), Column("took", right=True, wide=100),
    ]  # fmt: skip
    return Table(columns, [_row(run, room is None or room >= WHOLE) for run in runs])


def _row(run: RunSummary, whole: bool) -> list[Cell]:
    return [
        run.run_id if whole else short(run.run_id),
        words.status(run.status),
        f"{run.workflow}{f' v{run.version}' if run.version != 1 else ''}",
        run.key or "",
        Styled((run.reason or "") if run.reason != run.status else "", "quiet"),
        words.outcome(run.rollback),
        words.ago(run.created_at).removesuffix(" ago"),
        words.took(run.created_at, run.ended_at),
    ]


def _width() -> int | None:
    """How wide the terminal is; None where there is none."""
    if not on_terminal():
        return None
    from squidmesh.cli.screen import console

    return console().width
