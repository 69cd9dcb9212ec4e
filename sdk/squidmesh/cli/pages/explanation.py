"""Why a run is where it is, and what to type next."""

from __future__ import annotations

from collections.abc import Callable

from squidmesh.cli.blocks import Block, Cell, Column, Facts, Heading, Say, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.cli.pages.rollback import next_actions
from squidmesh.views.explanation import Explanation, Waiting


def explanation(run_id: str, workflow: str, told: Explanation, command: Callable[[str], str]) -> list[Block]:
    """The whole page. ``command`` makes a command line one of this database."""
    reason = f" ({told.reason})" if told.reason.value != told.status.value else ""
    blocks: list[Block] = [
        Facts([
            ("run", run_id),
            ("workflow", workflow),
            ("status", Styled(f"{told.status}{reason}", words.STATUSES.get(told.status, ""))),
        ]),
        Say(""),
        Say(told.summary),
    ]  # fmt: skip
    if told.code is not None:
        where = f"{told.code.file}:{told.code.line}"
        blocks.append(Facts([("code", f"{where}{f' in {told.code.function}' if told.code.function else ''}")]))
    if told.waiting_on:
        columns = [Column("waits for"), Column("name", fold=True), Column("pos"), Column("since"), Column("until")]
        blocks += [Heading("Outstanding"), Table(columns, [_waiting(one) for one in told.waiting_on])]
    if told.blockers:
        blocks += [Heading("In the way"), *(Say(f"- {blocker}", "warn", 2) for blocker in told.blockers)]
    blocks += _ahead(told)
    return [*blocks, *next_actions(told.next_actions, command)]


def _ahead(told: Explanation) -> list[Block]:
    """Its deadlines, and what undoing it or running it again would meet."""
    pairs: list[tuple[str, Cell | None]] = [
        (f"{due.kind} deadline", Styled(f"{words.at(due.due)}, {due.state.replace('_', ' ')}", _DUE.get(due.state, "")))
        for due in told.deadlines
    ]
    undo, replay = told.prospects.undo, told.prospects.replay
    if undo.undoable or undo.left:
        left = ", ".join(f"{count} {why.replace('_', ' ')}" for why, count in undo.left.items())
        told_undo = f"{undo.undoable} can be undone{f'; would stay: {left}' if left else ''}"
        pairs.append(("undoing it", Styled(told_undo, "" if undo.clean else "warn")))
    if replay.unsafe:
        unsafe = ", ".join(f"{step.step} at {step.position}" for step in replay.unsafe)
        pairs.append(("a rerun", Styled(f"would repeat what is irreversible: {unsafe}", "warn")))
    return [Heading("Ahead"), Facts(pairs)] if pairs else []


_DUE = {"due_soon": "warn", "overdue": "bad"}


def _waiting(one: Waiting) -> list[Cell]:
    return [one.kind, one.name, one.position or "", words.at(one.since) or "", words.at(one.until) or ""]
