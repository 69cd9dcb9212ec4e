"""``squidmesh timeline``: a run along time."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, of_run, reading


@click.command(cls=OfRun)
@reading
@of_run
def timeline(session: Session, run: Any) -> None:
    """Show a run along time: attempts, waits, undos, and when it stood still."""
    entries = run.timeline()

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Timeline(run_id=run.run_id, entries=entries)

    def blocks() -> Any:
        from squidmesh.cli.pages.timeline import table

        return [table(entries)]

    session.answer(document, blocks)
