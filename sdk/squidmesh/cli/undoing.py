"""``squidmesh rollback`` and ``undo-…``: undo what a run did, and what a person decides where an undo has failed.

ENTRY is the name of its step where that is unambiguous, else its position.
"""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, by_person, of_run, steering

_entry = click.argument("entry", metavar="ENTRY")


@click.command(cls=OfRun)
@steering
@of_run
@click.option("--dry-run", is_flag=True, help="Only say what a rollback would meet; takes neither --actor nor --note.")
@click.option("--force", is_flag=True, help="Although it is a child whose parent has used its result.")
@click.option("--on-irreversible", type=click.Choice(["report", "halt", "refuse"]), help="Else as the workflow says.")
@click.option("--actor", metavar="WHO", help="Who decides this; in the history.")
@click.option("--note", metavar="WHY", help="Why; in the history.")
@click.option("--command-key", metavar="KEY", help="Said again with the same one, nothing is recorded twice.")
def rollback(
    session: Session,
    run: Any,
    *,
    dry_run: bool,
    force: bool,
    on_irreversible: str | None,
    actor: str | None,
    note: str | None,
    command_key: str | None,
) -> None:
    """Undo what a run did that has ended, newest first; --actor and --note are required, but for a dry run."""
    if not dry_run and not (actor and note):
        raise click.UsageError("A rollback takes --actor WHO and --note WHY; --dry-run shows what it would meet.")
    report = run.rollback(
        dry_run=dry_run, force=force, on_irreversible=on_irreversible, actor=actor, note=note, key=command_key
    )
    if dry_run:
        _planned(session, run, report)
        return
    from squidmesh.cli.steered import answer

    answer(session, "rollback", run, f"rolled back by {actor}", report)


def _planned(session: Session, run: Any, report: Any) -> None:
    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Steered(command="rollback", run_id=run.run_id, status=run.status(), rollback=report)

    def blocks() -> Any:
        from squidmesh.cli.pages.rollback import rollback as page

        return page(report, dry_run=True)

    session.answer(document, blocks)


@click.command("undo-retry", cls=OfRun)
@steering
@of_run
@_entry
@by_person(note=True)
def undo_retry(session: Session, run: Any, *, entry: str, actor: str, note: str, command_key: str | None) -> None:
    """Have an undo called again that has failed for good: fresh attempts, the same key."""
    run.undo_retry(entry, actor=actor, note=note, key=command_key)
    _answer(session, "undo-retry", run, f"the undo of {entry} is tried again")


@click.command("undo-skip", cls=OfRun)
@steering
@of_run
@click.argument("entry", metavar="[ENTRY]", required=False)
@by_person(note=True)
def undo_skip(session: Session, run: Any, *, entry: str | None, actor: str, note: str, command_key: str | None) -> None:
    """Go on without an entry whose undo has failed, or which the rollback halts at."""
    run.undo_skip(entry, actor=actor, note=note, key=command_key)
    _answer(session, "undo-skip", run, f"{entry or 'the entry'} is skipped")


@click.command("undo-mark-done", cls=OfRun)
@steering
@of_run
@_entry
@by_person(note=True)
def undo_mark_done(session: Session, run: Any, *, entry: str, actor: str, note: str, command_key: str | None) -> None:
    """Say that an entry was undone by hand, also after the end: the report is issued again."""
    run.undo_mark_done(entry, actor=actor, note=note, key=command_key)
    _answer(session, "undo-mark-done", run, f"{entry} is marked as undone")


@click.command("undo-abandon", cls=OfRun)
@steering
@of_run
@by_person(note=True)
def undo_abandon(session: Session, run: Any, *, actor: str, note: str, command_key: str | None) -> None:
    """End a rollback that stands: what is left is not undone."""
    run.undo_abandon(actor=actor, note=note, key=command_key)
    _answer(session, "undo-abandon", run, "the rollback is abandoned")


def _answer(session: Session, command: str, run: Any, done: str) -> None:
    from squidmesh.cli.steered import answer

    answer(session, command, run, done, run.inspect().rollback)
