"""How a command that steers a run answers: what it has come to, in a line or as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from squidmesh.cli.session import Session

if TYPE_CHECKING:
    from squidmesh.core.report import RollbackReport


def answer(session: Session, command: str, run: Any, done: str, rollback: RollbackReport | None = None) -> None:
    """Say what was done. ``done``: in the past tense, such as ``approved``."""
    status = run.status()

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Steered(command=command, run_id=run.run_id, status=status, rollback=rollback)

    def blocks() -> Any:
        from squidmesh.cli.blocks import Say
        from squidmesh.cli.pages.rollback import next_actions
        from squidmesh.cli.pages.rollback import rollback as page

        told = [Say(f"{done}: run {run.run_id} is {status}")]
        if rollback is None:
            return told
        return [*told, *page(rollback), *next_actions(rollback.next_actions, session.command)]

    session.answer(document, blocks)
