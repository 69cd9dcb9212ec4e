"""``squidmesh bulk``: one command for all runs that a filter finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.filters import filtered
from squidmesh.cli.session import Session, with_code
from squidmesh.cli.values import JSON, Given

if TYPE_CHECKING:
    from squidmesh.cli.blocks import Block
    from squidmesh.engine.asking import Filters


@click.command()
@click.argument("command", metavar="COMMAND")
@with_code
@filtered
@click.option("--given", type=JSON, help="""The command's own arguments, as JSON: '{"undo": false}'.""")
@click.option("--apply", is_flag=True, help="Do it; else it is only said what would be done.")
@click.option("--actor", metavar="WHO", help="Who decides this; with --apply.")
@click.option("--note", metavar="WHY", help="Why; with --apply.")
@click.option("--command-key", metavar="KEY", help="Said again with the same one, nothing is done twice to a run.")
@click.option("--limit", default=1_000, show_default=True, type=click.IntRange(1), help="Runs at most.")
@click.option("--after", metavar="RUN_ID", help="Go on behind this run.")
def bulk(
    session: Session,
    *,
    command: str,
    filters: Filters,
    given: Given | None,
    apply: bool,
    actor: str | None,
    note: str | None,
    command_key: str | None,
    limit: int,
    after: str | None,
) -> None:
    """Give COMMAND (cancel, release, rerun, …) to all runs that the filters find, newest first.

    Without --apply it is a dry run. Each run is judged by itself: what one refuses is told, and the others go on.
    """
    own = {} if given is None else given.value
    if not isinstance(own, dict):
        raise click.BadParameter("write the arguments as a JSON object.", param_hint="--given")
    which: dict[str, Any] = {**filters}
    report: Any = session.mesh.bulk(
        command.replace("-", "_"), given=own, dry_run=not apply, actor=actor, note=note, key=command_key, limit=limit,
        after=after, **which,
    )  # fmt: skip

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Bulk(report=report)

    session.answer(document, lambda: _blocks(report))


def _blocks(report: Any) -> list[Block]:
    from squidmesh.cli.blocks import Cell, Column, Say, Styled, Table
    from squidmesh.cli.pages import words

    signs = {"done": "good", "would": "busy", "refused": "bad"}
    rows: list[list[Cell]] = [
        [run.run_id, run.workflow, words.status(run.status), Styled(run.outcome, signs[run.outcome]),
         run.why or run.result or ""]
        for run in report.runs
    ]  # fmt: skip
    columns = [
        Column("run"),
        Column("workflow"),
        Column("was"),
        Column("outcome"),
        Column("now, or why not", fold=True),
    ]
    told = Say(str(report) + ("; --apply does it" if report.dry_run and report.done else ""), "strong")
    return [Table(columns, rows), told] if rows else [told]
