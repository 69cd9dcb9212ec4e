"""What the code at hand would do to the runs that are open."""

from __future__ import annotations

from collections.abc import Callable

from squidmesh.cli.blocks import Block, Cell, Column, Heading, Say, Styled, Table
from squidmesh.views.checking import CheckReport, PatchReport, WouldBlock


def page(report: CheckReport, command: Callable[[str], str]) -> list[Block]:
    """The whole report: the verdict, the runs that would block with both sides, the patches."""
    verdict = Styled("fine", "good") if report.ok else Styled("not fine", "bad")
    blocks: list[Block] = [Say(f"{verdict.text}: {report}", verdict.style)]
    for run in report.would_block:
        blocks += _would_block(run)
    if report.would_go_on:
        blocks += [Heading("Would go on", "blocked now, and not with this code")]
        blocks += [Say(run_id, indent=2) for run_id in report.would_go_on]
    if report.without_undo:
        rows: list[list[Cell]] = [[run.run_id, run.workflow, ", ".join(run.steps)] for run in report.without_undo]
        columns = [Column("run"), Column("workflow"), Column("steps", fold=True)]
        blocks += [Heading("Without an undo", "it is not in this code any more"), Table(columns, rows)]
    if report.patches:
        blocks += [Heading("Patches"), _patches(report.patches)]
    if report.elsewhere:
        told = ", ".join(f"{name} ({count})" for name, count in sorted(report.elsewhere.items()))
        blocks += [Heading("Not looked at", "there is no code for them in these modules"), Say(told, indent=2)]
    if report.next is not None:
        blocks.append(Say(command(f"squidmesh check MODULE --after {report.next}"), "quiet", command=True))
    return blocks


def _would_block(run: WouldBlock) -> list[Block]:
    history, code = run.lines
    note = "blocked already" if run.already else ""
    source = [Say(run.source, "quiet", 11)] if run.source else []
    return [
        Heading(f"{run.workflow} version {run.version}, run {run.run_id}: {run.reason}", note),
        Say(history, "", 2),
        Say(code, "warn", 2),
        *source,
    ]


def _patches(patches: tuple[PatchReport, ...]) -> Table:
    columns = [
        Column("patch"), Column("workflow"), Column("new", right=True), Column("old", right=True),
        Column("undecided", right=True), Column("unclear", right=True), Column("its old branch", fold=True),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            patch.id, f"{patch.workflow} v{patch.version}", str(patch.new), str(patch.old), str(patch.undecided),
            str(patch.unclear), Styled("can go", "good") if patch.can_go else Styled("is needed", "warn"),
        ]
        for patch in patches
    ]  # fmt: skip
    return Table(columns, rows)
