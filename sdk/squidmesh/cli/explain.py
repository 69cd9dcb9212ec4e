"""``squidmesh explain``: why a run is where it is, and what to type next."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, of_run, reading


@click.command(cls=OfRun)
@reading
@of_run
def explain(session: Session, run: Any) -> None:
    """Say why a run is where it is, what it waits for, and what can be done.

    It reads what is recorded: the workflow's code need not be at hand.
    """
    told = run.explain()
    view = run.inspect()

    def blocks() -> Any:
        from squidmesh.cli.pages.explanation import explanation
        from squidmesh.cli.pages.run import title

        return explanation(run.run_id, title(view), told, session.command)

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Explained(run_id=run.run_id, workflow=view.workflow, explanation=told)

    session.answer(document, blocks)
