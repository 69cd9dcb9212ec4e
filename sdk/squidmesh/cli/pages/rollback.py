"""What a rollback achieved, entry by entry, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from squidmesh.cli.blocks import Block, Cell, Column, Heading, Say, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.core.report import Action, EntryReport, RollbackReport

_STATES = ("undone", "irreversible", "failed", "unaccounted", "skipped")


def rollback(report: RollbackReport, *, dry_run: bool = False) -> list[Block]:
    """A report as a heading and a table; of a dry run what would be met."""
    by = f", by {report.actor}" if report.actor else ""
    why = f": {report.note}" if report.note else ""
    state = "planned, nothing is done" if dry_run else report.outcome or "under way"
    blocks: list[Block] = [Heading("Rollback", f"{state} (cause: {report.cause}{by}{why})")]
    entries = ordered(report)
    if not entries:
        return [*blocks, Say("Nothing is in it.", "quiet")]
    columns = [
        Column("pos"), Column("of"), Column("it is"), Column("why"), Column("tries", right=True),
        Column("at", wide=100), Column("more", fold=True),
    ]  # fmt: skip
    return [*blocks, Table(columns, [_row(entry) for entry in entries])]


def ordered(report: RollbackReport) -> Sequence[EntryReport]:
    """All entries, in the order in which they were settled; what is pending last."""
    settled = [entry for state in _STATES for entry in getattr(report, state)]
    return [*sorted(settled, key=lambda entry: (entry.at is None, entry.at)), *report.pending]


def next_actions(actions: Sequence[Action], command: Callable[[str], str]) -> list[Block]:
    """What to type next; as Python where there is no command for it."""
    if not actions:
        return []
    blocks: list[Block] = [Heading("What can be done")]
    for action in actions:
        blocks.append(Say(command(action.cli) if action.cli is not None else action.python or "", "strong", 2, True))
        blocks.append(Say(action.why, "quiet", 6))
    return blocks


def _row(entry: EntryReport) -> list[Cell]:
    of = entry.step if entry.kind == "step" else f"{entry.kind} {entry.step}"
    by = [f"by {entry.by}{f': {entry.note}' if entry.note else ''}"] if entry.by else [entry.note] if entry.note else []
    child = [f"run {entry.child_run_id}"] if entry.child_run_id else []
    error = [words.failure(entry.error)] if entry.error is not None else []
    return [
        entry.position,
        of,
        words.status(entry.state),
        (entry.reason or "").replace("_", " "),
        Styled(str(entry.attempts) if entry.attempts else "", "warn" if entry.attempts > 1 else ""),
        words.at(entry.at) or "",
        Styled("; ".join([*error, *by, *child]), "quiet"),
    ]
