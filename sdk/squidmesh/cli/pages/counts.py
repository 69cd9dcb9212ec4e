"""How many runs there are, by workflow and status."""

from __future__ import annotations

from squidmesh.cli.blocks import Cell, Column, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.views.summary import Counts


def table(counts: Counts) -> Table:
    """A line for each workflow, a column for each status that occurs, and the sums."""
    statuses = list(counts.statuses)
    columns = [
        Column("workflow"),
        *(Column(status.value, right=True) for status in statuses),
        Column("all", right=True),
    ]
    rows: list[list[Cell]] = [
        [
            name,
            *(Styled(_count(own.get(status, 0)), words.STATUSES.get(status.value, "")) for status in statuses),
            _count(sum(own.values())),
        ]
        for name, own in sorted(counts.workflows.items())
    ]
    sums: list[Cell] = [
        Styled("all", "strong"),
        *(_count(counts.statuses[one]) for one in statuses),
        _count(counts.total),
    ]
    return Table(columns, [*rows, sums])


def _count(count: int) -> str:
    return f"{count:,}" if count else ""
