"""``squidmesh rerun``: a new run of an old one's input."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, of_run, with_code


@click.command(cls=OfRun)
@with_code
@of_run
@click.option("--from-position", metavar="POSITION", help="What precedes it keeps its results.")
@click.option(
    "--allow-irreversible", is_flag=True, help="Although irreversible steps run again; with --actor and --note."
)
@click.option("--actor", metavar="WHO", help="Who decides this; in the history.")
@click.option("--note", metavar="WHY", help="Why; in the history.")
@click.option("--command-key", metavar="KEY", help="Said again with the same one, it is the same new run.")
def rerun(
    session: Session,
    run: Any,
    *,
    from_position: str | None,
    allow_irreversible: bool,
    actor: str | None,
    note: str | None,
    command_key: str | None,
) -> None:
    """Start a new run of the same workflow with the same input, once this one has ended."""
    from squidmesh.cli.blocks import Say

    new = run.rerun(
        from_position=from_position, allow_irreversible=allow_irreversible, actor=actor, note=note, key=command_key
    )
    status = new.status()

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Started(command="rerun", run_id=new.run_id, status=status, rerun_of=run.run_id)

    session.answer(document, lambda: [Say(f"run {new.run_id} is {status}, a rerun of {run.run_id}")])
