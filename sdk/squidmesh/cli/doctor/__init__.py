"""``squidmesh doctor``: what is wrong with an installation, and what to do about it.

The rule of this folder: it changes nothing; each finding that is not well says what to type or to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from squidmesh.cli.refusal import REFUSED

if TYPE_CHECKING:
    from squidmesh.cli.blocks import Block, Cell
    from squidmesh.cli.documents import Diagnosis


@click.command()
@click.option("--database", metavar="URL", help="sqlite:///FILE or postgresql://…; else SQUIDMESH_DATABASE_URL.")
@click.option("--broker", metavar="URL", help="redis://… or amqp://…; else SQUIDMESH_BROKER_URL.")
@click.option("--json", "as_json", is_flag=True, help="Answer with JSON, for programs.")
def doctor(database: str | None, broker: str | None, as_json: bool) -> None:
    """Look for what is wrong: settings, database, migrations, clocks, workers, stuck runs, table bloat, broker.

    The exit code is 1 if something needs to be done.
    """
    from squidmesh.cli.doctor.examining import examine

    diagnosis = examine(database, broker)
    if as_json:
        click.echo(diagnosis.model_dump_json(indent=2))
    else:
        from squidmesh.cli.screen import show

        show(*_page(diagnosis))
    if not diagnosis.healthy:
        raise click.exceptions.Exit(REFUSED)


def _page(diagnosis: Diagnosis) -> list[Block]:
    from squidmesh.cli.blocks import Column, Heading, Say, Styled, Table

    signs = {"ok": "good", "note": "warn", "problem": "bad"}
    rows: list[list[Cell]] = [[Styled(f.level, signs[f.level]), f.check, f.told] for f in diagnosis.findings]
    blocks: list[Block] = [Table([Column("level"), Column("check"), Column("found", fold=True)], rows)]
    todo = [finding for finding in diagnosis.findings if finding.todo is not None]
    if todo:
        blocks.append(Heading("What to do"))
        blocks += [Say(f"{finding.check}: {finding.todo}", indent=2, command=True) for finding in todo]
    count = sum(finding.level == "problem" for finding in diagnosis.findings)
    told = "All is well." if not count else f"{count} {'problem' if count == 1 else 'problems'}."
    return [*blocks, Say(""), Say(told, "strong")]
