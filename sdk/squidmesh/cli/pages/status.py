"""How all of it stands, on one screen."""

from __future__ import annotations

from collections.abc import Callable

from squidmesh.cli.blocks import Block, Cell, Column, Facts, Heading, Say, Styled, Table
from squidmesh.cli.documents import StatusDocument
from squidmesh.cli.pages import words
from squidmesh.cli.pages.runs import table
from squidmesh.core.status import ENDED, RunStatus


def page(found: StatusDocument, command: Callable[[str], str]) -> list[Block]:
    blocks: list[Block] = [
        Facts([
            ("database", found.database),
            ("workers", _workers(found)),
            ("due now", _due(found)),
            ("schedules", _schedules(found)),
        ]),
        Heading("Runs", f"{sum(found.runs.values()):,} in all"),
        _counts(found),
    ]  # fmt: skip
    if found.blocked:
        blocks += [Heading("Blocked", "newest first"), table(found.blocked)]
        line = command(f"squidmesh explain {found.blocked[0].run_id}")
        blocks.append(Say(line, "strong", command=True))
    return blocks


def _workers(found: StatusDocument) -> Styled:
    if not found.workers:
        return Styled("none alive", "bad" if found.due else "warn")
    return Styled(f"{found.workers} alive, for {', '.join(found.queues)}", "good")


def _due(found: StatusDocument) -> Cell:
    if not found.due:
        return "nothing"
    return Styled(f"{found.due:,}, the oldest since {words.at(found.oldest_due)}", "warn")


def _schedules(found: StatusDocument) -> Cell:
    paused = f", {found.paused_schedules} paused" if found.paused_schedules else ""
    return f"{found.schedules}{paused}"


def _counts(found: StatusDocument) -> Table:
    order = [
        *(status for status in RunStatus if status not in ENDED),
        *(status for status in RunStatus if status in ENDED),
    ]
    rows: list[list[Cell]] = [
        [words.status(status.value), f"{found.runs[status.value]:,}"]
        for status in order
        if found.runs.get(status.value)
    ]
    return Table([Column("status"), Column("runs", right=True)], rows or [[Styled("none", "quiet"), "0"]])
