"""``squidmesh check``: before a deploy, every open run against the code at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.refusal import REFUSED
from squidmesh.cli.session import Session, reading

if TYPE_CHECKING:
    from squidmesh.cli.blocks import Block


@click.command()
@click.argument("code", metavar="MODULE…", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Look at so many runs, the newest.")
@click.option("--after", metavar="RUN_ID", help="Go on behind this run.")
@reading
def check(session: Session, *, code: Sequence[str], limit: int | None, after: str | None) -> None:
    """Replay every open run against the code of MODULE…: which would block, and where history and code part.

    It only reads, and says of each patched() how many runs need the old branch. The exit code is 1 if a run would
    block that does not already.
    """
    from squidmesh.cli.code import load

    for name in code:
        load(name)
    report: Any = session.mesh.check_code(limit=limit, after=after)

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Checked(report=report)

    def blocks() -> list[Block]:
        from squidmesh.cli.pages.checking import page

        return page(report, session.command)

    session.answer(document, blocks)
    if not report.ok:
        raise click.exceptions.Exit(REFUSED)
