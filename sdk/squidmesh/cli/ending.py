"""``squidmesh cancel``, ``terminate`` and ``fail``: end a run before its time."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, by_person, of_run, steering


@click.command(cls=OfRun)
@steering
@of_run
@click.option("--no-undo", is_flag=True, help="Leave what it did as it is; rollback can undo it later.")
@click.option("--force", is_flag=True, help="Although its pivot has completed; with --actor and --note.")
@click.option("--actor", metavar="WHO", help="Who decides this; in the history.")
@click.option("--note", metavar="WHY", help="Why; in the history.")
@click.option("--command-key", metavar="KEY", help="Said again with the same one, nothing is recorded twice.")
def cancel(
    session: Session,
    run: Any,
    *,
    no_undo: bool,
    force: bool,
    actor: str | None,
    note: str | None,
    command_key: str | None,
) -> None:
    """Ask a run to end: nothing new starts, what is in flight settles, what it did is undone."""
    from squidmesh.cli.steered import answer

    report = run.cancel(undo=not no_undo, force=force, actor=actor, note=note, key=command_key)
    answer(session, "cancel", run, "asked to end", report)


@click.command(cls=OfRun)
@steering
@of_run
@by_person(note=True)
def terminate(session: Session, run: Any, *, actor: str, note: str, command_key: str | None) -> None:
    """End a run at once: nothing is waited for and nothing undone."""
    from squidmesh.cli.steered import answer

    run.terminate(actor=actor, note=note, key=command_key)
    answer(session, "terminate", run, f"terminated by {actor}")


@click.command(cls=OfRun)
@steering
@of_run
@click.option("--no-undo", is_flag=True, help="Leave what it did as it is; rollback can undo it later.")
@by_person(note=True)
def fail(session: Session, run: Any, *, no_undo: bool, actor: str, note: str, command_key: str | None) -> None:
    """End a run as failed, where a person sees that it cannot go on; what it did is undone."""
    from squidmesh.cli.steered import answer

    run.fail(undo=not no_undo, actor=actor, note=note, key=command_key)
    answer(session, "fail", run, f"failed by {actor}")
