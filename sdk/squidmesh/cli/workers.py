"""``squidmesh workers``: who serves, what, and for how long their lease lasts."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import Session, reading


@click.command()
@reading
def workers(session: Session) -> None:
    """List the workers that have a lease, or had one that nobody has taken over yet."""
    found = session.mesh.workers()

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Workers(workers=found)

    def blocks() -> Any:
        from squidmesh.cli.blocks import Say
        from squidmesh.cli.pages.workers import table

        if not found:
            start = session.command("squidmesh worker MODULE")
            return [Say(f"No workers. Start one: {start}", "quiet", command=True)]
        return [table(found)]

    session.answer(document, blocks)
