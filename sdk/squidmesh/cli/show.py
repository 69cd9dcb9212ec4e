"""``squidmesh show``: one run, with its steps, gates and rollbacks."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, of_run, reading


@click.command(cls=OfRun)
@reading
@of_run
def show(session: Session, run: Any) -> None:
    """Show a run: where it stands, its steps, signals, gates and rollbacks."""
    view = run.inspect()

    def blocks() -> Any:
        from squidmesh.cli.pages.rollback import next_actions
        from squidmesh.cli.pages.run import run as page

        actions = view.rollback.next_actions if view.rollback is not None else []
        return [*page(view), *next_actions(actions, session.command)]

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Run(run=view)

    session.answer(document, blocks)
